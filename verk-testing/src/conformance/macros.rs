//! The macro that makes tests of the cases.

/// Makes a `#[tokio::test]` of every case of the [conformance suite](crate::conformance).
///
/// The argument is an expression for a new [`Harness`](crate::conformance::Harness), which is
/// evaluated once for each test and may `.await`. The tests are in modules: `queue`, `inprogress`,
/// `exchange`, `retry_set`, `dead_set`, `schedule`, `lease`, `node`, `restore`, `poison`, `pauses`,
/// `stats`, `process`, `manage`, `scan`, `replace`, `faults`. Call it once in a module.
///
/// # Example
///
/// ```
/// verk_testing::storage_conformance!(verk_testing::MemoryStorage::default());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! storage_conformance {
    ($harness:expr $(,)?) => {
        async fn conformance_harness() -> impl $crate::conformance::Harness {
            $harness
        }

        $crate::__conformance_tests! {
            queue {
                jobs_are_fetched_in_the_order_of_enqueue,
                a_bulk_keeps_its_order,
                an_empty_enqueue_changes_nothing,
                enqueue_makes_the_queue_known,
                queues_are_apart,
                dequeue_moves_jobs_to_inprogress,
                dequeue_is_bounded_by_count,
                dequeue_of_very_many_takes_what_it_can,
                dequeue_is_bounded_by_bytes,
                dequeue_ends_when_the_next_job_hardly_fits,
                jobs_of_changing_sizes_are_fetched_in_order,
                dequeue_takes_one_job_of_any_size,
                dequeue_of_an_empty_queue_answers_no_jobs,
                dequeue_gives_up_after_its_wait,
                dequeue_waits_and_is_woken_by_an_enqueue,
                an_interrupt_ends_the_wait,
                an_early_interrupt_is_no_wait,
                an_interrupt_loses_no_job,
                reset_ends_an_abandoned_dequeue,
                reset_of_an_idle_connection_is_fine,
                each_job_is_fetched_once,
                an_unregistered_node_takes_nothing,
                a_dead_node_takes_nothing,
                dequeue_registers_the_queue_of_the_node,
                payloads_are_opaque,
                an_empty_payload_wakes_a_dequeue,
                ten_thousand_jobs_are_fetched,
                a_queue_is_read_in_pages,
                an_unknown_queue_is_empty,
                a_page_is_bounded_by_bytes,
            }
            inprogress {
                ack_removes_the_job,
                acked_jobs_leave_no_state,
                every_target_in_one_batch,
                answers_are_in_the_order_of_the_settlements,
                an_empty_batch_changes_nothing,
                settling_twice_is_not_held,
                twice_in_one_batch_is_once,
                requeue_keeps_the_order_at_the_front,
                requeue_of_many_keeps_the_order,
                equal_jobs_are_settled_one_by_one,
                equal_jobs_in_one_batch,
                odd_payloads_can_be_settled,
                a_job_that_another_node_took_is_not_held,
                settling_at_once_is_done_once,
                lists_are_apart,
                ten_thousand_settlements,
                large_acks_have_an_answer_each,
                large_payloads_are_settled,
                inprogress_is_read_in_pages,
                a_page_is_bounded_by_bytes,
            }
            exchange {
                jobs_are_settled_and_others_taken,
                jobs_end_in_any_order,
                two_connections_share_a_list,
                each_settlement_has_its_answer,
                a_batch_goes_to_every_set,
                either_half_may_be_empty,
                full_batches_pass_through,
                a_paused_queue_settles,
                a_dead_node_settles_what_it_holds,
                a_broken_queue_settles,
                a_broken_set_holds_up_its_own_jobs,
                a_broken_list_fails_both,
                a_full_backend_exchanges,
                a_lost_reply_leaves_both_unknown,
                nobody_prefetches_after_a_restore,
            }
            retry_set {
                retry_moves_the_job,
                a_score_keeps_its_fraction,
                members_are_ordered_by_score,
                an_equal_member_is_merged,
                equal_members_in_one_batch_are_merged,
                a_set_is_read_in_pages,
                sets_are_apart,
                a_page_is_bounded_by_bytes,
            }
            dead_set {
                dead_moves_the_job,
                an_equal_member_is_merged,
                the_oldest_go_beyond_the_count,
                old_jobs_go,
                a_very_long_timeout_keeps_all,
                a_batch_is_capped,
                a_death_cuts_a_bounded_number,
                a_batch_of_deaths_cuts_a_bounded_number,
                trimming_goes_in_steps,
                trimming_goes_by_age_and_by_count,
                a_full_or_broken_set_is_trimmed_or_refused,
                promotion_to_dead_is_capped,
            }
            schedule {
                scheduled_jobs_are_ordered_by_time,
                equal_scheduled_jobs_are_merged,
                an_empty_schedule_changes_nothing,
                many_jobs_are_scheduled,
                due_reads_only_what_is_due,
                due_at_the_same_time_is_ordered_by_bytes,
                any_score_can_be_read,
                promote_moves_to_the_back_of_the_queue,
                a_promotion_wakes_a_dequeue,
                promote_leaves_what_is_not_due,
                promoting_twice_is_not_held,
                promoting_at_once_is_done_once,
                promote_takes_from_its_own_set,
                promotions_to_equal_jobs_are_kept_apart,
                a_member_without_a_queue_goes_to_dead,
                many_promotions_in_one_call,
                an_empty_promotion_changes_nothing,
                a_snoozed_job_is_scheduled,
                a_page_is_bounded_by_bytes,
            }
            lease {
                one_node_has_the_lease,
                nodes_that_ask_at_once_get_one_lease,
                a_lease_that_is_not_renewed_ends,
                a_node_that_deregisters_leaves_its_lease,
                a_poll_tells_when_jobs_are_due,
                a_set_that_cannot_be_read_is_due,
                a_full_backend_grants_the_lease,
                without_the_lease_jobs_are_moved_once,
            }
            node {
                register_lists_the_node,
                a_node_needs_no_queue,
                register_again_adds_queues,
                a_dead_node_is_listed,
                a_beat_renews_the_heartbeat,
                a_beat_never_revives,
                a_beat_without_registration_is_none,
                a_name_has_one_holder,
                claiming_again_renews,
                a_beat_renews_the_name,
                a_beat_leaves_the_name_of_another,
                deregister_removes_the_node,
                deregister_is_refused_while_a_job_is_held,
                deregister_leaves_the_name_of_another,
                the_server_has_a_time,
            }
            restore {
                a_live_node_keeps_its_jobs,
                the_jobs_of_a_dead_node_go_to_the_front,
                restore_in_pages_keeps_the_order,
                restore_reaches_every_target,
                restoring_twice_is_not_held,
                a_node_that_came_back_keeps_its_jobs,
                a_dead_node_can_settle_what_it_holds,
                settle_and_restore_at_once_are_done_once,
                a_restored_job_wakes_a_dequeue,
                a_restored_node_leaves_nothing,
                lists_of_nodes_that_are_not_registered_are_foreign,
            }
            poison {
                deaths_add_up_over_nodes,
                a_node_dies_once,
                what_comes_after_the_first_count_does_not_count,
                the_death_of_many_jobs_is_counted,
                a_job_that_is_held_twice_dies_once,
                the_jobs_of_a_live_node_do_not_count,
                counting_at_once_counts_once,
                a_lost_reply_to_a_count_counts_once,
                a_full_backend_counts_deaths,
                deregister_forgets_a_node_and_keeps_the_deaths_of_jobs,
                a_node_that_is_off_the_list_counts_nothing,
                a_fetch_says_how_many_jobs_are_prefetched,
                fewer_jobs_than_asked_for_are_fewer_prefetched,
                a_wait_may_bring_one_more,
                a_large_prefetch_is_counted_to_the_batch,
                deregister_forgets_what_was_prefetched,
            }
            pauses {
                a_paused_queue_keeps_its_jobs,
                pausing_twice_is_pausing_once,
                paused_queues_are_listed,
                a_pause_during_a_wait_starts_no_job,
                pauses_are_announced,
                an_early_announcement_is_not_missed,
                a_listener_learns_that_the_backend_went_away,
                a_full_backend_pauses,
                a_broken_set_stops_fetching,
            }
            stats {
                without_a_report_all_is_zero,
                facts_change_nothing,
                a_report_is_added_to_every_counter,
                a_report_that_is_sent_twice_counts_once,
                executions_are_added_once,
                reports_at_once_count_once,
                nodes_are_numbered_apart,
                many_queues_are_one_report,
                large_numbers_stay_exact,
                deregister_forgets_the_number,
                sizes_and_the_oldest_job_are_read,
                a_lost_reply_to_a_report_counts_once,
                a_full_backend_counts,
                a_broken_counter_fails_the_report,
            }
            process {
                a_process_is_shown_as_it_reports,
                very_many_jobs_are_shown,
                a_forgotten_process_leaves_nothing,
                only_processes_are_forgotten,
                signals_are_taken_once_in_order,
                a_process_that_was_killed_is_pruned,
                a_full_backend_shows_processes,
            }
            manage {
                jobs_move_from_everywhere_to_everywhere,
                what_is_gone_is_not_moved,
                moving_at_once_is_done_once,
                equal_jobs_of_a_queue_are_moved_one_by_one,
                a_member_gets_another_time,
                an_equal_member_is_merged,
                burials_are_capped,
                a_second_burial_drops_no_other,
                a_moved_job_wakes_a_dequeue,
                ten_thousand_moves,
                clear_removes_all_of_one_place,
                a_broken_target_fails_only_its_moves,
                a_broken_source_refuses,
                a_full_backend_moves,
                a_lost_reply_to_a_move_is_done_once,
            }
            scan {
                a_queue_is_read_from_its_end,
                a_step_is_bounded_by_bytes,
                a_scan_reads_what_stays,
                a_scan_keeps_what_holds_a_text,
            }
            replace {
                a_replacement_has_the_place_in_the_queue,
                of_equal_jobs_the_next_is_replaced,
                a_replacement_has_the_score,
                a_replacement_may_be_merged,
                a_job_that_is_gone_is_not_replaced,
                many_jobs_are_replaced,
                a_full_backend_replaces,
                a_broken_place_fails_its_replacements,
            }
            faults {
                a_broken_target_fails_only_its_jobs,
                a_broken_inprogress_fails_its_settlements,
                a_broken_inprogress_fails_a_dequeue,
                a_broken_queue_refuses,
                a_broken_schedule_refuses,
                a_broken_target_fails_only_its_promotions,
                a_broken_due_set_fails_its_promotions,
                a_broken_target_fails_a_restore,
                a_broken_inprogress_keeps_its_node,
                a_full_backend_refuses_new_jobs,
                a_full_backend_drains,
                a_full_backend_keeps_its_nodes,
                a_lost_reply_to_a_dequeue_loses_no_job,
                a_lost_reply_to_a_waiting_dequeue_loses_no_job,
                a_lost_reply_to_a_settle_is_done_once,
                an_unreachable_backend_comes_back,
                a_wait_ends_when_the_backend_goes_away,
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($($module:ident { $($case:ident,)* })*) => {
        $(mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let harness = super::conformance_harness().await;
                    $crate::conformance::run_case($crate::conformance::$module::$case(&harness))
                        .await;
                }
            )*
        })*
    };
}

#[cfg(test)]
mod tests {
    /// A case that the macro does not name would never run.
    #[test]
    fn every_case_is_in_the_macro() {
        let listed: Vec<&str> = include_str!("macros.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("                ")?.strip_suffix(','))
            .collect();
        let written: Vec<&str> = [
            include_str!("queue.rs"),
            include_str!("inprogress.rs"),
            include_str!("exchange.rs"),
            include_str!("retry_set.rs"),
            include_str!("dead_set.rs"),
            include_str!("schedule.rs"),
            include_str!("lease.rs"),
            include_str!("node.rs"),
            include_str!("restore.rs"),
            include_str!("poison.rs"),
            include_str!("pauses.rs"),
            include_str!("stats.rs"),
            include_str!("process.rs"),
            include_str!("manage.rs"),
            include_str!("scan.rs"),
            include_str!("replace.rs"),
            include_str!("faults.rs"),
        ]
        .into_iter()
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next())
        .collect();
        assert_eq!(listed, written);
    }
}

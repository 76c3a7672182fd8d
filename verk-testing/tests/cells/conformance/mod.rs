//! The conformance suite on the view of three cells, without the cases of nodes.

mod routed;

use std::panic::{AssertUnwindSafe, catch_unwind};

use verk_testing::conformance::Case;

use self::routed::Routed;

/// Cases of the steps of a node.
const OF_NODES: [&str; 9] = [
    "exchange::",
    "faults::",
    "inprogress::",
    "layout::",
    "moved::",
    "lease::",
    "node::",
    "poison::",
    "restore::",
];

/// Cases in which several cells differ from one storage, or their node from a real one.
const DIFFER: [&str; 19] = [
    // Each cell has a dead set with the limits of its own.
    "dead_set::a_batch_of_deaths_cuts_a_bounded_number",
    "dead_set::a_death_cuts_a_bounded_number",
    "dead_set::promotion_to_dead_is_capped",
    "manage::burials_are_capped",
    // The view deletes jobs with effects one by one.
    "effects::a_clear_leaves_jobs_with_effects",
    "effects::a_clear_of_a_set_leaves_jobs_with_effects",
    // A key, or a lock, that is used for two queues, which are in two cells.
    "once::the_first_with_a_key_is_stored",
    "unique::the_last_job_replaces_one_in_a_set",
    // A text that is no job is in cell 0, where no node of this harness looks for its queue.
    "manage::a_moved_job_wakes_a_dequeue",
    "overlap::a_run_is_skipped_while_its_lock_is_held",
    "overlap::one_run_waits_for_a_job_that_fails",
    "overlap::one_run_waits_for_the_lock",
    "schedule::a_promotion_wakes_a_dequeue",
    "schedule::a_snoozed_job_is_scheduled",
    "schedule::promote_moves_to_the_back_of_the_queue",
    "schedule::promoting_at_once_is_done_once",
    "schedule::promotions_to_equal_jobs_are_kept_apart",
    // The next reply is lost in each cell.
    "manage::a_lost_reply_to_a_move_is_done_once",
    // A page of one process is shorter.
    "process::very_many_jobs_are_shown",
];

#[test]
fn the_view_does_what_one_storage_does() {
    let cases: Vec<Case<Routed>> = verk_testing::conformance_cases!(Routed);
    for name in DIFFER {
        assert!(cases.iter().any(|case| case.name() == name), "{name}");
    }
    let is_of_view = |case: &&Case<Routed>| {
        let name = case.name();
        let is_of_nodes = OF_NODES.iter().any(|module| name.starts_with(module));
        !is_of_nodes && !DIFFER.contains(&name)
    };
    let mut failed = Vec::new();
    let mut passed = 0;
    for case in cases.iter().filter(is_of_view) {
        let run = || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(case.run(&Routed::of(3)));
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(()) => passed += 1,
            Err(_) => failed.push(case.name()),
        }
    }
    assert_eq!(failed, [""; 0]);
    assert!(passed > 150, "{passed}");
}

//! The pages "Coming from Verk" and "Coming from Sidekiq" have a row for all of these, and the
//! tests that they name exist.

use std::{collections::BTreeSet, fs, path::Path};

/// The public functions of Elixir's Verk 1.7, by module; callbacks of its processes are left out.
const VERK: &[(&str, &str)] = &[
    (
        "Verk",
        "add_queue remove_queue pause_queue resume_queue enqueue schedule",
    ),
    (
        "Verk.DeadSet",
        "key add add! count count! clear clear! range range! delete_job delete_job!",
    ),
    ("Verk.EventProducer", "start_link stop async_notify"),
    (
        "Verk.Events",
        "JobStarted JobFinished JobFailed QueueRunning QueuePausing QueuePaused",
    ),
    ("Verk.InProgressQueue", "enqueue_in_progress"),
    ("Verk.Job", "encode! decode decode! default_max_retry_count"),
    ("Verk.Log", "start done fail"),
    ("Verk.Manager", "status pause resume add remove"),
    (
        "Verk.Node",
        "deregister! members ttl! expire_in queues! add_node_redis_command add_queue_redis_command Manager",
    ),
    (
        "Verk.Queue",
        "count count! clear clear! range range! delete_job delete_job!",
    ),
    ("Verk.Queue.Supervisor", "name child_spec"),
    (
        "Verk.QueueManager",
        "name dequeue retry ack malformed enqueue_inprogress",
    ),
    ("Verk.QueueStats", "all"),
    (
        "Verk.QueueStatsCounters",
        "init all reset_started register persist",
    ),
    ("Verk.QueuesDrainer", "start_link"),
    (
        "Verk.RetrySet",
        "key add add! count count! clear clear! range range! range_with_score range_with_score! delete_job delete_job! requeue_job requeue_job!",
    ),
    ("Verk.Scripts", "load sha"),
    (
        "Verk.SortedSet",
        "count count! clear clear! range range! range_with_score range_with_score! delete_job delete_job! requeue_job requeue_job!",
    ),
    ("Verk.Stats", "total queue_total"),
    ("Verk.Supervisor", "start_link"),
    ("Verk.Time", "now shift diff after?"),
    ("Verk.Worker", "current_job perform_async"),
    (
        "Verk.WorkersManager",
        "name running_jobs inspect_worker pause resume",
    ),
];

/// What it reads from its configuration, and the variable of its README.
const VERK_SETTINGS: &str = "queues max_retry_count max_dead_jobs poll_interval start_job_log_level done_job_log_level \
    fail_job_log_level node_id generate_node_id local_node_id heartbeat redis_url shutdown_timeout \
    failed_job_stacktrace_size workers_manager_timeout args_keys VERK_DISABLED";

/// The public methods of Sidekiq 8.1, and its options, by where they are described. Left out is
/// what every object of Ruby has.
const SIDEKIQ: &[(&str, &str)] = &[
    (
        "options of a job",
        "queue retry retry_queue retry_for dead backtrace tags wait wait_until log_level pool profile cattr locale display_class",
    ),
    (
        "Job",
        "perform perform_async perform_in perform_at perform_bulk perform_inline perform_sync set sidekiq_options \
         sidekiq_retry_in sidekiq_retries_exhausted jid bid logger interrupted? queue_as",
    ),
    (
        "Client",
        "Client.push Client.push_bulk Client.via Client.enqueue Client.enqueue_to Client.enqueue_in Client.enqueue_to_in \
         Client#middleware Client#cancel!",
    ),
    (
        "queues and sets",
        "Queue.all size each scan fetch find_job clear latency paused? delete delete_by_jid delete_by_value retry add_to_queue \
         retry_all kill kill_all reschedule schedule pop_each trim",
    ),
    (
        "jobs",
        "klass args display_class display_args created_at enqueued_at failed_at retried_at error_backtrace score at value item \
         parent error? iterable_state",
    ),
    (
        "statistics",
        "Stats#processed Stats#failed Stats#enqueued Stats#scheduled_size Stats#retry_size Stats#dead_size Stats#processes_size \
         Stats#workers_size Stats#default_queue_latency Stats#queues Stats#queue_summaries Stats#reset Stats::History \
         Metrics::Query ProfileSet",
    ),
    (
        "processes",
        "ProcessSet WorkSet ProcessSet#cleanup ProcessSet#leader Process#quiet! Process#stop! Process#dump_threads find_work \
         identity tag labels queues capsules weights version embedded? stopping? total_concurrency total_rss",
    ),
    (
        "settings",
        "queues concurrency capsule timeout tag labels require environment redis redis_pool reap_idle_redis_connections \
         max_retries dead_max_jobs dead_timeout_in_seconds average_scheduled_poll_interval poll_interval_average \
         default_job_options on_complex_arguments strict_args! backtrace_cleaner logged_job_attributes job_logger \
         error_handlers death_handlers lifecycle_events startup quiet shutdown exit heartbeat beat client_middleware \
         server_middleware reloader thread_priority max_iteration_runtime configure_embed namespace",
    ),
    ("command line", "-c -e -g -q -r -t -v -C TERM INT TSTP TTIN"),
    (
        "testing",
        "Sidekiq::Testing.fake! Sidekiq::Testing.inline! drain perform_one jobs clear_all",
    ),
    (
        "the rest",
        "Sidekiq::IterableJob Sidekiq::Web Sidekiq::Transaction",
    ),
    (
        "Pro",
        "super_fetch! reliable_scheduler! reliable_push! pause! unpause! expires_in delete_by_class delete_job statsd \
         Sidekiq::Batch",
    ),
    (
        "Enterprise",
        "encrypt unique_for unique_until sidekiqswarm Sidekiq::Limiter periodic",
    ),
];

/// A page, and how its first column is called.
const PAGES: [(&str, &str); 2] = [
    (include_str!("../../src/docs/coming_from_verk.md"), "Elixir"),
    (
        include_str!("../../src/docs/coming_from_sidekiq.md"),
        "Ruby",
    ),
];

/// A row of a table with tests.
struct Row {
    /// What it is there.
    there: &'static str,
    /// What it is here.
    here: &'static str,
    tests: &'static str,
}

/// The rows of the tables of a page that name tests.
fn rows((page, language): (&'static str, &str)) -> Vec<Row> {
    let (mut rows, mut in_table) = (Vec::new(), false);
    for line in page.lines() {
        let Some(row) = line
            .strip_prefix("| ")
            .and_then(|row| row.strip_suffix('|'))
        else {
            in_table &= line.starts_with("|---");
            continue;
        };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [there, .., tests] = cells[..] else {
            panic!("one cell: {row}");
        };
        // Between them are the default there, what it is here, and the default here; or just what
        // it is here.
        let here = cells[cells.len() / 2];
        if in_table {
            rows.push(Row { there, here, tests });
        }
        in_table |= there == language && tests == "test";
    }
    assert!(!rows.is_empty(), "no table of {language}");
    rows
}

/// What is in backticks.
fn codes(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[track_caller]
fn assert_named(page: (&'static str, &str), names: impl IntoIterator<Item = String>) {
    let rows = rows(page);
    let named: BTreeSet<&str> = rows.iter().flat_map(|row| codes(row.there)).collect();
    for name in names {
        assert!(named.contains(&*name), "no row for {name}");
    }
}

#[test]
fn all_of_verk_has_a_row() {
    let functions = VERK.iter().flat_map(|(module, names)| {
        names
            .split_whitespace()
            .map(move |name| format!("{module}.{name}"))
    });
    let settings = VERK_SETTINGS.split_whitespace().map(str::to_owned);
    assert_named(PAGES[0], functions.chain(settings));
    // A field of its struct that has no key in the JSON.
    assert_named(PAGES[0], ["original_json".to_owned()]);
}

#[test]
fn all_of_sidekiq_has_a_row() {
    let names = SIDEKIQ
        .iter()
        .flat_map(|(_, names)| names.split_whitespace());
    assert_named(PAGES[1], names.map(str::to_owned));
}

#[test]
fn every_row_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for Row { there, here, tests } in PAGES.into_iter().flat_map(rows) {
        let is_none = here.starts_with("none") || here.starts_with("not here");
        assert!(
            is_none || codes(tests).next().is_some(),
            "no test for {there}"
        );
        for test in codes(tests) {
            let (file, name) = test.split_once("::").expect(test);
            let source = fs::read_to_string(root.join(file)).expect(file);
            // A case of Ruby, or a test of Rust.
            let found = if file.ends_with(".rb") {
                source.contains(&format!("check \"{name}\" do"))
            } else {
                source.contains(&format!("fn {name}("))
            };
            assert!(found, "{there}: {test}");
        }
    }
}

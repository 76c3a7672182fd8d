//! The page "Coming from Verk" has a row for all of Verk, and the tests that it names are there.

use std::{collections::BTreeSet, fs, path::Path};

/// The public functions of Elixir's Verk 1.7, by module; callbacks of its processes are left out.
const FUNCTIONS: &[(&str, &str)] = &[
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
const SETTINGS: &str = "queues max_retry_count max_dead_jobs poll_interval start_job_log_level done_job_log_level \
    fail_job_log_level node_id generate_node_id local_node_id heartbeat redis_url shutdown_timeout \
    failed_job_stacktrace_size workers_manager_timeout args_keys VERK_DISABLED";

/// The rows of the tables that name tests: the first cell and the last.
fn rows() -> Vec<(&'static str, &'static str)> {
    let page = include_str!("../../src/docs/coming_from_verk.md");
    let (mut rows, mut in_table) = (Vec::new(), false);
    for line in page.lines() {
        let Some(row) = line
            .strip_prefix("| ")
            .and_then(|row| row.strip_suffix(" |"))
        else {
            in_table &= line.starts_with("|---");
            continue;
        };
        let (first, last) = (row.split(" | ").next(), row.rsplit(" | ").next());
        let cells = (first.unwrap(), last.unwrap());
        if in_table {
            rows.push(cells);
        }
        in_table |= cells.0 == "Elixir" && cells.1 == "test";
    }
    rows
}

/// What is in backticks.
fn codes(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn all_of_verk_has_a_row() {
    let rows = rows();
    let named: BTreeSet<&str> = rows.iter().flat_map(|(first, _)| codes(first)).collect();
    let functions = FUNCTIONS.iter().flat_map(|(module, names)| {
        names
            .split_whitespace()
            .map(move |name| format!("{module}.{name}"))
    });
    let settings = SETTINGS.split_whitespace().map(str::to_owned);
    for name in functions.chain(settings) {
        assert!(named.contains(&*name), "no row for {name}");
    }
}

#[test]
fn every_row_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (first, last) in rows() {
        assert!(codes(last).next().is_some(), "no test for {first}");
        for test in codes(last) {
            let (file, name) = test.split_once("::").expect(test);
            let source = fs::read_to_string(root.join(file)).expect(file);
            assert!(source.contains(&format!("fn {name}(")), "{first}: {test}");
        }
    }
}

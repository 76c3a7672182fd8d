use super::*;
use crate::time::clock::by_hand::ClockByHand;

/// What a run does when it is polled first.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// It ends after this time.
    Ends(Duration),
    Waits,
    /// Another thread looks at the row this often meanwhile.
    IsChecked(u32),
}

/// The runs that were polled, and those that have ended, by their place.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    polled: Vec<usize>,
    ended: Vec<usize>,
}

/// The result of a row: what was seen in it, and then of the runs that it gave tasks, and of those
/// that another thread took from it.
struct Ran {
    row: Seen,
    tasks: Seen,
    parted: Seen,
    recent: Arc<PollTime>,
}

const MOST: Duration = Duration::from_micros(200);

fn in_a_row(runs: &[Then]) -> Ran {
    let (clock, seen) = (ClockByHand::new(), Arc::new(Mutex::new(Seen::default())));
    let (recent, row) = (Arc::<PollTime>::default(), Arc::new(Mutex::new(None)));
    let run = |(place, then): (usize, &Then)| {
        let (clock, seen, then) = (Arc::clone(&clock), Arc::clone(&seen), *then);
        let row = Arc::clone(&row);
        let run = async move {
            seen.lock().polled.push(place);
            match then {
                Then::Ends(time) => clock.pass(time),
                Then::Waits => tokio::task::yield_now().await,
                Then::IsChecked(times) => {
                    let row: Arc<Row> = row.lock().clone().unwrap();
                    (0..times).for_each(|_| row.part_if_blocked());
                }
            }
            seen.lock().ended.push(place);
            clock.instant()
        };
        StartedRun {
            run: Box::pin(run),
            recent: Arc::clone(&recent),
        }
    };
    let started = runs.iter().enumerate().map(run).collect();
    let (parted, tasks) = (Arc::new(Mutex::new(Vec::new())), Mutex::new(Vec::new()));
    let taken = Arc::clone(&parted);
    let part: Part = Arc::new(move |rest| taken.lock().extend(rest));
    let it = Arc::clone(row.lock().insert(Arc::new(Row::new(started, part))));
    it.run(&*clock, MOST, |run| tasks.lock().push(run));
    let end = |runs: Vec<StartedRun>| {
        for started in runs {
            assert!(started.run.now_or_never().is_some());
        }
        std::mem::take(&mut *seen.lock())
    };
    Ran {
        row: end(Vec::new()),
        tasks: end(tasks.into_inner()),
        parted: end(std::mem::take(&mut *parted.lock())),
        recent,
    }
}

const SHORT: Then = Then::Ends(Duration::from_micros(1));

#[test]
fn a_run_that_waits_continues_in_a_task_of_its_own() {
    let ran = in_a_row(&[SHORT, Then::Waits, SHORT]);
    assert_eq!(ran.row.polled, [0, 1, 2]);
    assert_eq!(ran.row.ended, [0, 2]);
    assert_eq!((ran.tasks.polled, ran.tasks.ended), (vec![], vec![1]));
}

#[test]
fn runs_that_are_left_when_the_time_is_up_get_tasks_of_their_own() {
    let ran = in_a_row(&[SHORT, Then::Ends(MOST), SHORT, SHORT]);
    assert_eq!((ran.row.polled, ran.row.ended), (vec![0, 1], vec![0, 1]));
    assert_eq!(
        (ran.tasks.polled, ran.tasks.ended),
        (vec![2, 3], vec![2, 3])
    );
}

#[test]
fn short_runs_end_in_the_row() {
    let ran = in_a_row(&[SHORT; 100]);
    assert_eq!(ran.row.ended, Vec::from_iter(0..100));
    assert_eq!((ran.tasks, ran.parted), Default::default());
    assert!(ran.recent.is_short());
}

#[test]
fn the_time_of_a_run_is_that_of_its_poll() {
    // Together they take longer than one may.
    let ran = in_a_row(&[Then::Ends(Duration::from_micros(15)); 10]);
    assert_eq!(ran.row.ended, Vec::from_iter(0..10));
    assert!(ran.recent.is_short());
}

#[test]
fn a_run_that_blocks_its_thread_holds_up_no_other() {
    let ran = in_a_row(&[SHORT, Then::IsChecked(2), SHORT, SHORT]);
    assert_eq!((ran.row.polled, ran.row.ended), (vec![0, 1], vec![0, 1]));
    assert_eq!(ran.parted.ended, [2, 3]);
}

#[test]
fn a_row_that_moves_on_is_left_alone() {
    let ran = in_a_row(&[Then::IsChecked(1), Then::IsChecked(1), SHORT]);
    assert_eq!(ran.row.ended, [0, 1, 2]);
    assert_eq!(ran.parted, Seen::default());
}

#[tokio::test]
async fn a_row_that_begins_at_any_time_is_seen() {
    let rows = Rows::default();
    rows.begin();
    rows.until_more_than(0).await;
    // While the rows are watched, nothing needs to be woken.
    rows.begin();
    rows.until_more_than(1).await;
    let mut more = Box::pin(rows.until_more_than(2));
    assert!((&mut more).now_or_never().is_none());
    rows.begin();
    more.await;
}

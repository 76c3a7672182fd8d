//! Who finds which `TestVerk`.

use std::{sync::Mutex, thread};

use tokio::runtime::{Builder, Runtime};
use verk::Client;

use super::*;

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Enqueues from everywhere in a runtime.
async fn enqueue_from_everywhere(test: &str) {
    let name = test.to_owned();
    Greet::enqueue(&name).await.unwrap();
    let name = test.to_owned();
    tokio::spawn(async move { Greet::enqueue(&name).await.unwrap() })
        .await
        .unwrap();
    let name = test.to_owned();
    tokio::task::spawn_blocking(move || {
        let handle = tokio::runtime::Handle::current();
        handle.block_on(Greet::enqueue(&name)).unwrap()
    })
    .await
    .unwrap();
}

#[test]
fn spawned_tasks_and_blocking_threads_are_covered() {
    for runtime in [current_thread(), multi_thread()] {
        runtime.block_on(async {
            let (verk, log) = with_log();
            enqueue_from_everywhere("ada").await;
            assert_eq!(verk.drain().await.succeeded, 3);
            assert_eq!(log.entries(), ["ada"; 3]);
        });
    }
}

#[test]
fn two_thousand_tests_at_once_do_not_meet() {
    const TESTS: usize = 2_000;
    let next = Mutex::new(0..TESTS);
    let run = || {
        while let Some(test) = { next.lock().unwrap().next() } {
            let runtime = match test % 10 {
                0 => multi_thread(),
                _ => current_thread(),
            };
            runtime.block_on(async {
                let log = Log::default();
                let builder = TestVerk::builder().state(log.clone());
                let name = test.to_string();
                let verk = if test % 3 == 0 {
                    builder.inline().build()
                } else {
                    builder.build()
                };
                enqueue_from_everywhere(&name).await;
                let later = Greet::new(format!("{name} later"));
                later.schedule_in(DAY).enqueue().await.unwrap();
                verk.advance(DAY).await;
                assert_eq!(verk.totals().succeeded, 4);
                let later = format!("{name} later");
                assert_eq!(log.entries(), [name.clone(), name.clone(), name, later]);
                verk.refute_enqueued(|_: &Greet| true);
            });
        }
    };
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(run);
        }
    });
}

#[tokio::test]
async fn a_second_one_names_both_places() {
    let first = line!() + 1;
    let verk = TestVerk::new();
    let second = line!() + 1;
    let message = panic_message(async { TestVerk::new() }).await;
    let file = file!();
    assert!(
        message.contains(&format!("at {file}:{first}:")),
        "{message}"
    );
    assert!(
        message.contains(&format!("now at {file}:{second}:")),
        "{message}"
    );
    drop(verk);
    // Gone means gone.
    drop(TestVerk::new());
}

#[test]
fn outside_of_a_runtime_the_thread_is_covered() {
    let (verk, log) = with_log();
    let runtime = current_thread();
    runtime.block_on(async {
        Greet::enqueue("ada").await.unwrap();
        assert_eq!(verk.drain().await.succeeded, 1);
    });
    assert_eq!(log.entries(), ["ada"]);
    // Wherever it is dropped.
    thread::spawn(move || drop(verk)).join().unwrap();
    drop(TestVerk::new());
}

#[tokio::test]
async fn other_threads_and_runtimes_enter() {
    let (verk, _log) = with_log();
    thread::scope(|scope| {
        scope.spawn(|| {
            let own = verk.client().clone();
            {
                let _entered = verk.enter();
                current_thread().block_on(async {
                    Greet::enqueue("from a thread").await.unwrap();
                });
            }
            multi_thread().block_on(async {
                let _entered = verk.enter();
                let _again = verk.enter();
                tokio::spawn(async { Greet::enqueue("from a runtime").await.unwrap() })
                    .await
                    .unwrap();
            });
            drop(own);
        });
    });
    let names: Vec<String> = verk
        .all_enqueued::<Greet>()
        .into_iter()
        .map(|job| job.name)
        .collect();
    assert_eq!(names, ["from a thread", "from a runtime"]);
}

#[tokio::test]
async fn it_becomes_nobodys_default() {
    let verk = TestVerk::new();
    let other = thread::scope(|scope| scope.spawn(Client::current).join().unwrap());
    if let Ok(default) = other {
        // Another test of this process may have built a Verk.
        default.enqueue(Greet::new("elsewhere")).await.unwrap();
        verk.refute_enqueued(|_: &Greet| true);
    }
}

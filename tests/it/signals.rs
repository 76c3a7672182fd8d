//! What a second TERM or INT does, in a process of its own.

use std::{env, thread, time::Duration};

use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};
use verk::{Verk, prelude::*};
use verk_testing::{MemoryStorage, within};

use crate::{
    program::Program,
    support::{Gate, PATIENCE, States},
};

/// Set in the environment of the program, to one of the cases.
const PROGRAM: &str = "VERK_TEST_OF_SIGNALS";

const LEFT_BEHIND: &str = "left behind";
const BLOCKED: &str = "blocked";
const OWN_HANDLER: &str = "own handler";

/// Leaves a thread behind that never ends.
#[verk::worker]
async fn leaves_a_thread() {
    let forever = tokio::task::spawn_blocking(block);
    println!("RUNS");
    forever.await.unwrap();
}

/// Blocks the runtime once its node gives it up.
#[verk::worker]
async fn blocks_the_runtime() {
    let _blocks = Blocks;
    println!("RUNS");
    std::future::pending::<()>().await;
}

struct Blocks;

impl Drop for Blocks {
    fn drop(&mut self) {
        println!("BLOCKED");
        block();
    }
}

#[verk::worker]
async fn passes_the_gate(State(gate): State<Gate>) {
    println!("RUNS");
    gate.pass().await;
}

fn block() {
    loop {
        thread::park();
    }
}

/// No test, but the program of the tests here.
#[test]
fn program() {
    let Ok(case) = env::var(PROGRAM) else { return };
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap();
    runtime.block_on(async {
        let states = States::new();
        let builder = states
            .give(Verk::builder().storage(MemoryStorage::default()))
            .queue("default", 1);
        let patience = match &*case {
            OWN_HANDLER => PATIENCE,
            _ => Duration::ZERO,
        };
        let verk = builder.shutdown_timeout(patience).build().await.unwrap();
        match &*case {
            LEFT_BEHIND => {
                verk.enqueue(LeavesAThread::new()).await.unwrap();
                verk.run().await.unwrap();
            }
            BLOCKED => {
                verk.enqueue(BlocksTheRuntime::new()).await.unwrap();
                verk.run().await.unwrap();
            }
            _ => {
                verk.enqueue(PassesTheGate::new()).await.unwrap();
                let mut terms = signal(SignalKind::terminate()).unwrap();
                let listen = async {
                    for count in 1..=3 {
                        terms.recv().await;
                        println!("TERM {count}");
                    }
                    states.gate.open();
                };
                let mut first = signal(SignalKind::terminate()).unwrap();
                let run = verk.run_until(async {
                    first.recv().await;
                });
                let (ended, ()) = within(PATIENCE, async { tokio::join!(run, listen) }).await;
                ended.unwrap();
            }
        }
    });
    println!("RETURNED");
    // Waits for threads that block.
    drop(runtime);
}

fn start(case: &str) -> Program {
    let mut program = Program::start("signals::program", &[(PROGRAM, case)]);
    program.read_until("RUNS");
    program
}

/// Sends the signal until the process has ended. Two that come together count as one.
fn send_until_it_ends(mut program: Program, signal: &str) -> Option<i32> {
    let status = until(|| {
        let ended = program.ended();
        if ended.is_none() {
            program.signal(signal);
        }
        ended
    });
    status.code()
}

#[test]
fn another_signal_ends_a_process_whose_run_has_returned() {
    for signal in ["-TERM", "-INT"] {
        let mut program = start(LEFT_BEHIND);
        program.signal("-TERM");
        program.read_until("RETURNED");
        assert_eq!(send_until_it_ends(program, signal), Some(1), "{signal}");
    }
}

#[test]
fn another_signal_ends_a_process_whose_runtime_is_blocked() {
    let mut program = start(BLOCKED);
    program.signal("-INT");
    program.read_until("BLOCKED");
    assert_eq!(send_until_it_ends(program, "-TERM"), Some(1));
}

#[test]
fn signals_that_the_program_handles_itself_end_nothing_at_once() {
    let mut program = start(OWN_HANDLER);
    for count in 1..=3 {
        program.signal("-TERM");
        program.read_until(&format!("TERM {count}"));
    }
    program.read_until("RETURNED");
    assert!(until(|| program.ended()).success());
}

/// Looks until there is something to see.
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_time().build();
    runtime.unwrap().block_on(within(PATIENCE, async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    }))
}

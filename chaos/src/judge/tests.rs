use super::*;

fn life(worker: usize, restarts: usize) -> Life {
    Life { worker, restarts }
}

fn attempt() -> Attempt {
    Attempt {
        jid: "j".to_owned(),
        number: 1,
    }
}

fn job() -> Vec<Record> {
    vec![
        Record::Sent {
            jid: "j".to_owned(),
            kind: Kind::Quick,
        },
        Record::Stored("j".to_owned()),
    ]
}

fn run_of(life: Life) -> [Record; 3] {
    [
        Record::Started(life, attempt()),
        Record::Ended(life, attempt()),
        Record::Settled(life, attempt()),
    ]
}

fn fault(fault: Fault, worker: Option<usize>) -> Record {
    Record::Fault {
        number: 0,
        fault,
        worker,
    }
}

const ONE: InFlight = InFlight {
    of_a_worker: 1,
    workers: 1,
};

fn over(struck: bool) -> Record {
    Record::Over { number: 0, struck }
}

fn verdict(records: &[Record]) -> Verdict {
    judge(records, &Left::default(), true, ONE)
}

#[test]
fn a_job_that_ran_is_well_and_one_that_did_not_is_lost() {
    let mut records = job();
    assert_eq!(verdict(&records).lost, 1);
    records.extend(run_of(life(0, 0)));
    assert!(verdict(&records).is_clean());
}

#[test]
fn a_job_that_waits_for_ever_is_stuck() {
    let left = Left {
        waiting: vec![r#"{"jid":"j"}"#.to_owned()],
        ..Left::default()
    };
    assert_eq!(judge(&job(), &left, false, ONE).stuck, 1);
    assert_eq!(judge(&job(), &Left::default(), false, ONE).stuck, 1);
}

#[test]
fn a_second_start_needs_a_fault_that_concerns_the_first() {
    let mut records = job();
    records.extend(run_of(life(0, 0)));
    records.extend(run_of(life(1, 0)));
    assert_eq!(verdict(&records).illegal_duplicates, 1);

    let mut killed = job();
    killed.push(Record::Started(life(0, 0), attempt()));
    killed.push(fault(Fault::KillWorker, Some(0)));
    killed.push(Record::Died(life(0, 0)));
    killed.extend(run_of(life(1, 0)));
    let killed = verdict(&killed);
    assert_eq!(killed.illegal_duplicates, 0);
    assert_eq!(killed.duplicates["kill_worker"], 1);

    let mut another_was_killed = job();
    another_was_killed.push(Record::Started(life(0, 0), attempt()));
    another_was_killed.push(fault(Fault::KillWorker, Some(1)));
    another_was_killed.extend(run_of(life(1, 0)));
    assert_eq!(verdict(&another_was_killed).illegal_duplicates, 1);
}

#[test]
fn what_was_settled_must_not_run_again_whatever_breaks() {
    let mut records = job();
    records.push(fault(Fault::StallRedis, None));
    records.extend(run_of(life(0, 0)));
    records.extend(run_of(life(0, 0)));
    assert_eq!(verdict(&records).illegal_duplicates, 1);
}

/// The process fetched the job before it stood still. Others put the job back and ran it.
#[test]
fn a_process_that_wakes_up_may_begin_what_it_had_fetched() {
    let of = |frozen: Life, wakes: Life| {
        let mut records = job();
        records.push(fault(Fault::FreezeWorker, Some(frozen.worker)));
        records.extend(run_of(life(0, 0)));
        records.push(over(true));
        records.push(Record::Started(wakes, attempt()));
        verdict(&records)
    };
    assert!(of(life(1, 0), life(1, 0)).is_clean());
    assert_eq!(of(life(1, 0), life(2, 0)).illegal_duplicates, 1);
}

#[test]
fn a_fault_that_was_over_before_explains_nothing() {
    let mut records = vec![fault(Fault::StallRedis, None), over(true)];
    records.extend(job());
    records.push(Record::Started(life(0, 0), attempt()));
    records.extend(run_of(life(0, 0)));
    assert_eq!(verdict(&records).illegal_duplicates, 1);
}

#[test]
fn a_fault_that_did_not_happen_explains_nothing() {
    let mut records = job();
    records.push(fault(Fault::CutAfterSettle, Some(0)));
    records.push(Record::Started(life(0, 0), attempt()));
    records.push(over(false));
    records.extend(run_of(life(0, 0)));
    let missed = verdict(&records);
    assert_eq!(missed.illegal_duplicates, 1);
    assert_eq!(missed.faults["cut_after_settle"], 0);
    assert!(!missed.met(&[Fault::CutAfterSettle]));

    records[4] = over(true);
    let struck = verdict(&records);
    assert_eq!(struck.illegal_duplicates, 0);
    assert_eq!(struck.faults["cut_after_settle"], 1);
    assert!(struck.met(&[Fault::CutAfterSettle]) && !struck.met(Fault::ALL));
}

#[test]
fn a_first_start_explains_one_second_start() {
    let mut records = job();
    records.push(fault(Fault::StallRedis, None));
    records.push(Record::Started(life(0, 0), attempt()));
    records.extend(run_of(life(1, 0)));
    records.extend(run_of(life(1, 0)));
    let verdict = verdict(&records);
    assert_eq!(verdict.duplicates["stall_redis"], 1);
    assert_eq!(verdict.illegal_duplicates, 1);
}

#[test]
fn a_fault_explains_no_more_than_was_in_flight() {
    let mut records = vec![fault(Fault::StallRedis, None)];
    for jid in ["a", "b", "c"] {
        let attempt = Attempt {
            jid: jid.to_owned(),
            number: 1,
        };
        records.push(Record::Started(life(0, 0), attempt.clone()));
        records.push(Record::Started(life(1, 0), attempt));
    }
    let two = InFlight {
        of_a_worker: 1,
        workers: 2,
    };
    let verdict = judge(&records, &Left::default(), true, two);
    assert_eq!(verdict.duplicates["stall_redis"], 2);
    assert_eq!(verdict.illegal_duplicates, 1);
    assert_eq!(verdict.examples, ["c"]);
}

#[test]
fn what_did_not_fail_has_no_second_attempt() {
    let mut records = job();
    records.extend(run_of(life(0, 0)));
    let second = Attempt {
        number: 2,
        ..attempt()
    };
    records.push(Record::Started(life(0, 0), second));
    assert_eq!(verdict(&records).miscounted, 1);
}

#[test]
fn what_is_no_job_is_kept_as_it_is() {
    let jid = "0f".to_owned();
    let kind = Kind::Malformed;
    let records = [
        Record::Sent {
            jid: jid.clone(),
            kind,
        },
        Record::Stored(jid.clone()),
    ];
    let payload = String::from_utf8_lossy(&payload::malformed(&jid)).into_owned();
    for (dead, altered) in [(payload.clone(), 0), (payload + " ", 1)] {
        let left = Left {
            dead: vec![dead],
            ..Left::default()
        };
        assert_eq!(judge(&records, &left, true, ONE).altered, altered);
    }
}

#[test]
fn a_process_that_ends_by_itself_is_a_crash() {
    let mut records = job();
    records.extend(run_of(life(0, 0)));
    records.push(Record::Died(life(0, 0)));
    records.push(Record::Died(life(0, 1)));
    assert_eq!(verdict(&records).crashes, 1);
}

#[test]
fn a_log_that_breaks_without_a_panic_is_not_proven() {
    let mut records = job();
    records.extend(run_of(life(0, 0)));
    records.extend([fault(Fault::LogDies, Some(0)), over(true)]);
    assert!(!verdict(&records).is_clean());
    // Of two lives, the last number of each counts.
    for (restarts, panics) in [(0, 3), (0, 5), (1, 2)] {
        records.push(Record::Caught(life(0, restarts), panics));
    }
    let verdict = verdict(&records);
    assert_eq!(verdict.caught_panics, 7);
    assert!(verdict.is_clean());
}

#[test]
fn a_job_that_runs_when_none_is_left_is_a_leaked_permit() {
    let mut records = job();
    records.extend(run_of(life(0, 0)));
    for (running, is_clean) in [(0, true), (2, false)] {
        records.push(Record::Rest(life(0, 0), running));
        let verdict = verdict(&records);
        assert_eq!(verdict.leaked_permits, running);
        assert_eq!(verdict.is_clean(), is_clean);
    }
}

#[test]
fn keys_that_nothing_explains_are_named() {
    let left = Left {
        keys: ["stat:processed", "queues", "inprogress:default:x"]
            .map(str::to_owned)
            .to_vec(),
        ..Left::default()
    };
    let verdict = judge(&[], &left, true, ONE);
    assert_eq!(verdict.stray_keys, ["inprogress:default:x"]);
}

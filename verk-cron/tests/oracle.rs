//! Compares due times with those of `oracle/oracle.py`, which finds them by definition. Both read
//! the same files of zones.
//!
//! 30 zones are in `oracle/zones`, and what is due there in `oracle/golden.txt`. `oracle/README.md`
//! says how to write that again. `script/cron-zones` compares every zone of a folder.

use std::{
    env, fs,
    ops::Range,
    path::Path,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use verk_cron::Schedule;

/// What the oracle says about one zone in one time.
#[derive(Default)]
struct Zone {
    /// Its names.
    names: Vec<String>,
    /// From when to when, in seconds of Unix.
    times: Range<u64>,
    schedules: Vec<Expected>,
}

struct Expected {
    expression: String,
    count: usize,
    hash: u64,
    /// A change of the clocks, and what is due around it.
    around: Vec<(u64, String)>,
}

fn read(text: &str) -> Vec<Zone> {
    let mut zones: Vec<Zone> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(zone) = line.strip_prefix("zone ") {
            let [name, from, to] = words(zone);
            zones.push(Zone {
                names: vec![name.to_owned()],
                times: from.parse().unwrap()..to.parse().unwrap(),
                schedules: Vec::new(),
            });
            continue;
        }
        let zone = zones.last_mut().unwrap();
        if let Some(name) = line.strip_prefix("same ") {
            zone.names.push(name.to_owned());
        } else if let Some(around) = line.strip_prefix("  around ") {
            let (change, due) = around.split_once(':').unwrap();
            let around = &mut zone.schedules.last_mut().unwrap().around;
            around.push((change.parse().unwrap(), due.trim().to_owned()));
        } else {
            let [expression, count, hash] = parts(line, '|');
            zone.schedules.push(Expected {
                expression: expression.to_owned(),
                count: count.parse().unwrap(),
                hash: u64::from_str_radix(hash, 16).unwrap(),
                around: Vec::new(),
            });
        }
    }
    zones
}

fn words(line: &str) -> [&str; 3] {
    parts(line, ' ')
}

fn parts(line: &str, by: char) -> [&str; 3] {
    line.split(by).collect::<Vec<_>>().try_into().unwrap()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// What is due in a time, in seconds of Unix.
fn due(schedule: &Schedule, times: &Range<u64>) -> Vec<u64> {
    let before = at(times.start) - Duration::from_nanos(1);
    let mut due = Vec::new();
    let mut last = before;
    while let Some(next) = schedule.next(last, before) {
        let since = next.duration_since(UNIX_EPOCH).unwrap();
        if since.as_secs() >= times.end {
            break;
        }
        assert!(next > last && since.subsec_nanos() == 0);
        due.push(since.as_secs());
        last = next;
    }
    due
}

/// FNV-1a, by 64 bits at a time.
fn hash(due: &[u64]) -> u64 {
    due.iter().fold(0xcbf2_9ce4_8422_2325, |hash, instant| {
        (hash ^ instant).wrapping_mul(0x100_0000_01b3)
    })
}

/// What is due from a day before a change to a day after it, in seconds from it.
fn around(due: &[u64], change: u64) -> String {
    let near = due.iter().filter(|at| at.abs_diff(change) <= 86_400);
    let near = near.map(|at| format!("{:+}", at.cast_signed() - change.cast_signed()));
    near.collect::<Vec<_>>().join(" ")
}

/// How a zone differs from what the oracle says, and how many times were compared.
fn compare(folder: &Path, zone: &Zone) -> (Vec<String>, usize) {
    let mut wrong = Vec::new();
    let mut compared = 0;
    let first = fs::read(folder.join(&zone.names[0])).unwrap();
    for name in &zone.names[1..] {
        assert_eq!(fs::read(folder.join(name)).unwrap(), first, "{name}");
    }
    let name = &zone.names[0];
    for expected in &zone.schedules {
        let expression = &expected.expression;
        let schedule = Schedule::cron_in_tzif(expression, name, &first).unwrap();
        let due = due(&schedule, &zone.times);
        compared += due.len();
        for (change, times) in &expected.around {
            let found = around(&due, *change);
            if found != *times {
                wrong.push(format!(
                    "{name}: {expression} around {change}:\n  due  {times}\n  here {found}"
                ));
            }
        }
        if (due.len(), hash(&due)) != (expected.count, expected.hash) {
            let count = expected.count;
            wrong.push(format!(
                "{name}: {expression}: {} times, not {count}",
                due.len()
            ));
        }
    }
    (wrong, compared)
}

fn compare_all(folder: &Path, text: &str) -> (usize, usize) {
    let zones = read(text);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let chunk = zones.len().div_ceil(threads);
    let results = thread::scope(|scope| {
        let all = zones.chunks(chunk).map(|zones| {
            scope.spawn(|| {
                let compared = zones.iter().map(|zone| compare(folder, zone));
                compared.collect::<Vec<_>>()
            })
        });
        let running = all.collect::<Vec<_>>();
        running
            .into_iter()
            .flat_map(|running| running.join().unwrap())
            .collect::<Vec<_>>()
    });
    let wrong = results.iter().flat_map(|(wrong, _)| wrong).cloned();
    let wrong = wrong.collect::<Vec<_>>();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let names = zones.iter().map(|zone| zone.names.len()).sum();
    (names, results.iter().map(|(_, compared)| compared).sum())
}

#[test]
fn ten_years_in_thirty_zones_are_as_the_oracle_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    let golden = fs::read_to_string(folder.join("golden.txt")).unwrap();
    let (names, compared) = compare_all(&folder.join("zones"), &golden);
    assert_eq!(names, 61, "30 zones twice, and Samoa in 2011");
    assert!(compared > 5_000_000, "{compared}");
}

/// `script/cron-zones` asks the oracle, and runs this.
#[test]
#[ignore = "needs the answers of the oracle: script/cron-zones"]
fn ten_years_in_every_zone_are_as_the_oracle_says() {
    let folder = env::var("VERK_CRON_ZONES").expect("the folder of the zones");
    let answers = env::var("VERK_CRON_ORACLE").expect("the file of what oracle.py says");
    let (names, compared) = compare_all(Path::new(&folder), &fs::read_to_string(answers).unwrap());
    println!("{names} zones, {compared} due times");
    assert!(names > 400, "{names}");
}

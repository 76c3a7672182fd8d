//! Decides which jobs may have killed the process that ran them, and what happens to them. Pure.
//!
//! A *poison pill* is a job that kills its process. From outside, it looks like every other job
//! that ran in that process. So each job that had been started counts a death, and the rules are:
//!
//! 1. After its first death, a job goes back to the front of its queue, as if nothing had happened.
//! 2. From the second on, it is a suspect, and comes back alone, after a delay. The suspects of one
//!    process come back one by one, those with the most deaths first.
//! 3. A job that reaches the limit is buried, if it is the only one of its process that did. If
//!    several did, verk cannot know which one is to blame: none is buried, and all come back as
//!    suspects, further apart.
//!
//! This ends. If the slots of time are longer than the innocent jobs run, the pill is alone when it
//! runs again. If they are shorter, the pill kills only those that came back before it. Whenever
//! several have the most deaths, by chance half of the others come back after the pill, until the
//! pill comes back first.

use std::{
    cmp::Reverse,
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use crate::names::Jid;

/// When the first suspect comes back after a second death, and how long after it the next comes
/// back. After the third death, the first waits for two of these times, and so on.
const SLOT: Duration = Duration::from_secs(60);
const MAX_WAIT: u32 = 60;

/// The factor by which the suspects come back further apart with each further death, and how often
/// it applies.
const GROWTH: u32 = 4;
const MAX_GROWTHS: u32 = 3;

/// What happens to a job whose process died while it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes back to the front of its queue.
    Requeue,
    /// It comes back after this time.
    Delay(Duration),
    /// It goes to the `dead` set.
    Bury,
}

/// Judges the jobs that had been started in one dead process, by how many processes died while each
/// ran, this one included. A job that reaches `limit` is a poison pill; with 0, none ever is.
pub(crate) fn judge(deaths: &HashMap<Jid, u32>, limit: u32) -> HashMap<Jid, Verdict> {
    let at_limit = |deaths: u32| limit > 0 && deaths >= limit;
    let ambiguous = deaths.values().filter(|n| at_limit(**n)).count() > 1;
    let mut suspects = Vec::new();
    let mut verdicts = HashMap::new();
    for (jid, &deaths) in deaths {
        if at_limit(deaths) && !ambiguous {
            verdicts.insert(jid.clone(), Verdict::Bury);
        } else if at_limit(deaths) || deaths >= 2 {
            suspects.push((jid, deaths));
        } else {
            verdicts.insert(jid.clone(), Verdict::Requeue);
        }
    }
    // Suspects with equal deaths have another order each time, so that none is always last.
    suspects.sort_by_cached_key(|&(jid, deaths)| (Reverse(deaths), hash(jid, deaths)));
    let most = suspects.first().map_or(0, |(_, deaths)| *deaths);
    let wait = SLOT * most.saturating_sub(1).clamp(1, MAX_WAIT);
    let apart = SLOT * GROWTH.pow(most.saturating_sub(2).min(MAX_GROWTHS));
    for (place, (jid, _)) in (0..).zip(suspects) {
        let delay = wait.saturating_add(apart.saturating_mul(place));
        verdicts.insert(jid.clone(), Verdict::Delay(delay));
    }
    verdicts
}

fn hash(jid: &Jid, deaths: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (jid, deaths).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn judged(deaths: &[(&str, u32)], limit: u32) -> BTreeMap<String, Verdict> {
        let deaths = deaths.iter().map(|(jid, n)| (Jid::from(*jid), *n));
        let verdicts = judge(&deaths.collect(), limit).into_iter();
        verdicts
            .map(|(jid, verdict)| (jid.to_string(), verdict))
            .collect()
    }

    /// The delays of suspects, shortest first.
    fn delays(verdicts: &BTreeMap<String, Verdict>) -> Vec<Duration> {
        let mut delays: Vec<_> = verdicts
            .values()
            .filter_map(|verdict| match verdict {
                Verdict::Delay(delay) => Some(*delay),
                Verdict::Requeue | Verdict::Bury => None,
            })
            .collect();
        delays.sort();
        delays
    }

    #[test]
    fn the_first_death_has_no_consequences() {
        let verdicts = judged(&[("a", 1), ("b", 1)], 3);
        assert!(verdicts.values().all(|v| *v == Verdict::Requeue));
    }

    #[test]
    fn suspects_come_back_one_by_one_and_others_at_once() {
        let verdicts = judged(&[("a", 2), ("b", 1), ("c", 2), ("d", 2)], 3);
        assert_eq!(verdicts["b"], Verdict::Requeue);
        assert_eq!(delays(&verdicts), [MINUTE, 2 * MINUTE, 3 * MINUTE]);
    }

    #[test]
    fn the_only_one_at_the_limit_is_buried() {
        let verdicts = judged(&[("a", 2), ("pill", 3), ("b", 1)], 3);
        assert_eq!(verdicts["pill"], Verdict::Bury);
        assert_eq!(verdicts["a"], Verdict::Delay(MINUTE));
        assert_eq!(verdicts["b"], Verdict::Requeue);
    }

    #[test]
    fn of_several_at_the_limit_none_is_buried_and_they_come_back_further_apart() {
        let verdicts = judged(&[("a", 3), ("b", 4), ("c", 2)], 3);
        assert_eq!(delays(&verdicts), [3, 19, 35].map(|n| n * MINUTE));
        assert_eq!(verdicts["b"], Verdict::Delay(3 * MINUTE), "the worst first");
        assert_eq!(verdicts["c"], Verdict::Delay(35 * MINUTE));
    }

    #[test]
    fn delays_do_not_grow_for_ever() {
        let verdicts = judged(&[("a", u32::MAX), ("b", u32::MAX)], 3);
        assert_eq!(delays(&verdicts), [60, 124].map(|n| n * MINUTE));
    }

    #[test]
    fn a_limit_of_zero_buries_none_and_of_one_at_once() {
        assert_eq!(judged(&[("a", 9)], 0)["a"], Verdict::Delay(8 * MINUTE));
        assert_eq!(judged(&[("a", 1)], 1)["a"], Verdict::Bury);
        let both = judged(&[("a", 1), ("b", 1)], 1);
        assert_eq!(delays(&both), [MINUTE, 2 * MINUTE]);
    }

    /// A pill and innocent jobs that run for `run` (in minutes), on processes with a permit for
    /// each. Returns which jobs were buried, which ran to their end, and how many processes died.
    fn play(innocents: u64, run: u64, pill: &str) -> (Vec<Jid>, BTreeSet<Jid>, u32) {
        let pill = Jid::from(pill);
        let jids = (0..innocents).map(|n| Jid::from(format!("innocent {n}").as_str()));
        // When each comes back, and when each running job ends.
        let mut due: Vec<(u64, Jid)> = jids.chain([pill.clone()]).map(|jid| (0, jid)).collect();
        let mut running: Vec<(u64, Jid)> = Vec::new();
        let mut counts: HashMap<Jid, u32> = HashMap::new();
        let (mut buried, mut ran, mut deaths) = (Vec::new(), BTreeSet::new(), 0);
        while let Some(now) = due.iter().chain(&running).map(|(at, _)| *at).min() {
            for (_, jid) in running.extract_if(.., |(ends, _)| *ends <= now) {
                ran.insert(jid);
            }
            let starts = due.extract_if(.., |(at, _)| *at <= now);
            running.extend(starts.map(|(_, jid)| (now + run, jid)));
            if !running.iter().any(|(_, jid)| *jid == pill) {
                continue;
            }
            deaths += 1;
            assert!(deaths < 100, "no end: {running:?}");
            let started: HashMap<Jid, u32> = running
                .drain(..)
                .map(|(_, jid)| {
                    let count = counts.entry(jid.clone()).or_default();
                    *count += 1;
                    (jid, *count)
                })
                .collect();
            for (jid, verdict) in judge(&started, 3) {
                match verdict {
                    Verdict::Requeue => due.push((now, jid)),
                    Verdict::Delay(delay) => due.push((now + delay.as_secs() / 60, jid)),
                    Verdict::Bury => buried.push(jid),
                }
            }
        }
        (buried, ran, deaths)
    }

    #[test]
    fn a_pill_among_many_is_found_and_no_neighbour_is_buried() {
        for innocents in [0, 1, 24, 99] {
            for run in [1, 10, 60, 240, 24 * 60] {
                for pill in ["one pill", "another", "and one more"] {
                    let (buried, ran, deaths) = play(innocents, run, pill);
                    assert_eq!(buried, [Jid::from(pill)], "{innocents} {run}");
                    assert_eq!(ran.len() as u64, innocents, "{innocents} {run}");
                    assert!(
                        (3..=20).contains(&deaths),
                        "{deaths} deaths: {innocents} {run}"
                    );
                }
            }
        }
    }
}

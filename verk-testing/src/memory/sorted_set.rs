//! A set of payloads ordered by score: [`SortedSet`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use crate::conformance::ScoredJob;

/// Each payload once, ordered by score and then by bytes, as Redis orders a sorted set.
#[derive(Debug, Default)]
pub(super) struct SortedSet {
    members: HashMap<Bytes, Member>,
    order: BTreeSet<(Score, Bytes)>,
    /// By the number that each got when it came.
    numbered: BTreeMap<u64, Bytes>,
    last_number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    score: Score,
    number: u64,
}

impl SortedSet {
    /// Adds `job`, or gives it a new score; returns whether it existed.
    pub(super) fn insert(&mut self, score: f64, job: Bytes) -> bool {
        let score = Score(score + 0.0); // -0.0 becomes 0.0
        let old = self.members.get(&job).copied();
        let number = match old {
            Some(old) => {
                self.order.remove(&(old.score, job.clone()));
                old.number
            }
            None => {
                self.last_number += 1;
                self.numbered.insert(self.last_number, job.clone());
                self.last_number
            }
        };
        self.order.insert((score, job.clone()));
        self.members.insert(job, Member { score, number });
        old.is_some()
    }

    pub(super) fn remove(&mut self, job: &Bytes) {
        if let Some(Member { score, number }) = self.members.remove(job) {
            self.order.remove(&(score, job.clone()));
            self.numbered.remove(&number);
        }
    }

    pub(super) fn score(&self, job: &Bytes) -> Option<f64> {
        self.members.get(job).map(|member| member.score.0)
    }

    /// Removes members with a score below `score`, and the lowest above `max` members, but at most
    /// so many. Returns whether more must be removed.
    pub(super) fn cut_lowest(&mut self, score: f64, max: usize, mut at_most: usize) -> bool {
        while self.order.len() > max || self.order.first().is_some_and(|(first, _)| first.0 < score)
        {
            if at_most == 0 {
                return true;
            }
            self.pop_first();
            at_most -= 1;
        }
        false
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The members, the lowest score first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = ScoredJob> {
        self.order.iter().map(|(score, job)| ScoredJob {
            score: score.0,
            job: job.clone(),
        })
    }

    /// The members by number, from `number` on: a member keeps its own as long as it stays.
    pub(super) fn numbered_from(&self, number: u64) -> impl Iterator<Item = (u64, ScoredJob)> {
        let members = self.numbered.range(number..);
        members.filter_map(|(number, job)| {
            let member = ScoredJob {
                score: self.score(job)?,
                job: job.clone(),
            };
            Some((*number, member))
        })
    }

    fn pop_first(&mut self) {
        if let Some((_, job)) = self.order.first() {
            self.remove(&job.clone());
        }
    }
}

/// A score with an order.
#[derive(Clone, Copy, Debug)]
struct Score(f64);

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Score {}

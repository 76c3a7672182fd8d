//! A set of payloads ordered by score: [`SortedSet`].

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use verk_core::storage::ScoredJob;

/// Each payload once, ordered by score and then by bytes, as Redis orders a sorted set.
#[derive(Debug, Default)]
pub(super) struct SortedSet {
    scores: HashMap<Bytes, Score>,
    order: BTreeSet<(Score, Bytes)>,
}

impl SortedSet {
    /// Adds `job`, or gives it a new score; answers whether it was there.
    pub(super) fn insert(&mut self, score: f64, job: Bytes) -> bool {
        let score = Score(score + 0.0); // -0.0 becomes 0.0
        let old = self.scores.insert(job.clone(), score);
        if let Some(old) = old {
            self.order.remove(&(old, job.clone()));
        }
        self.order.insert((score, job));
        old.is_some()
    }

    pub(super) fn remove(&mut self, job: &Bytes) {
        if let Some(score) = self.scores.remove(job) {
            self.order.remove(&(score, job.clone()));
        }
    }

    pub(super) fn score(&self, job: &Bytes) -> Option<f64> {
        self.scores.get(job).map(|score| score.0)
    }

    /// Removes every member with a score below `score`.
    pub(super) fn remove_below(&mut self, score: f64) {
        while self.order.first().is_some_and(|(first, _)| first.0 < score) {
            self.pop_first();
        }
    }

    /// Removes the lowest scores until `max` members are left.
    pub(super) fn truncate_lowest(&mut self, max: usize) {
        while self.order.len() > max {
            self.pop_first();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The members, the lowest score first.
    pub(super) fn iter(&self) -> impl Iterator<Item = ScoredJob> {
        self.order.iter().map(|(score, job)| ScoredJob {
            score: score.0,
            job: job.clone(),
        })
    }

    fn pop_first(&mut self) {
        if let Some((_, job)) = self.order.pop_first() {
            self.scores.remove(&job);
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

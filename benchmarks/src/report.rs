//! What was measured: [`Report`], printed as JSON and read back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One measurement of several systems, with its parts.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) what: String,
    pub(crate) settings: Map<String, Value>,
    pub(crate) verk: Outcome,
    pub(crate) floor: Outcome,
    pub(crate) peers: BTreeMap<String, Outcome>,
    /// Several things of verk that are measured alike, such as the pages of the dashboard.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) rows: BTreeMap<String, Outcome>,
    /// verk's main figure divided by the floor's.
    pub(crate) ratio_to_floor: Option<f64>,
    /// The same for every figure that both have.
    pub(crate) ratios_to_floor: BTreeMap<String, f64>,
    /// verk's main figure divided by each peer's.
    pub(crate) ratios_to_peers: BTreeMap<String, f64>,
    /// The same with other settings; in `compare`, every measurement.
    pub(crate) parts: BTreeMap<String, Report>,
    /// The targets of verk, in `compare`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) targets: Vec<Target>,
    /// Where and when, in what is printed.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) machine: Map<String, Value>,
}

/// The figures of one system: each is the median of its runs, with its `_min` and `_max`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    Failed { error: String },
    Figures(BTreeMap<String, f64>),
}

/// A target: a figure or a ratio, with its bound.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) wanted: String,
    pub(crate) measured: Option<f64>,
    pub(crate) met: bool,
}

/// The figures of one run, the main one first.
pub(crate) type Measured = Vec<(&'static str, f64)>;

impl Default for Outcome {
    fn default() -> Self {
        Self::Figures(BTreeMap::new())
    }
}

impl Outcome {
    /// The minimum, the median and the maximum of each figure.
    pub(crate) fn of(runs: &[Measured]) -> Self {
        let mut figures = BTreeMap::new();
        for (name, _) in runs.first().into_iter().flatten() {
            let mut values: Vec<f64> = runs
                .iter()
                .flatten()
                .filter(|(other, _)| other == name)
                .map(|(_, value)| *value)
                .collect();
            values.sort_by(f64::total_cmp);
            let Some((min, max)) = values.first().zip(values.last()) else {
                continue;
            };
            figures.insert((*name).to_owned(), rounded(values[values.len() / 2]));
            figures.insert(format!("{name}_min"), rounded(*min));
            figures.insert(format!("{name}_max"), rounded(*max));
        }
        Self::Figures(figures)
    }

    /// The median of a figure or, with the suffix `_min` or `_max`, its minimum or maximum.
    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        match self {
            Self::Figures(figures) => figures.get(name).copied(),
            Self::Failed { .. } => None,
        }
    }

    /// The names of all figures, without `_min` and `_max`.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let figures = match self {
            Self::Figures(figures) => Some(figures),
            Self::Failed { .. } => None,
        };
        figures
            .into_iter()
            .flat_map(BTreeMap::keys)
            .map(String::as_str)
            .filter(|name| !name.ends_with("_min") && !name.ends_with("_max"))
    }

    /// One of the figures alone.
    pub(crate) fn only(&self, name: &str) -> Self {
        match self {
            Self::Failed { error } => Self::Failed {
                error: error.clone(),
            },
            Self::Figures(figures) => {
                let mut figures = figures.clone();
                figures.retain(|other, _| {
                    let suffix = other.strip_prefix(name);
                    matches!(suffix, Some("" | "_min" | "_max"))
                });
                Self::Figures(figures)
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Figures(figures) if figures.is_empty())
    }
}

impl Report {
    /// Sorts the results of the systems. `main` is the figure for the ratios. The settings always
    /// have the number of threads of a program.
    pub(crate) fn new(
        what: &str,
        main: &str,
        settings: &[(&str, Value)],
        outcomes: Vec<(String, Outcome)>,
    ) -> Self {
        let mut report = Self {
            what: what.to_owned(),
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            ..Self::default()
        };
        let threads = report.settings.entry("threads");
        threads.or_insert_with(|| benchmark_harness::threads().into());
        for (name, outcome) in outcomes {
            match name.as_str() {
                "verk" => report.verk = outcome,
                "floor" => report.floor = outcome,
                _ => drop(report.peers.insert(name, outcome)),
            }
        }
        report.ratio_to_floor = ratio(&report.verk, &report.floor, main);
        report.ratios_to_floor = report
            .verk
            .names()
            .filter_map(|name| Some((name.to_owned(), ratio(&report.verk, &report.floor, name)?)))
            .collect();
        report.ratios_to_peers = report
            .peers
            .iter()
            .filter_map(|(peer, outcome)| Some((peer.clone(), ratio(&report.verk, outcome, main)?)))
            .collect();
        report
    }

    /// Adds the same measurement with other settings.
    pub(crate) fn with(mut self, name: &str, part: Self) -> Self {
        self.parts.insert(name.to_owned(), part);
        self
    }

    /// Adds a row for each of several things.
    pub(crate) fn rows(mut self, rows: Vec<(String, Outcome)>) -> Self {
        self.rows.extend(rows);
        self
    }

    /// Every system and every row with its figures, verk and the floor first.
    pub(crate) fn systems(&self) -> impl Iterator<Item = (&str, &Outcome)> {
        let more = self.peers.iter().chain(&self.rows);
        [("verk", &self.verk), ("floor", &self.floor)]
            .into_iter()
            .chain(more.map(|(name, outcome)| (name.as_str(), outcome)))
            .filter(|(_, outcome)| !outcome.is_empty())
    }
}

fn ratio(one: &Outcome, other: &Outcome, name: &str) -> Option<f64> {
    let (one, other) = (one.figure(name)?, other.figure(name)?);
    (other != 0.0).then(|| rounded(one / other))
}

/// To four digits: no figure here is better.
pub(crate) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

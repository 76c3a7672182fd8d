//! A report as Markdown: tables, as they stand in `docs/performance.md`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::report::{Outcome, Report};

/// The whole report, with its parts.
pub(crate) fn render(report: &Report) -> String {
    let mut out = String::new();
    if !report.machine.is_empty() {
        out += &paragraph(&format!("{}.", pairs(report.machine.iter())));
    }
    section(report, &report.what, 2, &mut out);
    out
}

fn section(report: &Report, title: &str, level: usize, out: &mut String) {
    *out += &format!("\n{} {}\n\n", "#".repeat(level), title.replace('_', " "));
    if !report.settings.is_empty() {
        *out += &paragraph(&format!("{}.", pairs(report.settings.iter())));
        *out += "\n";
    }
    table(report, out);
    if let Some(ratio) = report.ratio_to_floor {
        let mut text = format!("verk / the floor: {ratio}.");
        let others: Vec<String> = report
            .ratios_to_peers
            .iter()
            .map(|(peer, ratio)| format!("{peer} {ratio}"))
            .collect();
        if !others.is_empty() {
            text += &format!(" verk / each peer: {}.", others.join(", "));
        }
        *out += "\n";
        *out += &paragraph(&text);
    }
    if !report.targets.is_empty() {
        *out += "\n| target | wanted | measured | met |\n|---|---|---|---|\n";
        for target in &report.targets {
            let measured = target.measured.map_or("-".to_owned(), number);
            let met = if target.met { "yes" } else { "**no**" };
            *out += &format!(
                "| {} | {} | {measured} | {met} |\n",
                target.name, target.wanted
            );
        }
    }
    for (name, part) in &report.parts {
        let title = if *name == part.what {
            name.clone()
        } else {
            format!("{title}: {name}")
        };
        section(part, &title, (level + 1).min(4), out);
    }
}

/// A row for each system, a column for each figure: the median, and the minimum and the maximum if
/// they differ.
fn table(report: &Report, out: &mut String) {
    let columns: BTreeSet<&str> = report
        .systems()
        .flat_map(|(_, outcome)| outcome.names())
        .collect();
    if columns.is_empty() {
        return;
    }
    *out += "| |";
    for column in &columns {
        *out += &format!(" {} |", column.replace('_', " "));
    }
    *out += &format!("\n|---|{}\n", "---|".repeat(columns.len()));
    for (name, outcome) in report.systems() {
        *out += &format!("| {name} |");
        match outcome {
            Outcome::Failed { error } => {
                let error = error.replace(['|', '\n'], " ");
                *out += &format!(" failed: {error} |{}", " |".repeat(columns.len() - 1));
            }
            Outcome::Figures(_) => {
                for column in &columns {
                    *out += &format!(" {} |", cell(outcome, column));
                }
            }
        }
        *out += "\n";
    }
}

fn cell(outcome: &Outcome, column: &str) -> String {
    let figure = |suffix| outcome.figure(&format!("{column}{suffix}"));
    match (figure(""), figure("_min"), figure("_max")) {
        (Some(median), Some(min), Some(max)) if min != max => {
            format!("{} ({} to {})", number(median), number(min), number(max))
        }
        (Some(median), _, _) => number(median),
        (None, _, _) => "-".to_owned(),
    }
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a String, &'a Value)>) -> String {
    let pairs: Vec<String> = pairs
        .map(|(name, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            format!("{} {value}", name.replace('_', " "))
        })
        .collect();
    pairs.join(", ")
}

/// Lines of at most 100 columns.
fn paragraph(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        if width > 0 && width + 1 + word.chars().count() > 100 {
            lines.push('\n');
            width = 0;
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines += word;
        width += word.chars().count();
    }
    lines + "\n"
}

/// Large ones in groups of three digits.
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 1000.0 {
        return value.to_string();
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

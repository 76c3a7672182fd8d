//! The options `cron` and `every`.

use std::time::Duration;

use proc_macro2::{Ident, TokenStream};
use syn::{
    Expr, LitStr, Token,
    parse::{ParseStream, Parser},
};

use super::{
    options::{text, ungrouped},
    shown,
};
use crate::{
    attr::{RawOption, takes},
    errors::Errors,
    model::{Param, Periodic, Timing},
    words::{CRON, Word, nearest},
};

/// The longest name of an entry, in bytes, as that of a queue or class.
const MAX_NAME_BYTES: usize = 256;

/// What happens while the last job waits or runs, and the variant of `Overlap`.
const OVERLAP: [(&str, &str); 3] = [
    ("skip", "Skip"),
    ("allow", "Allow"),
    ("queue_one", "QueueOne"),
];

/// What is made up for, and the variant of `CatchUp`.
const CATCH_UP: [(&str, &str); 3] = [("none", "None"), ("last", "Last"), ("all", "All")];

/// The entries that the source has. A word with an error is left out. `enabled` says whether the
/// feature is on.
pub(super) fn entries(
    raw: &[RawOption],
    params: &[Param],
    enabled: bool,
    errors: &mut Errors,
) -> Vec<Periodic> {
    let mut entries: Vec<Periodic> = Vec::new();
    let is_unique = raw.iter().any(|option| option.name == "unique");
    for option in raw
        .iter()
        .filter(|it| it.name == "cron" || it.name == "every")
    {
        if !enabled {
            errors.push(
                &option.name,
                format!(
                    "`{}` makes jobs periodic, which is the feature `cron` of `verk`: add it to `features` in `Cargo.toml`",
                    option.name
                ),
            );
            continue;
        }
        let entry = match &option.value {
            Some(value) if option.name == "every" => {
                let every = Value {
                    name: &option.name,
                    takes: takes("every").unwrap_or_default(),
                    expr: ungrouped(value),
                    errors,
                };
                let timing = every.period();
                let mut entry = Periodic {
                    timing,
                    ..Periodic::default()
                };
                args(&mut entry, &option.name, None, params, errors);
                Some(entry)
            }
            // `options` reports a `cron` with a value.
            Some(_) => None,
            None => cron(option, params, is_unique, errors),
        };
        let Some(entry) = entry else { continue };
        if entry.name.is_some() && entries.iter().any(|other| other.name == entry.name) {
            errors.push(
                &option.name,
                "two entries have the same `name`, by which the timetable knows them: give each its own",
            );
        }
        entries.push(entry);
    }
    entries
}

/// One `cron(..)`.
fn cron(
    option: &RawOption,
    params: &[Param],
    is_unique: bool,
    errors: &mut Errors,
) -> Option<Periodic> {
    let (expression, words) = split(option.words.clone().unwrap_or_default());
    let words = CRON.read(words, errors);
    let find = |name: &str| words.iter().find(|word| word.name == name);
    let mut entry = Periodic::default();
    for Word { name, value } in &words {
        let Some(value) = value else { continue };
        let value = Value {
            name,
            takes: CRON.takes(name),
            expr: ungrouped(value),
            errors,
        };
        match name.to_string().as_str() {
            "every" => entry.timing = value.period(),
            "overlap" => entry.overlap = value.one_of(&OVERLAP),
            "catch_up" => entry.catch_up = value.one_of(&CATCH_UP),
            "within" => entry.within = value.duration(),
            "splay" => entry.splay = value.duration(),
            "name" => entry.name = value.entry_name(),
            _ => {}
        }
    }
    let zone = find("tz");
    match (&expression, find("every")) {
        (Some(_), Some(every)) => errors.push(
            &every.name,
            "an expression and `every` both say when the job is due: keep one",
        ),
        (None, None) => errors.push(
            &option.name,
            r#"`cron` begins with an expression: write `cron("0 7 * * MON-FRI")`, or `cron(every = "10m")`"#,
        ),
        (None, Some(_)) => {
            if let Some(zone) = zone {
                errors.push(
                    &zone.name,
                    "a period is the same in every time zone: remove the `tz`",
                );
            }
        }
        (Some(expression), None) => {
            entry.timing = timing(expression, zone.and_then(|zone| zone.value.as_ref()), errors);
        }
    }
    if let (Timing::Every(period), Some(splay)) = (&entry.timing, entry.splay)
        && splay >= *period
    {
        errors.push(
            find("splay").map(|splay| &splay.value),
            "`splay` is as long as the period, so that jobs would change their order: make it shorter",
        );
    }
    match (find("overlap"), entry.overlap, entry.catch_up) {
        (Some(overlap), _, _) if is_unique => errors.push(
            &overlap.name,
            "the lock of a unique worker already keeps its jobs apart: remove the `overlap`, or the `unique`",
        ),
        (Some(overlap), Some("Skip" | "QueueOne"), Some("All")) => errors.push(
            &overlap.value,
            r#"with this `overlap`, only the first job that `catch_up = "all"` makes up for would be stored: write `overlap = "allow"`"#,
        ),
        // The jobs that are made up for come at once.
        (None, _, Some("All")) => entry.overlap = Some("Allow"),
        _ => {}
    }
    if let (true, Some("All"), Some(catch_up)) = (is_unique, entry.catch_up, find("catch_up")) {
        errors.push(
            &catch_up.value,
            r#"of the jobs that `catch_up = "all"` makes up for, a unique worker stores only the first: write `catch_up = "last"`"#,
        );
    }
    args(&mut entry, &option.name, find("args"), params, errors);
    Some(entry)
}

/// The expression, which comes first, and the words after it.
fn split(tokens: TokenStream) -> (Option<LitStr>, TokenStream) {
    let parser = |input: ParseStream<'_>| {
        let expression = input.parse::<Option<LitStr>>()?;
        if expression.is_some() && !input.is_empty() {
            // What follows without a comma is reported as no option.
            input.parse::<Option<Token![,]>>()?;
        }
        Ok((expression, input.parse::<TokenStream>()?))
    };
    parser.parse2(tokens).unwrap_or_default()
}

/// Checks the expression and the zone, each at its place.
fn timing(expression: &LitStr, zone: Option<&Expr>, errors: &mut Errors) -> Timing {
    let name = match zone.map(|zone| (zone, text(zone))) {
        None => "UTC".to_owned(),
        Some((_, Some(name))) => name,
        Some((zone, None)) => {
            let shown = shown(zone);
            errors.push(
                zone,
                format!(
                    r#"`tz` takes a time zone in quotes, such as "Europe/Berlin", found `{shown}`"#
                ),
            );
            "UTC".to_owned()
        }
    };
    let text = expression.value();
    match schedule::of_cron(&text, "UTC") {
        Ok(()) => {}
        Err(error) => errors.push(expression, error),
    }
    // Both are reported.
    if let Err(error) = schedule::of_cron("@daily", &name) {
        errors.push(zone, error);
    }
    Timing::Cron {
        expression: text,
        zone: name,
    }
}

/// The arguments of the jobs, one for each argument of the worker.
fn args(
    entry: &mut Periodic,
    option: &Ident,
    word: Option<&Word>,
    params: &[Param],
    errors: &mut Errors,
) {
    let value = word.and_then(|word| word.value.as_ref()).map(ungrouped);
    entry.args = match value {
        None => Vec::new(),
        Some(Expr::Tuple(tuple)) => tuple.elems.iter().cloned().collect(),
        Some(Expr::Paren(paren)) => vec![(*paren.expr).clone()],
        Some(expr) => vec![expr.clone()],
    };
    // A parameter with an error may be one of them.
    if params.iter().any(|param| matches!(param, Param::Broken(_))) {
        return;
    }
    let names = params.iter().filter_map(Param::arg).map(|arg| arg.name());
    let names = names.collect::<Vec<_>>();
    if names.len() == entry.args.len() {
        return;
    }
    let takes = match names.len() {
        0 => "the worker takes no argument".to_owned(),
        1 => format!("the worker takes one argument, `{}`", names[0]),
        count => format!(
            "the worker takes {count} arguments, `{}`",
            names.join("`, `")
        ),
    };
    let list = match &names[..] {
        [one] => format!("({one},)"),
        _ => format!("({})", names.join(", ")),
    };
    let found = entry.args.len();
    match value {
        Some(value) if names.is_empty() => {
            errors.push(value, format!("{takes}: remove the `args`"));
        }
        Some(value) => errors.push(
            value,
            format!("{takes}, found {found}: write `args = {list}`"),
        ),
        None if option == "every" => errors.push(
            option,
            format!("{takes}: write `cron(every = \"...\", args = {list})` with their values"),
        ),
        None => errors.push(
            option,
            format!("{takes}: add `args = {list}` with their values"),
        ),
    }
    entry.timing = Timing::Unknown;
}

/// The value of a word, which is read as the kind that the word takes.
struct Value<'a> {
    name: &'a Ident,
    takes: &'static str,
    expr: &'a Expr,
    errors: &'a mut Errors,
}

impl Value<'_> {
    fn wrong_kind<T>(self, hint: &str) -> Option<T> {
        let (name, takes, shown) = (self.name, self.takes, shown(self.expr));
        self.errors.push(
            self.expr,
            format!("`{name}` takes {takes}, found `{shown}`{hint}"),
        );
        None
    }

    fn one_of(self, known: &[(&'static str, &'static str)]) -> Option<&'static str> {
        let word = match self.expr {
            Expr::Path(path) => path.path.get_ident().map(Ident::to_string),
            expr => text(expr),
        };
        let Some(word) = word else {
            return self.wrong_kind("");
        };
        let is_text = text(self.expr).is_some();
        if let Some((_, variant)) = known.iter().find(|(name, _)| is_text && *name == word) {
            return Some(variant);
        }
        let near = nearest(&word, known.iter().map(|(name, _)| *name));
        let hint = near.map_or_else(String::new, |near| format!(": did you mean `{near:?}`?"));
        self.wrong_kind(&hint)
    }

    fn parsed(self) -> Option<(Self, Duration)> {
        match text(self.expr).map(|text| humantime::parse_duration(&text)) {
            Some(Ok(duration)) => Some((self, duration)),
            _ => self.wrong_kind(""),
        }
    }

    fn duration(self) -> Option<Duration> {
        let (value, duration) = self.parsed()?;
        if duration >= Duration::from_millis(1) {
            return Some(duration);
        }
        let message = match value.name.to_string().as_str() {
            "within" => "a `within` below 1ms would miss every tick: leave it out for an hour",
            _ => "a `splay` below 1ms has no effect: leave it out",
        };
        value.errors.push(value.expr, message);
        None
    }

    fn period(self) -> Timing {
        let Some((value, period)) = self.parsed() else {
            return Timing::Unknown;
        };
        match schedule::of_period(period) {
            Ok(()) => Timing::Every(period),
            Err(error) => {
                value.errors.push(value.expr, error);
                Timing::Unknown
            }
        }
    }

    fn entry_name(self) -> Option<String> {
        let Some(name) = text(self.expr) else {
            return self.wrong_kind("");
        };
        let wrong = if name.is_empty() {
            "is empty"
        } else if name.len() > MAX_NAME_BYTES {
            "has more than 256 bytes"
        } else if name.chars().any(char::is_control) {
            "has a control character"
        } else {
            return Some(name);
        };
        self.errors
            .push(self.expr, format!("the name of an entry {wrong}"));
        None
    }
}

#[cfg(feature = "cron")]
mod schedule {
    use std::time::Duration;

    use verk_cron::Schedule;

    pub(super) fn of_cron(expression: &str, zone: &str) -> Result<(), String> {
        let schedule = Schedule::cron(expression, zone);
        schedule.map(drop).map_err(|error| error.to_string())
    }

    pub(super) fn of_period(period: Duration) -> Result<(), String> {
        let schedule = Schedule::every(period);
        schedule.map(drop).map_err(|error| error.to_string())
    }
}

/// Nothing is checked without the feature: the option itself is an error.
#[cfg(not(feature = "cron"))]
mod schedule {
    use std::time::Duration;

    pub(super) fn of_cron(_: &str, _: &str) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn of_period(_: Duration) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn without_the_feature_each_use_is_an_error_that_names_it() {
        let mut errors = Errors::default();
        let raw = RawOption::read(quote!(cron("x", tz = 7), every = "1s"), &mut errors);
        assert_eq!(errors.len(), 0);
        assert!(entries(&raw, &[], false, &mut errors).is_empty());
        assert_eq!(errors.len(), 2);
        let messages = errors.to_compile_errors().to_string();
        assert!(
            messages.contains("the feature `cron` of `verk`"),
            "{messages}"
        );
    }
}

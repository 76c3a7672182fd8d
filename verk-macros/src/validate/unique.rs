//! The option `unique`.

#[cfg(test)]
mod tests;

use std::time::Duration;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Expr, FnArg, ext::IdentExt};

use super::{
    options::{text, ungrouped},
    shown,
};
use crate::{
    attr::{Function, RawOption},
    errors::Errors,
    model::{Param, Unique, Until},
    words::{UNIQUE, Word, nearest},
};

/// What an enqueue can do on a conflict, and the variant of `OnConflict`.
const ON_CONFLICT: [(&str, &str); 4] = [
    ("skip", "Skip"),
    ("error", "Error"),
    ("replace", "Replace"),
    ("keep_last", "KeepLast"),
];

/// The words that exclude each other, and why.
const EITHER: [(&str, &str, &str); 7] = [
    (
        "debounce",
        "throttle",
        "`debounce` runs the last job of a burst, and `throttle` the first: keep one",
    ),
    (
        "debounce",
        "until",
        "a debounced job holds its lock until it is due: remove the `until`, or the `debounce`",
    ),
    (
        "debounce",
        "on_conflict",
        "a debounced job is always replaced: remove the `on_conflict`, or the `debounce`",
    ),
    (
        "debounce",
        "hold_when_dead",
        "a debounced job holds its lock until it is due: remove the `hold_when_dead`, or the `debounce`",
    ),
    (
        "throttle",
        "until",
        "`throttle` says how long the lock lasts: remove the `until`, or the `throttle`",
    ),
    (
        "throttle",
        "on_conflict",
        "a throttled job is always skipped: remove the `on_conflict`, or the `throttle`",
    ),
    (
        "throttle",
        "hold_when_dead",
        "the time of `throttle` continues when the job dies: remove the `hold_when_dead`",
    ),
];

/// The option, if the source has it. A word with an error is left out.
pub(super) fn unique(
    raw: &[RawOption],
    function: &Function,
    params: &[Param],
    errors: &mut Errors,
) -> Option<Unique> {
    // `options` reports others.
    let option = raw.iter().find(|option| option.name == "unique")?;
    if option.value.is_some() {
        return None;
    }
    let words = UNIQUE.read(option.words.clone().unwrap_or_default(), errors);
    let mut unique = Unique::default();
    for Word { name, value } in &words {
        let Some(value) = value else {
            unique.across_queues = true;
            continue;
        };
        let value = Value {
            name,
            expr: ungrouped(value),
            errors,
        };
        match name.to_string().as_str() {
            "by" => unique.by = value.by(function, params),
            "until" => unique.until = value.until(),
            "on_conflict" => unique.on_conflict = value.on_conflict(),
            "debounce" => unique.debounce = value.duration(),
            "max_wait" => unique.max_wait = value.duration(),
            "throttle" => unique.throttle = value.duration(),
            "hold_when_dead" => unique.hold_when_dead = value.duration(),
            _ => {}
        }
    }
    together(&unique, &words, errors);
    Some(unique)
}

/// Checks that the words fit together.
fn together(unique: &Unique, words: &[Word], errors: &mut Errors) {
    let find = |name: &str| words.iter().find(|word| word.name == name);
    for (one, other, why) in EITHER {
        if find(one).is_some()
            && let Some(other) = find(other)
        {
            errors.push(&other.name, why);
        }
    }
    if let Some(max_wait) = find("max_wait") {
        if find("debounce").is_none() {
            errors.push(
                &max_wait.name,
                "`max_wait` bounds a `debounce`: add one, or remove this",
            );
        } else if let (Some(most), Some(wait)) = (unique.max_wait, unique.debounce)
            && most < wait
        {
            errors.push(
                &max_wait.value,
                "`max_wait` is shorter than `debounce`, so no job would wait that long: make it longer",
            );
        }
    }
    if let Some(Until::Time(_) | Until::DoneOr(_)) = unique.until
        && unique.on_conflict == Some("KeepLast")
        && let Some(on_conflict) = find("on_conflict")
    {
        errors.push(
            &on_conflict.value,
            "no job waits for a lock that ends after a time: use another `until`, or `\"replace\"`",
        );
    }
    if let Some(Until::Start | Until::Time(_)) = unique.until
        && find("throttle").or(find("debounce")).is_none()
        && let Some(hold) = find("hold_when_dead")
    {
        let why = if unique.until == Some(Until::Start) {
            "a job that dies has started, and holds no lock"
        } else {
            "the time of `until` continues when the job dies"
        };
        errors.push(
            &hold.name,
            format!("{why}: remove the `hold_when_dead`, or the `until`"),
        );
    }
}

/// The value of a word, which is read as the kind that the word takes.
struct Value<'a> {
    name: &'a Ident,
    expr: &'a Expr,
    errors: &'a mut Errors,
}

impl Value<'_> {
    fn wrong_kind<T>(self) -> Option<T> {
        let (name, expr) = (self.name, self.expr);
        self.errors.push(
            expr,
            format!(
                "`{name}` takes {}, found `{}`",
                UNIQUE.takes(name),
                shown(expr)
            ),
        );
        None
    }

    /// `known` has each word, as `takes` lists it.
    fn unknown<T>(self, word: &str, known: &[(&'static str, &str)]) -> Option<T> {
        let near = match word {
            // Words of Sidekiq and of sidekiq-unique-jobs.
            "success" | "executed" => Some("done"),
            "executing" => Some("start"),
            "raise" => Some("error"),
            "log" | "reject" => Some("skip"),
            _ => nearest(word, known.iter().map(|(known, _)| *known)),
        };
        let near = near.and_then(|near| known.iter().find(|(known, _)| *known == near));
        let Some((_, near)) = near else {
            return self.wrong_kind();
        };
        let (name, expr) = (self.name, self.expr);
        self.errors.push(
            expr,
            format!(
                "`{name}` takes {}, found `{}`: did you mean `{near}`?",
                UNIQUE.takes(name),
                shown(expr)
            ),
        );
        None
    }

    fn duration(self) -> Option<Duration> {
        match text(self.expr).map(|text| humantime::parse_duration(&text)) {
            Some(Ok(duration)) => self.long_enough(duration),
            _ => self.wrong_kind(),
        }
    }

    fn long_enough(self, duration: Duration) -> Option<Duration> {
        if duration >= Duration::from_millis(1) {
            return Some(duration);
        }
        self.errors.push(
            self.expr,
            format!("a `{}` below 1ms has no effect: leave it out", self.name),
        );
        None
    }

    fn until(self) -> Option<Until> {
        if let Expr::Call(call) = self.expr
            && let Expr::Path(function) = ungrouped(&call.func)
            && function.path.is_ident("done_or")
            && let Some(Ok(duration)) = call
                .args
                .first()
                .filter(|_| call.args.len() == 1)
                .and_then(text)
                .map(|text| humantime::parse_duration(&text))
        {
            return self.long_enough(duration).map(Until::DoneOr);
        }
        if let Some(text) = text(self.expr) {
            match (text.as_str(), humantime::parse_duration(&text)) {
                ("start", _) => return Some(Until::Start),
                ("done", _) => return Some(Until::Done),
                (_, Ok(duration)) => return self.long_enough(duration).map(Until::Time),
                (_, Err(_)) => {}
            }
        }
        let known = [
            ("start", r#""start""#),
            ("done", r#""done""#),
            ("done_or", r#"done_or("24h")"#),
        ];
        match word(self.expr) {
            Some(word) => self.unknown(&word, &known),
            None => self.wrong_kind(),
        }
    }

    fn on_conflict(self) -> Option<&'static str> {
        let known =
            text(self.expr).and_then(|text| ON_CONFLICT.iter().find(|(known, _)| *known == text));
        if let Some((_, variant)) = known {
            return Some(variant);
        }
        let known = ON_CONFLICT.map(|(known, _)| (known, format!("{known:?}")));
        let known: Vec<_> = known
            .iter()
            .map(|(word, shown)| (*word, &**shown))
            .collect();
        match word(self.expr) {
            Some(word) => self.unknown(&word, &known),
            None => self.wrong_kind(),
        }
    }

    /// The places of the parameters that it names.
    fn by(mut self, function: &Function, params: &[Param]) -> Option<Vec<usize>> {
        let names: Vec<&Expr> = match self.expr {
            Expr::Tuple(tuple) => tuple.elems.iter().map(ungrouped).collect(),
            Expr::Paren(paren) => vec![ungrouped(&paren.expr)],
            expr => vec![expr],
        };
        let before = self.errors.len();
        let mut places = Vec::new();
        for expr in names {
            let name = match expr {
                Expr::Path(path) => path.path.get_ident().filter(|_| path.qself.is_none()),
                _ => None,
            };
            let Some(name) = name else {
                self.no_name(expr);
                continue;
            };
            match self.place(name, function, params) {
                Some(place) if places.contains(&place) => {
                    let message = format!("`{}` is given twice", name.unraw());
                    self.errors.push(name, message);
                }
                Some(place) => places.push(place),
                None => {}
            }
        }
        (self.errors.len() == before).then_some(places)
    }

    fn no_name(&mut self, expr: &Expr) {
        let quoted = text(expr).filter(|name| syn::parse_str::<Ident>(name).is_ok());
        let message = match quoted {
            Some(name) => format!("`by` takes parameters without quotes: write `{name}`"),
            None => format!(
                "`by` takes {}, found `{}`",
                UNIQUE.takes(self.name),
                shown(expr)
            ),
        };
        self.errors.push(expr, message);
    }

    /// The place of the argument with this name.
    fn place(&mut self, name: &Ident, function: &Function, params: &[Param]) -> Option<usize> {
        let args = || params.iter().filter_map(Param::arg);
        if let Some(place) = args().position(|arg| arg.ident.unraw() == name.unraw()) {
            return Some(place);
        }
        // A parameter with an error may be the one.
        if params.iter().any(|param| matches!(param, Param::Broken(_))) {
            return None;
        }
        let text = name.unraw().to_string();
        let inputs = function.sig.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(typed) => Some(typed),
            FnArg::Receiver(_) => None,
        });
        let extractor = inputs.zip(params).any(|(input, param)| {
            matches!(param, Param::Extractor(_)) && names(input.pat.to_token_stream(), name)
        });
        let names: Vec<String> = args().map(|arg| arg.name()).collect();
        let message = if extractor {
            format!(
                "`{text}` is an extractor, which is made for each run: `by` takes arguments of the job"
            )
        } else if names.is_empty() {
            format!("no parameter `{text}`: the job has no arguments, so leave the `by` out")
        } else {
            let near = nearest(&text, names.iter().map(String::as_str))
                .map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
            format!(
                "no parameter `{text}`{near}; the arguments are: `{}`",
                names.join("`, `")
            )
        };
        self.errors.push(name, message);
        None
    }
}

/// The word that the source has, with quotes or without.
fn word(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Path(path) => Some(shown(path)),
        Expr::Call(call) => Some(shown(&call.func)),
        expr => text(expr),
    }
}

/// Whether a pattern has the name.
fn names(pattern: TokenStream, name: &Ident) -> bool {
    pattern.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident.unraw() == name.unraw(),
        TokenTree::Group(group) => names(group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;

use crate::{
    model::{Unique, Until},
    validate::tests::read,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// The option of a worker with the arguments `a`, `b` and `r#type` at the places 0, 1 and 2.
fn unique(words: TokenStream) -> (Unique, Vec<String>) {
    let (worker, errors) = read(
        quote!(unique(#words)),
        quote!(
            async fn f(a: u8, State(s): State<u8>, b: u8, #[extract] now: Now, r#type: u8) {}
        ),
    );
    assert!(worker.runs);
    (worker.options.unique.unwrap(), errors)
}

fn accepted(words: TokenStream) -> Unique {
    let (unique, errors) = unique(words);
    assert_eq!(errors, [""; 0]);
    unique
}

/// The only error, and what is left of the option.
fn mistake(words: TokenStream) -> (Unique, String) {
    let text = words.to_string();
    let (unique, mut errors) = unique(words);
    assert_eq!(errors.len(), 1, "{text}: {errors:#?}");
    (unique, errors.remove(0))
}

#[test]
fn alone_it_sets_nothing() {
    for option in [quote!(unique), quote!(unique())] {
        let (worker, errors) = read(
            option,
            quote!(
                async fn f(a: u8) {}
            ),
        );
        assert_eq!(
            (worker.options.unique, errors.len()),
            (Some(Unique::default()), 0)
        );
    }
}

#[test]
fn by_takes_names_of_arguments() {
    let by = |words| accepted(words).by;
    assert_eq!(by(quote!(across_queues)), None);
    assert_eq!(by(quote!(by = ())), Some(vec![]));
    assert_eq!(by(quote!(by = b)), Some(vec![1]));
    assert_eq!(by(quote!(by = (b))), Some(vec![1]));
    assert_eq!(by(quote!(by = (b,))), Some(vec![1]));
    assert_eq!(by(quote!(by = (r#type, a))), Some(vec![2, 0]));
}

#[test]
fn by_takes_nothing_else() {
    for (words, message) in [
        (
            quote!(by = c),
            "no parameter `c`; the arguments are: `a`, `b`, `type`",
        ),
        (
            quote!(by = (a, typ)),
            "no parameter `typ` (did you mean `type`?); the arguments",
        ),
        (quote!(by = s), "`s` is an extractor"),
        (quote!(by = (a, now)), "`now` is an extractor"),
        (quote!(by = (a, b, a)), "`a` is given twice"),
        (quote!(by = "b"), "without quotes: write `b`"),
        (quote!(by = (a, "b")), "without quotes: write `b`"),
        (quote!(by = 0), "`by` takes a parameter, several"),
        (quote!(by = "a b"), "`by` takes a parameter, several"),
        (quote!(by = [a, b]), "`by` takes a parameter, several"),
        (quote!(by = a.id), "`by` takes a parameter, several"),
        (quote!(by = self::a), "`by` takes a parameter, several"),
        (quote!(by), "`by` needs a value"),
        (quote!(by =), "`by` needs a value"),
        (quote!(by(a)), "`by` needs a value"),
    ] {
        let (unique, error) = mistake(words);
        assert!(error.contains(message), "{error}");
        assert_eq!(unique.by, None);
    }
    let (_, errors) = read(
        quote!(unique(by = a)),
        quote!(
            async fn f(s: JobContext) {}
        ),
    );
    assert_eq!(
        errors,
        ["no parameter `a`: the job has no arguments, so leave the `by` out"]
    );
}

#[test]
fn a_parameter_with_an_error_is_one_error() {
    let (_, errors) = read(
        quote!(unique(by = a)),
        quote!(
            async fn f(a: &str) {}
        ),
    );
    assert_eq!(errors.len(), 1, "{errors:?}");
    let (_, errors) = read(
        quote!(unique(by = a)),
        quote!(
            async fn f((a, b): (u8, u8)) {}
        ),
    );
    assert_eq!(errors.len(), 1, "{errors:?}");
}

#[test]
fn until_takes_a_word_or_a_time() {
    let until = |words| accepted(words).until;
    assert_eq!(until(quote!(by = a)), None);
    assert_eq!(until(quote!(until = "start")), Some(Until::Start));
    assert_eq!(until(quote!(until = "done")), Some(Until::Done));
    assert_eq!(until(quote!(until = "1h")), Some(Until::Time(HOUR)));
    assert_eq!(
        until(quote!(until = done_or("1h"))),
        Some(Until::DoneOr(HOUR))
    );
    for (words, message) in [
        (quote!(until = "strat"), r#"did you mean `"start"`?"#),
        (quote!(until = done), r#"did you mean `"done"`?"#),
        (quote!(until = "success"), r#"did you mean `"done"`?"#),
        (quote!(until = executing), r#"did you mean `"start"`?"#),
        (quote!(until = done_or), r#"did you mean `done_or("24h")`?"#),
        (
            quote!(until = "done_or(1h)"),
            r#"did you mean `done_or("24h")`?"#,
        ),
        (
            quote!(until = don_or("1h")),
            r#"did you mean `done_or("24h")`?"#,
        ),
        (quote!(until = done_or("day")), r#"found `done_or ("day")`"#),
        (quote!(until = done_or("1h", "2h")), "`until` takes"),
        (quote!(until = done_or("0s")), "below 1ms"),
        (quote!(until = "0s"), "below 1ms"),
        (quote!(until = "soon"), "`until` takes"),
        (quote!(until = 60), "`until` takes"),
    ] {
        let (unique, error) = mistake(words);
        assert!(error.contains(message), "{error}");
        assert_eq!(unique.until, None);
    }
}

#[test]
fn on_conflict_takes_a_word() {
    for (word, variant) in [
        ("skip", "Skip"),
        ("error", "Error"),
        ("replace", "Replace"),
        ("keep_last", "KeepLast"),
    ] {
        assert_eq!(
            accepted(quote!(on_conflict = #word)).on_conflict,
            Some(variant)
        );
    }
    for (words, message) in [
        (
            quote!(on_conflict = "keep-last"),
            r#"did you mean `"keep_last"`?"#,
        ),
        (quote!(on_conflict = skip), r#"did you mean `"skip"`?"#),
        (quote!(on_conflict = "raise"), r#"did you mean `"error"`?"#),
        (quote!(on_conflict = "reject"), r#"did you mean `"skip"`?"#),
        (
            quote!(on_conflict = "Wibble"),
            r#""skip", "error", "replace" or "keep_last", found `"Wibble"`"#,
        ),
        (quote!(on_conflict = true), "found `true`"),
    ] {
        let (unique, error) = mistake(words);
        assert!(error.contains(message), "{error}");
        assert_eq!(unique.on_conflict, None);
    }
}

#[test]
fn times_are_durations() {
    let unique = accepted(quote!(debounce = "1s", max_wait = "1h"));
    assert_eq!(
        (unique.debounce, unique.max_wait),
        (Some(SECOND), Some(HOUR))
    );
    assert_eq!(
        accepted(quote!(debounce = "1s", max_wait = "1s")).max_wait,
        Some(SECOND)
    );
    assert_eq!(accepted(quote!(throttle = "1s")).throttle, Some(SECOND));
    assert_eq!(
        accepted(quote!(hold_when_dead = "1s")).hold_when_dead,
        Some(SECOND)
    );
    for (words, message) in [
        (
            quote!(debounce = 5),
            "`debounce` takes a duration in quotes, such as",
        ),
        (
            quote!(throttle = "5"),
            "`throttle` takes a duration in quotes, such as",
        ),
        (
            quote!(hold_when_dead = true),
            "`hold_when_dead` takes a duration",
        ),
        (
            quote!(debounce = "0s", max_wait = "1s"),
            "a `debounce` below 1ms",
        ),
        (
            quote!(debounce = "1s", max_wait = "5us"),
            "a `max_wait` below 1ms",
        ),
        (quote!(debounce), "`debounce` needs a value"),
    ] {
        let (_, error) = mistake(words);
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn words_that_exclude_each_other() {
    for (words, message) in [
        (quote!(throttle = "1s", debounce = "1s"), "keep one"),
        (quote!(max_wait = "1s"), "add one"),
        (
            quote!(until = "1h", on_conflict = "keep_last"),
            "no job waits for a lock that ends after a time",
        ),
        (
            quote!(until = done_or("1h"), on_conflict = "keep_last"),
            "no job waits for a lock that ends after a time",
        ),
        (quote!(max_wait = "1s", throttle = "1s"), "add one"),
        (
            quote!(max_wait = "1s", debounce = "2s"),
            "is shorter than `debounce`",
        ),
        (
            quote!(debounce = "1s", until = "done"),
            "remove the `until`, or the `debounce`",
        ),
        (
            quote!(on_conflict = "skip", debounce = "1s"),
            "always replaced",
        ),
        (
            quote!(debounce = "1s", hold_when_dead = "1d"),
            "until it is due",
        ),
        (
            quote!(throttle = "1s", until = "start"),
            "remove the `until`, or the `throttle`",
        ),
        (
            quote!(throttle = "1s", on_conflict = "replace"),
            "always skipped",
        ),
        (
            quote!(throttle = "1s", hold_when_dead = "1d"),
            "remove the `hold_when_dead`",
        ),
        (
            quote!(hold_when_dead = "1d", until = "1h"),
            "continues when the job dies",
        ),
        (
            quote!(hold_when_dead = "1d", until = "start"),
            "holds no lock",
        ),
        (quote!(across_queues = true), "takes no value"),
        (
            quote!(across_queues, by = a, across_queues),
            "`across_queues` is given twice",
        ),
    ] {
        let (_, error) = mistake(words);
        assert!(error.contains(message), "{error}");
    }
    accepted(quote!(hold_when_dead = "1d", until = "done"));
    accepted(quote!(
        hold_when_dead = "1d",
        until = done_or("1d"),
        across_queues
    ));
}

#[test]
fn unknown_words_name_the_nearest() {
    for (words, message) in [
        (
            quote!(key = a),
            "unknown option `key` of `unique`; accepted: `by`, `until`",
        ),
        (
            quote!(on_conflicts = "skip"),
            "(did you mean `on_conflict`?)",
        ),
        (quote!(queues), "unknown option `queues` of `unique`"),
        (
            quote!("a"),
            "expected an option of `unique`, found `\"a\"`; accepted: `by`",
        ),
        (
            quote!(by = a until = "done"),
            "expected `,` between two options, found `until`",
        ),
    ] {
        let (_, error) = mistake(words);
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn it_takes_no_value_and_comes_once() {
    let errors = |options| {
        read(
            options,
            quote!(
                async fn f(a: u8) {}
            ),
        )
        .1
        .join("; ")
    };
    for (options, message) in [
        (
            quote!(unique = true),
            "write `unique` or `unique(by = ...)`, found `true`",
        ),
        (quote!(unique = "1h"), "found `\"1h\"`"),
        (
            quote!(unique =),
            "`unique` takes nothing, or options in parentheses",
        ),
        (quote!(unique, unique(by = a)), "`unique` is given twice"),
        (
            quote!(unique_for = "1h"),
            "write `unique`, which needs no time",
        ),
        (
            quote!(unique_until = start),
            "write `unique(until = \"start\")`",
        ),
        (quote!(debounce = "1h"), "write `unique(debounce = ...)`"),
        (quote!(across_queues), "write `unique(across_queues)`"),
        (quote!(uniq), "did you mean `unique`?"),
    ] {
        let error = errors(options);
        assert!(error.contains(message), "{error}");
        assert!(!error.contains("; `"), "{error}");
    }
}

//! Tests the macro with arbitrary input.

use proc_macro2::TokenStream;
use syn::{File, ItemFn};
use verk_testing::fuzz::{fuzz, lines};

const WORDS: &[&str] = &[
    "=>",
    "async fn a() {}",
    "async",
    "fn",
    "struct",
    "(",
    ")",
    "{",
    "}",
    "<",
    ">",
    ",",
    "=",
    ":",
    "::",
    ";",
    "&",
    "'a",
    "#[arg]",
    "#[arg(default)]",
    "#[args]",
    "#[extract]",
    "#[cfg(x)]",
    "self",
    "mut",
    "impl",
    "dyn",
    "..",
    "->",
    "\"\"",
    "\"5s\"",
    "-1",
    "queue",
    "max_retry_count",
    "class",
    "retry_at",
    "retry_in",
    "timeout",
    "dead",
    "tags",
    "backtrace",
    "error_class",
    "crate",
    "unique",
    "unique(by = x, until = done_or(\"1h\"))",
    "by",
    "until",
    "on_conflict",
    "debounce",
    "max_wait",
    "throttle",
    "hold_when_dead",
    "across_queues",
    "done_or",
    "\"skip\"",
    "name",
    "State(s): State<u8>",
    "JobContext",
    "r#type",
    "String",
    "Option<u8>",
];

/// The result of `worker` for `ARGS => ITEM`: code that parses, or errors.
#[test]
fn any_use_is_a_worker_or_a_mistake() {
    fuzz(
        lines(include_str!("../tests/corpus/worker.txt")),
        WORDS,
        |input| {
            let Ok(text) = std::str::from_utf8(input) else {
                return;
            };
            let (args, item) = text.split_once("=>").unwrap_or((text, "async fn a() {}"));
            let (Ok(args), Ok(item)) = (args.parse::<TokenStream>(), item.parse::<TokenStream>())
            else {
                return;
            };
            // rustc has parsed the item before the macro gets it.
            let is_function = syn::parse2::<ItemFn>(item.clone()).is_ok();
            let expansion = crate::expand::worker(args, item);
            let text = expansion.to_string();
            if is_function && !text.contains("compile_error") {
                assert!(syn::parse2::<File>(expansion).is_ok(), "{text}");
            }
        },
    );
}

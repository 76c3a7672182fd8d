//! Tests every rule, without rustc.

use std::time::Duration;

use proc_macro2::Ident;
use quote::quote;

use super::*;
use crate::{attr::unknown_option, model::Arg};

pub(super) fn read(args: TokenStream, function: TokenStream) -> (Worker, Vec<String>) {
    let mut errors = Errors::default();
    let options = RawOption::read(args, &mut errors);
    let function = syn::parse2(function).unwrap();
    let worker = worker(&options, function, &mut errors);
    (worker, errors.messages())
}

fn mistakes(args: TokenStream, function: TokenStream) -> Vec<String> {
    read(args, function).1
}

fn job_of(function: TokenStream) -> Worker {
    let (worker, errors) = read(quote!(), function);
    assert_eq!(errors, [""; 0]);
    worker
}

fn timeout(text: &str) -> Option<Duration> {
    let (worker, errors) = read(
        quote!(timeout = #text),
        quote!(
            async fn f() {}
        ),
    );
    assert_eq!(worker.options.timeout.is_none(), errors.len() == 1);
    worker.options.timeout
}

#[test]
fn durations_are_a_sum_of_numbers_with_units() {
    assert_eq!(timeout("500ms"), Some(Duration::from_millis(500)));
    assert_eq!(timeout("30s"), Some(Duration::from_secs(30)));
    assert_eq!(timeout("5m"), Some(Duration::from_secs(300)));
    assert_eq!(timeout("1h30m"), Some(Duration::from_secs(5400)));
    assert_eq!(timeout("2 days"), Some(Duration::from_secs(172_800)));
    for wrong in [
        "",
        "30",
        "s",
        "-5s",
        "five minutes",
        "0s",
        "999999999999999999y",
    ] {
        assert_eq!(timeout(wrong), None, "{wrong}");
    }
}

#[test]
fn names_have_1_to_256_bytes_and_no_control_characters() {
    let queue = |name: String| {
        read(
            quote!(queue = #name),
            quote!(
                async fn f() {}
            ),
        )
        .0
        .options
        .queue
    };
    for name in [
        "q".to_owned(),
        "with spaces: ünïcode".to_owned(),
        "q".repeat(256),
    ] {
        assert_eq!(queue(name.clone()), Some(name));
    }
    for name in [
        String::new(),
        "a\nb".to_owned(),
        "\u{7f}".to_owned(),
        "q".repeat(257),
        "ü".repeat(129),
    ] {
        assert_eq!(queue(name.clone()), None, "{name:?}");
    }
}

#[test]
fn counts_are_u32() {
    let count = |count: TokenStream| {
        read(
            quote!(max_retry_count = #count),
            quote!(
                async fn f() {}
            ),
        )
        .0
        .options
        .max_retry_count
    };
    assert_eq!(count(quote!(0)), Some(0));
    assert_eq!(count(quote!(4_294_967_295u32)), Some(u32::MAX));
    assert_eq!(count(quote!(4294967296)), None);
    assert_eq!(count(quote!(-1)), None);
    assert_eq!(count(quote!(1.0)), None);
}

#[test]
fn the_struct_is_named_after_the_function() {
    let name = |function: &str| {
        let function: Ident = syn::parse_str(function).unwrap();
        job_of(quote!(async fn #function() {})).job.to_string()
    };
    assert_eq!(name("send_welcome"), "SendWelcome");
    assert_eq!(name("r#type"), "Type");
    assert_eq!(name("send_2fa_code"), "Send2faCode");
    assert_eq!(name("mail2"), "Mail2");
    assert_eq!(name("_sweep"), "Sweep");
    assert_eq!(name("grüße"), "Grüße");
}

#[test]
fn names_that_no_struct_can_have_are_mistakes() {
    for function in [quote!(_2fa), quote!(self_), quote!(__)] {
        assert_eq!(
            mistakes(quote!(), quote!(async fn #function() {})).len(),
            1,
            "{function}"
        );
    }
}

#[test]
fn state_and_context_are_extractors_and_attributes_say_otherwise() {
    let worker = job_of(quote! {
        async fn f(
            a: State<Pool>,
            b: verk::State<Pool>,
            c: JobContext,
            d: Stateful,
            e: Vec<State<Pool>>,
            #[arg] g: State<Pool>,
            #[extract] h: Pool,
        ) {}
    });
    let args: Vec<String> = worker.args().map(Arg::name).collect();
    assert_eq!(args, ["d", "e", "g"]);
    assert_eq!(worker.params.len(), 7);
}

#[test]
fn what_is_borrowed_is_a_mistake_but_not_for_ever() {
    let of = |ty: TokenStream| mistakes(quote!(), quote!(async fn f(#[extract] a: #ty) {}));
    for ty in [
        quote!(&'static str),
        quote!(Vec<&'static [u8]>),
        quote!(Cow<'static, str>),
    ] {
        assert_eq!(of(ty), [""; 0]);
    }
    assert_eq!(
        of(quote!(&Vec<u8>)),
        ["a worker owns its parameters: take `Vec<u8>`"]
    );
    assert_eq!(
        of(quote!(&mut [a::B])),
        ["a worker owns its parameters: take `Vec<a::B>`"]
    );
    assert_eq!(
        of(quote!(&dyn Send)),
        ["a worker owns its parameters: take the value"]
    );
    for ty in [
        quote!((u8, &str)),
        quote!(Vec<[&str; 2]>),
        quote!(Cow<'_, str>),
        quote!(Cow<'a, str>),
        quote!(A<&'a str>),
    ] {
        assert_eq!(of(ty.clone()).len(), 1, "{ty}");
    }
    let arg = mistakes(
        quote!(),
        quote!(
            async fn f(a: &'static str) {}
        ),
    );
    assert_eq!(arg, ["a worker owns its parameters: take `String`"]);
}

#[test]
fn only_strings_are_converted() {
    let worker = job_of(quote! {
        async fn f(a: String, b: std::string::String, c: ::alloc::string::String, d: my::String, e: String<u8>, g: Option<String>) {}
    });
    let strings: Vec<bool> = worker.args().map(Arg::is_string).collect();
    assert_eq!(strings, [true, true, true, false, false, false]);
}

#[test]
fn a_wrong_option_leaves_a_worker_that_runs() {
    let (worker, errors) = read(
        quote!(
            queue = "low",
            queue = "high",
            dead = 1,
            "x",
            class,
            wibble = 5,
            max_retry_count = 3
        ),
        quote!(
            async fn f() {}
        ),
    );
    assert_eq!(errors.len(), 5);
    assert!(worker.runs);
    assert_eq!(worker.queue(), "low");
    assert_eq!(worker.options.max_retry_count, Some(3));
}

#[test]
fn a_generic_path_is_one_value() {
    let (worker, errors) = read(
        quote!(retry_in = after::<A, B>, dead = false),
        quote!(
            async fn f() {}
        ),
    );
    assert_eq!(errors, [""; 0]);
    assert!(worker.options.retry_in.is_some());
    assert_eq!(worker.options.dead, Some(false));
}

#[test]
fn every_mistake_is_reported() {
    let errors = mistakes(
        quote!(queu = "low", timeout = "soon"),
        quote! {
            unsafe extern "C" fn f<T>(&self, a: &str, (b, c): (u8, u8), d: impl Send, #[arg] #[extract(5)] e: u8) -> impl Send
            where
                T: Send,
            {}
        },
    );
    assert_eq!(errors.len(), 14, "{errors:#?}");
}

#[test]
fn a_misspelt_option_names_the_nearest() {
    for (wrong, near) in [
        ("queues", "queue"),
        ("max_retry", "max_retry_count"),
        ("retryin", "retry_in"),
        ("time_out", "timeout"),
        ("klass", "class"),
        ("tag", "tags"),
    ] {
        let message = unknown_option(wrong, None);
        assert!(
            message.contains(&format!("did you mean `{near}`?")),
            "{message}"
        );
    }
    assert!(!unknown_option("wibble", None).contains("did you mean"));
}

#[test]
fn options_of_other_systems_name_what_says_the_same() {
    let message = |args: TokenStream| {
        mistakes(
            args,
            quote!(
                async fn f() {}
            ),
        )
        .join("; ")
    };
    for (written, instead) in [
        (quote!(retries = 3), "write `max_retry_count = 3`"),
        (quote!(max_retries = LIMIT), "write `max_retry_count = 5`"),
        (quote!(retry = 7), "write `max_retry_count = 7`"),
        (
            quote!(retry = false),
            "write `max_retry_count = 0, dead = false`",
        ),
        (quote!(retry = true), "leave it out"),
        (quote!(retries), "write `max_retry_count = 5`"),
        (
            quote!(max_attempts = 3),
            "counts the runs after the first one",
        ),
        (quote!(backoff = "5s"), "write `retry_in`"),
    ] {
        let message = message(written);
        assert!(message.contains(instead), "{message}");
        assert!(!message.contains("accepted"), "{message}");
    }
}

#[test]
fn a_struct_hides_no_name_of_a_prelude() {
    let job = |args: TokenStream, function: TokenStream| {
        let (worker, errors) = read(args, function);
        (worker.job.to_string(), errors)
    };
    for (function, struct_, prelude) in [
        ("send", "Send", "Rust's prelude"),
        ("option", "Option", "Rust's prelude"),
        ("to_string", "ToString", "Rust's prelude"),
        ("state", "State", "`verk::prelude`"),
        ("job_context", "JobContext", "`verk::prelude`"),
    ] {
        let function: TokenStream = format!("async fn {function}() {{}}").parse().unwrap();
        let (job_name, errors) = job(quote!(), function.clone());
        assert_eq!(job_name, format!("{struct_}Job"));
        let [error] = &errors[..] else {
            panic!("{errors:?}");
        };
        let hides = format!("`{struct_}` would hide the `{struct_}` of {prelude}");
        assert!(error.contains(&hides), "{error}");
        assert!(
            error.contains(&format!("`name = \"{struct_}Job\"`")),
            "{error}"
        );

        let named = job(quote!(name = "SendMail"), function.clone());
        assert_eq!(named, ("SendMail".to_owned(), vec![]));
        // One error, one message.
        let (_, errors) = job(quote!(name = "Vec"), function);
        assert_eq!(errors.len(), 1, "{errors:?}");
    }
    assert_eq!(
        job(
            quote!(),
            quote!(
                async fn sending() {}
            )
        )
        .0,
        "Sending"
    );
}

#[test]
fn the_name_of_a_struct_is_one_identifier() {
    for wrong in ["", "2fa", "mail::Send", "struct", "Send<T>", "Self"] {
        let errors = mistakes(
            quote!(name = #wrong),
            quote!(
                async fn send() {}
            ),
        );
        let [error] = &errors[..] else {
            panic!("{wrong}: {errors:?}");
        };
        assert!(
            error.starts_with("`name` takes a name for the job struct"),
            "{error}"
        );
    }
    let (worker, errors) = read(
        quote!(name = "SendMail"),
        quote!(
            async fn _2fa() {}
        ),
    );
    assert_eq!((worker.class(), errors.len()), ("SendMail".to_owned(), 0));
}

#[test]
fn what_stands_behind_a_default_may_be_absent_too() {
    let errors = |params: TokenStream| mistakes(quote!(), quote!(async fn f(#params) {})).len();
    assert_eq!(errors(quote!(a: u8, #[arg(default)] b: u8)), 0);
    assert_eq!(
        errors(
            quote!(#[arg(default)] a: u8, b: std::option::Option<u8>, #[arg(default = c::d)] e: u8)
        ),
        0
    );
    assert_eq!(
        errors(quote!(#[arg(default)] a: u8, ctx: JobContext, #[extract] b: B)),
        0
    );
    assert_eq!(
        errors(quote!(#[arg(default)] a: u8, b: u8, c: Option<u8>, d: u8)),
        2
    );
    assert_eq!(
        errors(
            quote!(#[arg(default = 1)] a: u8, #[arg()] b: u8, #[arg(other)] c: u8, #[arg = "d"] d: u8)
        ),
        4
    );
    assert_eq!(
        errors(quote!(#[arg(default, 1)] a: u8, #[arg(default =)] b: u8)),
        2
    );
}

#[test]
fn an_object_is_all_the_arguments() {
    let errors = |params: TokenStream| mistakes(quote!(), quote!(async fn f(#params) {})).len();
    assert_eq!(errors(quote!(State(a): State<A>, #[args] b: B)), 0);
    assert_eq!(errors(quote!(#[args] state: State)), 0);
    assert_eq!(
        errors(quote!(a: u8, #[args] b: B, #[arg(default)] c: u8, #[args] d: D)),
        3
    );
    assert_eq!(errors(quote!(#[args(default)] a: A)), 1);
    assert_eq!(errors(quote!(#[args] #[arg] a: A)), 1);
}

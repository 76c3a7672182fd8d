//! The name of the job struct.

use heck::ToUpperCamelCase;
use proc_macro2::Ident;
use syn::ext::IdentExt;

use crate::errors::Errors;

/// The names of Rust's prelude. A struct in the same module hides such a name, and the messages
/// that follow from that do not mention the struct.
const RUST: [&str; 45] = [
    "AsMut",
    "AsRef",
    "AsyncFn",
    "AsyncFnMut",
    "AsyncFnOnce",
    "Box",
    "Clone",
    "Copy",
    "Debug",
    "Default",
    "DoubleEndedIterator",
    "Drop",
    "Eq",
    "Err",
    "ExactSizeIterator",
    "Extend",
    "Fn",
    "FnMut",
    "FnOnce",
    "From",
    "FromIterator",
    "Future",
    "Hash",
    "Into",
    "IntoFuture",
    "IntoIterator",
    "Iterator",
    "None",
    "Ok",
    "Option",
    "Ord",
    "PartialEq",
    "PartialOrd",
    "Result",
    "Send",
    "Sized",
    "Some",
    "String",
    "Sync",
    "ToOwned",
    "ToString",
    "TryFrom",
    "TryInto",
    "Unpin",
    "Vec",
];

/// The names of `verk::prelude`.
const VERK: [&str; 9] = [
    "Config",
    "EnqueueExt",
    "FromJob",
    "JobContext",
    "Outcome",
    "RedisBuilderExt",
    "RetryIn",
    "State",
    "Verk",
];

/// The prelude with a name that this struct would hide.
pub(super) fn hidden_by(name: &Ident) -> Option<&'static str> {
    if RUST.iter().any(|known| name == known) {
        Some("Rust's prelude")
    } else if VERK.iter().any(|known| name == known) {
        Some("`verk::prelude`")
    } else {
        None
    }
}

/// The name that follows from the function's. `named`: there is an option `name` with a wrong
/// value, which is already reported.
pub(super) fn job_name(function: &Ident, named: bool, errors: &mut Errors) -> Ident {
    let name = function.unraw().to_string().to_upper_camel_case();
    let instead = Ident::new("Job", function.span());
    let Ok(job) = syn::parse_str::<Ident>(&name) else {
        if !named {
            errors.push(
                function,
                format!("the job struct is named after the function, and `{name}` is no name for a struct: rename the function, or add `name = \"...\"`"),
            );
        }
        return instead;
    };
    let job = Ident::new(&job.to_string(), function.span());
    let Some(prelude) = hidden_by(&job) else {
        return job;
    };
    if !named {
        errors.push(
            function,
            format!("the job struct `{name}` would hide the `{name}` of {prelude}: add `name = \"{name}Job\"`, or rename the function"),
        );
    }
    // Another name than the derived one, which would cause messages about the hidden name.
    Ident::new(&format!("{name}Job"), function.span())
}

//! The attribute `#[verk::worker]`.
//!
//! Users depend on the crate `verk`, which re-exports this one with its documentation. `attr` reads
//! the tokens of a use, and `validate` turns them into the `model` and collects every error. Then
//! `expand` writes the code or, if there are errors, `fallback` writes as much of it as possible.

#[cfg(test)]
mod any_tokens;
mod attr;
mod errors;
mod expand;
mod fallback;
#[cfg(test)]
mod golden;
mod model;
mod serde;
mod tokens;
mod validate;
mod words;

use proc_macro::TokenStream;

#[allow(missing_docs, reason = "documented where `verk` re-exports it")]
#[proc_macro_attribute]
pub fn worker(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::worker(args.into(), item.into()).into()
}

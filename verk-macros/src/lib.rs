//! The attribute `#[verk::worker]`.
//!
//! Users depend on the crate `verk`, which re-exports it with its documentation. The way of one
//! use: `attr` reads the tokens, `validate` turns them into the `model` and collects every mistake,
//! `expand` writes the code, or `fallback` as much of it as the mistakes leave.

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

use proc_macro::TokenStream;

#[allow(missing_docs, reason = "documented where `verk` re-exports it")]
#[proc_macro_attribute]
pub fn worker(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::worker(args.into(), item.into()).into()
}

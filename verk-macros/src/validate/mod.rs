//! Turns raw tokens into the [`model`](crate::model). It reports every error at its token, and all
//! of them.

mod cron;
mod names;
mod options;
mod params;
#[cfg(test)]
mod tests;
mod unique;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{ReturnType, Safety};

use self::{names::job_name, options::options, params::params};
use crate::{
    attr::{Function, RawOption},
    errors::Errors,
    model::Worker,
};

/// Checks the whole use. It reports parts with an error and leaves them out.
pub(crate) fn worker(
    raw_options: &[RawOption],
    mut function: Function,
    errors: &mut Errors,
) -> Worker {
    let mut options = options(raw_options, errors);
    let before = errors.len();
    let attrs = function.take_param_attrs();
    let params = params(&function, attrs, errors);
    signature(&mut function, errors);
    let named = raw_options.iter().any(|option| option.name == "name");
    let job = match options.name.take() {
        Some(name) => name,
        None => job_name(&function.sig.ident, named, errors),
    };
    let runs = errors.len() == before;
    options.unique = unique::unique(raw_options, &function, &params, errors);
    options.cron = cron::entries(raw_options, &params, cfg!(feature = "cron"), errors);
    Worker {
        runs,
        function,
        job,
        options,
        params,
    }
}

fn signature(function: &mut Function, errors: &mut Errors) {
    let sig = &mut function.sig;
    if sig.asyncness.is_none() {
        errors.push(sig.fn_token, "a worker is async: write `async fn`");
    }
    if let Safety::Unsafe(token) = &sig.safety {
        errors.push(
            token,
            "a worker is called by verk, which cannot keep a safety contract: remove the `unsafe`",
        );
    }
    if let Some(abi) = &sig.abi {
        errors.push(abi, "a worker is a Rust function: remove the `extern`");
    }
    if !sig.generics.params.is_empty() {
        errors.push(
            &sig.generics,
            "a worker has no generic parameters: one class of jobs has one type, so write the type",
        );
    }
    if let Some(clause) = &sig.generics.where_clause {
        errors.push(clause, "a worker has no generic parameters, so there is nothing to bound: remove the `where` clause");
    }
    if let ReturnType::Type(_, ty) = &sig.output
        && let Some(token) = unnamed(ty.to_token_stream())
    {
        errors.push(
            token,
            "a worker returns a type that can be written out: `()`, `Result<(), E>` or `Result<Outcome, E>`",
        );
    }
    // Taken off, or rustc would report it again.
    if let Some(variadic) = sig.variadic.take() {
        errors.push(
            variadic.dots,
            "a worker has a fixed number of parameters: for a list, take a `Vec`",
        );
    }
    if !function.has_body() {
        errors.push(
            &function.body,
            "a worker has a body: put `#[verk::worker]` on a function outside of traits",
        );
    }
}

/// The first `impl`, or `!`, in a type.
fn unnamed(tokens: TokenStream) -> Option<TokenTree> {
    tokens.into_iter().find_map(|token| match &token {
        TokenTree::Ident(ident) if ident == "impl" => Some(token),
        TokenTree::Punct(punct) if punct.as_char() == '!' => Some(token),
        TokenTree::Group(group) => unnamed(group.stream()),
        TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => None,
    })
}

/// Tokens as a message shows them.
fn shown(tokens: impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    if !text.starts_with('"') {
        for (spaced, tight) in [(" :: ", "::"), (" < ", "<"), (" >", ">"), ("- ", "-")] {
            text = text.replace(spaced, tight);
        }
    }
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

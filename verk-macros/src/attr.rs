//! Reads the source, with its spans: the options in the parentheses, the function, the attributes
//! of its parameters.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Attribute, Expr, FnArg, Lit, LitBool, Meta, Signature, Token, Visibility,
    ext::IdentExt,
    parse::{Parse, ParseStream, Parser, discouraged::Speculative},
    token::Paren,
};

use crate::{
    errors::Errors,
    words::{self, nearest},
};

/// The options, and the value that each of them takes.
pub(crate) const OPTIONS: [(&str, &str); 15] = [
    ("queue", r#"a queue name in quotes, such as "mailers""#),
    ("max_retry_count", "a whole number from 0 to 4294967295"),
    (
        "class",
        r#"a class name in quotes, such as "Mailers::Welcome""#,
    ),
    (
        "name",
        r#"a name for the job struct in quotes, such as "SendWelcome""#,
    ),
    (
        "retry_at",
        "the path of a `fn(SystemTime, u32) -> SystemTime`",
    ),
    ("retry_in", "the path of a `fn(u32, &E) -> RetryIn`"),
    (
        "timeout",
        r#"a duration in quotes, such as "500ms", "30s", "5m" or "1h30m""#,
    ),
    ("dead", "`true` or `false`"),
    (
        "tags",
        r#"a list of labels in quotes, such as ["mail", "slow"]"#,
    ),
    ("backtrace", "`true` or `false`"),
    ("error_class", "the path of a `fn(&E) -> String`"),
    (
        "crate",
        r#"the path of the crate `verk` in quotes, such as "jobs::verk""#,
    ),
    (
        "unique",
        "nothing, or options in parentheses: write `unique` or `unique(by = ...)`",
    ),
    (
        "cron",
        r#"an expression in parentheses: write `cron("0 7 * * MON-FRI", tz = "Europe/Berlin")`"#,
    ),
    (
        "every",
        r#"a duration in quotes, such as "30s", "10m" or "1day""#,
    ),
];

/// The options that have options of their own, in parentheses, and no value.
const WITH_WORDS: [&str; 2] = ["unique", "cron"];

/// One option: `name = value`, or one of [`WITH_WORDS`].
pub(crate) struct RawOption {
    /// Its name, which may be unknown.
    pub(crate) name: Ident,
    /// Its value, which may be of the wrong kind.
    pub(crate) value: Option<Expr>,
    /// The content of its parentheses.
    pub(crate) words: Option<TokenStream>,
}

impl RawOption {
    /// Reads `name = value, ...`. Reports and skips any other form.
    pub(crate) fn read(args: TokenStream, errors: &mut Errors) -> Vec<Self> {
        list(args, errors, Self::parse)
    }
}

/// Reads the elements between commas with `parse`. Reports those with an error, and skips them.
pub(crate) fn list<T>(
    tokens: TokenStream,
    errors: &mut Errors,
    parse: impl Fn(ParseStream<'_>) -> syn::Result<T>,
) -> Vec<T> {
    let parser = |input: ParseStream<'_>| {
        let mut options = Vec::new();
        while !input.is_empty() {
            let ahead = input.fork();
            match parse(&ahead).and_then(|option| end_of_option(&ahead).map(|()| option)) {
                Ok(option) => {
                    input.advance_to(&ahead);
                    options.push(option);
                }
                Err(error) => {
                    errors.add(error);
                    skip_to_comma(input)?;
                }
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(options)
    };
    parser.parse2(tokens).unwrap_or_else(|error| {
        errors.add(error);
        Vec::new()
    })
}

impl Parse for RawOption {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let ahead = input.fork();
        let Ok(name) = input.call(Ident::parse_any) else {
            let found: TokenTree = ahead.parse()?;
            let message = format!("expected an option, found `{found}`; {}", accepted());
            return Err(syn::Error::new_spanned(found, message));
        };
        let mut option = Self {
            name,
            value: None,
            words: None,
        };
        let has_words = WITH_WORDS.iter().any(|known| option.name == known);
        if has_words && !input.peek(Token![=]) {
            if input.peek(Paren) {
                let content;
                syn::parenthesized!(content in input);
                option.words = Some(content.parse()?);
            }
            return Ok(option);
        }
        if !input.peek(Token![=]) || ends_after_equals(input) {
            let message = needs_value(&option.name);
            return Err(syn::Error::new_spanned(&option.name, message));
        }
        input.parse::<Token![=]>()?;
        option.value = Some(input.parse()?);
        Ok(option)
    }
}

/// Every option, for a message.
pub(crate) fn accepted() -> String {
    let names: Vec<String> = OPTIONS
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    format!("accepted: {}", names.join(", "))
}

/// The value that the option takes, if there is such an option.
pub(crate) fn takes(name: &str) -> Option<&'static str> {
    OPTIONS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, takes)| *takes)
}

/// The message for an unknown name. `value` is its value in the source.
pub(crate) fn unknown_option(name: &str, value: Option<&Expr>) -> String {
    if let Some(instead) = option_elsewhere(name, value) {
        return format!("unknown option `{name}`: {instead}");
    }
    let hint = nearest(name, OPTIONS.iter().map(|(known, _)| *known))
        .map_or_else(String::new, |known| format!(" (did you mean `{known}`?)"));
    format!("unknown option `{name}`{hint}; {}", accepted())
}

/// The option that has the same meaning here, for an option of Sidekiq or of other systems.
fn option_elsewhere(name: &str, value: Option<&Expr>) -> Option<String> {
    let lit = match value {
        Some(Expr::Lit(value)) => Some(&value.lit),
        _ => None,
    };
    let count = match lit {
        Some(Lit::Int(count)) => count.base10_digits(),
        _ => "5",
    };
    match name {
        "retry" | "retries" | "max_retries" | "retry_count" | "retry_limit" => match lit {
            Some(Lit::Bool(LitBool { value: false, .. })) => Some(
                "write `max_retry_count = 0, dead = false` for a job that is dropped when it fails"
                    .to_owned(),
            ),
            Some(Lit::Bool(_)) => Some(
                "leave it out, a failed job is tried again by default; `max_retry_count` says how often"
                    .to_owned(),
            ),
            _ => Some(format!("write `max_retry_count = {count}`")),
        },
        "attempts" | "max_attempts" => Some(
            "write `max_retry_count`, which counts the runs after the first one".to_owned(),
        ),
        "backoff" | "delay" | "retry_delay" => Some(
            "write `retry_in` with the path of a `fn(u32, &E) -> RetryIn`".to_owned(),
        ),
        "struct_name" | "rename" => Some("write `name = \"...\"` for the struct, or `class = \"...\"` for the wire".to_owned()),
        _ => words::option_elsewhere(name),
    }
}

fn needs_value(name: &Ident) -> String {
    let name = name.to_string();
    match takes(&name) {
        Some(takes) if WITH_WORDS.contains(&&*name) => format!("`{name}` takes {takes}"),
        Some(takes) => format!("`{name}` needs a value: write `{name} = ...` with {takes}"),
        None => unknown_option(&name, None),
    }
}

pub(crate) fn ends_after_equals(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    ahead.parse::<Token![=]>().is_ok() && (ahead.is_empty() || ahead.peek(Token![,]))
}

fn end_of_option(input: ParseStream<'_>) -> syn::Result<()> {
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(());
    }
    let found: TokenTree = input.parse()?;
    Err(syn::Error::new_spanned(
        &found,
        format!("expected `,` between two options, found `{found}`"),
    ))
}

fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// The function. Its body stays as it is: rustc reports errors in it better.
pub(crate) struct Function {
    /// Attributes below ours, and doc comments.
    pub(crate) attrs: Vec<Attribute>,
    /// Its visibility, which the job struct shares.
    pub(crate) vis: Visibility,
    /// Everything from `async` to the return type.
    pub(crate) sig: Signature,
    /// The block, or `;` for a function of a trait without one.
    pub(crate) body: TokenTree,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let first: TokenTree = input.fork().parse()?;
        let sig = input
            .parse()
            .map_err(|error| not_a_function(first, error))?;
        let body = input.parse()?;
        Ok(Self {
            attrs,
            vis,
            sig,
            body,
        })
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        for attr in &self.attrs {
            attr.to_tokens(tokens);
        }
        self.vis.to_tokens(tokens);
        self.sig.to_tokens(tokens);
        self.body.to_tokens(tokens);
    }
}

impl Function {
    /// Whether it has a body.
    pub(crate) fn has_body(&self) -> bool {
        matches!(self.body, TokenTree::Group(_))
    }

    /// Takes our attributes off the parameters, in the order of the parameters. It takes doc
    /// comments too: rustc accepts none there, and the fields of the job struct can use them.
    pub(crate) fn take_param_attrs(&mut self) -> Vec<ParamAttrs> {
        self.sig
            .inputs
            .iter_mut()
            .map(|input| match input {
                FnArg::Receiver(_) => ParamAttrs::default(),
                FnArg::Typed(param) => ParamAttrs::take(&mut param.attrs),
            })
            .collect()
    }
}

fn not_a_function(first: TokenTree, error: syn::Error) -> syn::Error {
    let found = first.to_string();
    match found.as_str() {
        "struct" | "enum" | "union" | "trait" | "impl" | "mod" | "const" | "static" | "type"
        | "use" => syn::Error::new_spanned(
            first,
            format!(
                "a worker is an `async fn`, found `{found}`: put `#[verk::worker]` on the function that does the work"
            ),
        ),
        _ => error,
    }
}

/// Our attributes of one parameter.
#[derive(Default)]
pub(crate) struct ParamAttrs {
    /// `#[arg]`, `#[args]` and `#[extract]`, in order.
    pub(crate) markers: Vec<Attribute>,
    /// Doc comments.
    pub(crate) docs: Vec<Attribute>,
}

impl ParamAttrs {
    fn take(attrs: &mut Vec<Attribute>) -> Self {
        let mut taken = Self::default();
        for attr in std::mem::take(attrs) {
            let path = attr.path();
            if path.is_ident("arg") || path.is_ident("args") || path.is_ident("extract") {
                taken.markers.push(attr);
            } else if matches!(&attr.meta, Meta::NameValue(meta) if meta.path.is_ident("doc")) {
                taken.docs.push(attr);
            } else {
                attrs.push(attr);
            }
        }
        taken
    }
}

//! Raw tokens to the [`model`](crate::model). Every mistake is reported at its token, and all of them.

use std::{collections::HashSet, time::Duration};

use heck::ToUpperCamelCase;
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Expr, ExprLit, ExprPath, FnArg, Lit, Meta, Pat, PatType, Path, ReturnType, Safety, Type,
    ext::IdentExt,
};

use crate::{
    attr::{Function, ParamAttrs, RawOption, takes, unknown_option},
    errors::Errors,
    model::{Arg, Options, Param, Worker},
};

/// The longest name of a queue or class, in bytes; as `verk_core::MAX_NAME_BYTES`.
const MAX_NAME_BYTES: usize = 256;

/// The whole use. What has a mistake is reported and left out.
pub(crate) fn worker(
    raw_options: &[RawOption],
    mut function: Function,
    errors: &mut Errors,
) -> Worker {
    let options = options(raw_options, errors);
    let before = errors.len();
    let attrs = function.take_param_attrs();
    let params = params(&function, attrs, errors);
    signature(&mut function, errors);
    let job = job_name(&function.sig.ident, errors);
    Worker {
        runs: errors.len() == before,
        function,
        job,
        options,
        params,
    }
}

fn options(raw: &[RawOption], errors: &mut Errors) -> Options {
    let mut options = Options::default();
    let mut seen = HashSet::new();
    for option in raw {
        let name = option.name.to_string();
        if !seen.insert(name.clone()) {
            errors.push(&option.name, format!("`{name}` is given twice"));
            continue;
        }
        let value = Value {
            name: &name,
            expr: ungrouped(&option.value),
            errors,
        };
        match name.as_str() {
            "queue" => options.queue = value.name("queue"),
            "max_retry_count" => options.max_retry_count = value.count(),
            "class" => options.class = value.name("class"),
            "retry_at" => options.retry_at = value.path(),
            "retry_in" => options.retry_in = value.path(),
            "timeout" => options.timeout = value.duration(),
            "dead" => options.dead = value.bool(),
            "tags" => options.tags = value.tags(),
            "backtrace" => options.backtrace = value.bool(),
            "error_class" => options.error_class = value.path(),
            "crate" => options.verk = value.crate_path(),
            _ => errors.push(&option.name, unknown_option(&name)),
        }
    }
    if let (Some(_), Some(_)) = (&options.retry_at, &options.retry_in) {
        let second = raw
            .iter()
            .rfind(|option| option.name == "retry_at" || option.name == "retry_in");
        errors.push(
            second.map(|option| &option.name),
            "`retry_at` and `retry_in` both say when a failed job runs again: keep one",
        );
        options.retry_at = None;
    }
    options
}

/// The value of an option, to be read as what the option takes.
struct Value<'a> {
    name: &'a str,
    expr: &'a Expr,
    errors: &'a mut Errors,
}

impl Value<'_> {
    fn wrong_kind<T>(self) -> Option<T> {
        let (name, expr) = (self.name, self.expr);
        let takes = takes(name).unwrap_or_default();
        self.errors.push(
            expr,
            format!("`{name}` takes {takes}, found `{}`", shown(expr)),
        );
        None
    }

    fn bool(self) -> Option<bool> {
        match self.expr {
            Expr::Lit(ExprLit {
                lit: Lit::Bool(value),
                ..
            }) => Some(value.value),
            _ => self.wrong_kind(),
        }
    }

    fn count(self) -> Option<u32> {
        match self.expr {
            Expr::Lit(ExprLit {
                lit: Lit::Int(value),
                ..
            }) => value.base10_parse().ok().or_else(|| self.wrong_kind()),
            _ => self.wrong_kind(),
        }
    }

    fn name(self, what: &str) -> Option<String> {
        let Some(name) = text(self.expr) else {
            return self.wrong_kind();
        };
        match name_mistake(&name) {
            None => Some(name),
            Some(mistake) => {
                self.errors.push(
                    self.expr,
                    format!("a {what} name has 1 to {MAX_NAME_BYTES} bytes and no control characters: this one {mistake}"),
                );
                None
            }
        }
    }

    fn path(self) -> Option<ExprPath> {
        match self.expr {
            Expr::Path(path) if path.attrs.is_empty() => Some(path.clone()),
            _ => self.wrong_kind(),
        }
    }

    fn duration(self) -> Option<Duration> {
        let duration = text(self.expr).and_then(|text| humantime::parse_duration(&text).ok());
        match duration {
            Some(Duration::ZERO) => {
                self.errors.push(
                    self.expr,
                    "a `timeout` of zero would fail every job: leave it out for no limit",
                );
                None
            }
            Some(duration) => Some(duration),
            None => self.wrong_kind(),
        }
    }

    fn tags(self) -> Option<Vec<String>> {
        let Expr::Array(array) = self.expr else {
            return self.wrong_kind();
        };
        let mut tags = Vec::new();
        for expr in &array.elems {
            match text(expr) {
                Some(tag) => tags.push(tag),
                None => self.errors.push(
                    expr,
                    format!("a label is text in quotes, found `{}`", shown(expr)),
                ),
            }
        }
        Some(tags)
    }

    /// The path may also be written without quotes: a `macro_rules!` macro can say `$crate::verk` only so.
    fn crate_path(self) -> Option<Path> {
        if let Expr::Path(ExprPath {
            attrs,
            qself: None,
            path,
        }) = self.expr
            && attrs.is_empty()
        {
            return Some(path.clone());
        }
        let Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) = self.expr
        else {
            return self.wrong_kind();
        };
        text.parse_with(Path::parse_mod_style)
            .ok()
            .or_else(|| self.wrong_kind())
    }
}

/// An expression that came through a `macro_rules!` macro is in a group without delimiters.
fn ungrouped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Group(group) => ungrouped(&group.expr),
        expr => expr,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match ungrouped(expr) {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text.value()),
        _ => None,
    }
}

fn name_mistake(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("is empty".to_owned())
    } else if name.len() > MAX_NAME_BYTES {
        Some(format!("has {} bytes", name.len()))
    } else {
        let control = name.chars().find(|c| c.is_control())?;
        Some(format!("contains `{}`", control.escape_default()))
    }
}

/// Tokens as a message shows them.
fn shown(tokens: impl ToTokens) -> String {
    let text = tokens
        .to_token_stream()
        .to_string()
        .replace(" :: ", "::")
        .replace("- ", "-");
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
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
    // Taken off, or rustc would report it once more.
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

fn job_name(function: &Ident, errors: &mut Errors) -> Ident {
    let name = function.unraw().to_string().to_upper_camel_case();
    match syn::parse_str::<Ident>(&name) {
        Ok(_) => Ident::new(&name, function.span()),
        Err(_) => {
            errors.push(
                function,
                format!("the job struct is named after the function, and `{name}` is no name for a struct: rename the function"),
            );
            Ident::new("Job", function.span())
        }
    }
}

fn params(function: &Function, attrs: Vec<ParamAttrs>, errors: &mut Errors) -> Vec<Param> {
    let mut params = Vec::new();
    for (input, attrs) in function.sig.inputs.iter().zip(attrs) {
        match input {
            FnArg::Receiver(receiver) => errors.push(
                receiver,
                "a worker is a free function: what a job needs comes as an argument or from an extractor such as `State<T>`",
            ),
            FnArg::Typed(typed) => params.push(param(typed, attrs, errors)),
        }
    }
    params
}

fn param(typed: &PatType, attrs: ParamAttrs, errors: &mut Errors) -> Param {
    let before = errors.len();
    let extractor = is_extractor(typed, &attrs, errors);
    owned(&typed.ty, errors);
    for attr in &typed.attrs {
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            errors.push(
                attr,
                "the arguments of a job are the same in every build: remove the condition",
            );
        }
    }
    let param = if extractor {
        Some(Param::Extractor((*typed.ty).clone()))
    } else {
        name(&typed.pat, errors).map(|ident| {
            Param::Arg(Arg {
                ident,
                ty: (*typed.ty).clone(),
                docs: attrs.docs,
            })
        })
    };
    match param {
        Some(param) if extractor || errors.len() == before => param,
        _ => Param::Broken((*typed.ty).clone()),
    }
}

fn is_extractor(typed: &PatType, attrs: &ParamAttrs, errors: &mut Errors) -> bool {
    for marker in &attrs.markers {
        if !matches!(marker.meta, Meta::Path(_)) {
            let name = shown(marker.path());
            errors.push(
                &marker.meta,
                format!("`#[{name}]` takes nothing: write `#[{name}]`"),
            );
        }
    }
    if let [_, second, ..] = attrs.markers.as_slice() {
        errors.push(
            second,
            "a parameter is marked once: `#[arg]` or `#[extract]`",
        );
    }
    match attrs.markers.first() {
        Some(marker) => marker.path().is_ident("extract"),
        None => last_segment(&typed.ty).is_some_and(|name| name == "State" || name == "JobContext"),
    }
}

fn last_segment(ty: &Type) -> Option<&Ident> {
    match ty {
        Type::Path(ty) => ty.path.segments.last().map(|segment| &segment.ident),
        Type::Reference(ty) => last_segment(&ty.elem),
        Type::Paren(ty) => last_segment(&ty.elem),
        Type::Group(ty) => last_segment(&ty.elem),
        _ => None,
    }
}

/// A job outlives whoever enqueued it.
fn owned(ty: &Type, errors: &mut Errors) {
    match ty {
        Type::Group(group) => owned(&group.elem, errors),
        Type::Paren(paren) => owned(&paren.elem, errors),
        Type::ImplTrait(_) => errors.push(
            ty,
            "a parameter of a worker has one type, which JSON is decoded into: write the type",
        ),
        Type::Reference(reference) => {
            let owned = match &*reference.elem {
                Type::Path(ty) if ty.path.is_ident("str") => "String".to_owned(),
                Type::Slice(slice) => format!("Vec<{}>", shown(&slice.elem)),
                elem => shown(elem).replace(' ', ""),
            };
            errors.push(ty, format!("a worker owns its parameters: take `{owned}`"));
        }
        _ => {
            if let Some(borrowed) = borrowed(ty.to_token_stream()) {
                errors.push(borrowed, "a worker owns its parameters: no references in here, and no lifetime but `'static`");
            }
        }
    }
}

/// The first `&`, or lifetime other than `'static`, in a type.
fn borrowed(tokens: TokenStream) -> Option<TokenStream> {
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == '&' => return Some(token.into()),
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                let name = tokens.next()?;
                if name.to_string() != "static" {
                    return Some([token, name].into_iter().collect());
                }
            }
            TokenTree::Group(group) => {
                if let Some(found) = borrowed(group.stream()) {
                    return Some(found);
                }
            }
            TokenTree::Punct(_) | TokenTree::Ident(_) | TokenTree::Literal(_) => {}
        }
    }
    None
}

fn name(pat: &Pat, errors: &mut Errors) -> Option<Ident> {
    match pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => Some(pat.ident.clone()),
        _ => {
            errors.push(
                pat,
                "an argument becomes a field of the job struct, so it needs a name; mark the parameter `#[extract]` if it is an extractor",
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn read(args: TokenStream, function: TokenStream) -> (Worker, Vec<String>) {
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
            ("max_retries", "max_retry_count"),
            ("retry_count", "retry_in"),
            ("time_out", "timeout"),
            ("klass", "class"),
            ("tag", "tags"),
        ] {
            let message = unknown_option(wrong);
            assert!(
                message.contains(&format!("did you mean `{near}`?")),
                "{message}"
            );
        }
        assert!(!unknown_option("wibble").contains("did you mean"));
    }
}

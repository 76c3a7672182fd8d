//! Writes the code.

mod cron;
mod unique;

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Attribute, ExprPath, ReturnType, Type};

use crate::{
    attr::{Function, RawOption},
    errors::Errors,
    fallback,
    model::{Arg, Param, Place, Worker},
    serde,
    tokens::{at, call, code, last_span, used_if},
    validate,
};

/// The whole attribute.
pub(crate) fn worker(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = RawOption::read(args, &mut errors);
    let function: Function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            errors.add(error);
            return fallback::item(&item, &errors);
        }
    };
    let worker = validate::worker(&options, function, &mut errors);
    if !worker.runs {
        return fallback::worker(&worker, &errors);
    }
    let errors = errors.to_compile_errors();
    let expansion = expand(&worker);
    quote!(#expansion #errors)
}

fn expand(worker: &Worker) -> TokenStream {
    let function = &worker.function;
    // A condition on the function also applies to everything that we generate for it.
    let cfgs: Vec<&Attribute> = function
        .attrs
        .iter()
        .filter(|attr| attr.path().is_ident("cfg"))
        .collect();
    let parts = [
        job_struct(worker),
        constructors(worker),
        serde::serialize(worker),
        serde::deserialize(worker),
        worker_impl(worker),
        registration(worker),
    ];
    let parts = parts.iter().map(|part| quote!(#(#cfgs)* #part));
    quote!(#function #(#parts)*)
}

fn job_struct(worker: &Worker) -> TokenStream {
    let (job, vis) = (&worker.job, &worker.function.vis);
    let docs = worker
        .function
        .attrs
        .iter()
        .filter(|attr| attr.path().is_ident("doc"));
    let line = format!(
        " Class `{}`, queue `{}`, performed by `{}`.",
        worker.class(),
        worker.queue(),
        worker.function.sig.ident
    );
    let gap = docs.clone().next().map(|_| quote!(#[doc = ""]));
    let fields = worker
        .args()
        .enumerate()
        .map(|(index, arg)| field(worker, index, arg));
    let allow = worker
        .args()
        .any(|arg| arg.name().starts_with('_'))
        .then(|| quote!(#[allow(clippy::pub_underscore_fields)]));
    let body = if worker.args().next().is_none() {
        quote!(;)
    } else {
        quote!({ #(#fields),* })
    };
    quote! {
        #(#docs)*
        #gap
        #[doc = #line]
        #allow
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #vis struct #job #body
    }
}

fn field(worker: &Worker, index: usize, arg: &Arg) -> TokenStream {
    let Arg {
        ident,
        ty,
        docs,
        place,
    } = arg;
    let vis = &worker.function.vis;
    let line = match place {
        Place::Position => format!(" Argument {}.", index + 1),
        Place::PositionOr(_) => format!(" Argument {}, which may be absent.", index + 1),
        Place::Object => " The arguments, as one JSON object.".to_owned(),
    };
    let docs = if docs.is_empty() {
        quote!(#[doc = #line])
    } else {
        quote!(#(#docs)*)
    };
    quote! {
        #docs
        #vis #ident: #ty
    }
}

fn constructors(worker: &Worker) -> TokenStream {
    let (job, vis, private) = (&worker.job, &worker.function.vis, worker.private());
    let params: Vec<TokenStream> = worker.args().map(|arg| param(&private, arg)).collect();
    let idents: Vec<&Ident> = worker.args().map(|arg| &arg.ident).collect();
    let inits = worker.args().map(init);
    let defaults = worker.args().filter_map(Arg::default_fn);
    let deprecated = deprecated(worker);
    quote! {
        #[automatically_derived]
        #[allow(dead_code, deprecated, clippy::too_many_arguments)]
        impl #job {
            #[doc = " Makes a job. Nothing is stored before it is enqueued."]
            #deprecated
            #[must_use]
            #vis fn new(#(#params),*) -> Self {
                Self { #(#inits),* }
            }

            #[doc = " Makes a job and enqueues it with the current client."]
            #[doc = ""]
            #[doc = " # Errors"]
            #[doc = ""]
            #[doc = " As `EnqueueExt::enqueue`: the error says whether the job may still be stored."]
            #deprecated
            #vis fn enqueue(#(#params),*) -> #private::Enqueue {
                #private::enqueue(Self::new(#(#idents),*))
            }

            #(#defaults)*
        }
    }
}

fn param(private: &TokenStream, arg: &Arg) -> TokenStream {
    let Arg { ident, ty, .. } = arg;
    if arg.is_string() {
        quote!(#ident: impl #private::IntoString)
    } else {
        quote!(#ident: #ty)
    }
}

fn init(arg: &Arg) -> TokenStream {
    let ident = &arg.ident;
    if arg.is_string() {
        quote!(#ident: ::core::convert::Into::into(#ident))
    } else {
        quote!(#ident)
    }
}

fn deprecated(worker: &Worker) -> Option<&Attribute> {
    worker
        .function
        .attrs
        .iter()
        .find(|attr| attr.path().is_ident("deprecated"))
}

fn worker_impl(worker: &Worker) -> TokenStream {
    let (job, private, class) = (&worker.job, worker.private(), worker.class());
    let options = options(worker);
    let encode = encode_args(worker);
    let decode = decode_args(worker);
    let perform = perform(worker);
    let requires = requires(worker);
    let allow = deprecated(worker).map(|_| quote!(#[allow(deprecated)]));
    quote! {
        #[automatically_derived]
        #allow
        impl #private::Worker for #job {
            const CLASS: &'static str = #class;
            const OPTIONS: #private::WorkerOptions = #options;
            #encode
            #decode
            #perform
            #requires
        }
    }
}

fn options(worker: &Worker) -> TokenStream {
    let (options, private) = (&worker.options, worker.private());
    let queue = options.queue.iter().map(|queue| quote!(.queue(#queue)));
    let max_retry_count = options
        .max_retry_count
        .iter()
        .map(|count| quote!(.max_retry_count(#count)));
    let timeout = options.timeout.iter().map(|timeout| {
        let timeout = duration(*timeout);
        quote!(.timeout(#timeout))
    });
    let dead = options.dead.iter().map(|dead| quote!(.dead(#dead)));
    let tags = options.tags.iter().map(|tags| quote!(.tags(&[#(#tags),*])));
    let backtrace = options
        .backtrace
        .iter()
        .map(|backtrace| quote!(.backtrace(#backtrace)));
    let retry_at = options.retry_at.iter().map(|path| {
        quote! {
            .retry_at({
                let retry_at: fn(::std::time::SystemTime, u32) -> ::std::time::SystemTime = #path;
                retry_at
            })
        }
    });
    let unique = options.unique.iter().map(|unique| unique.expand(&private));
    let cron = cron::expand(worker);
    quote! {
        #private::WorkerOptions::DEFAULT
            #(#queue)* #(#max_retry_count)* #(#timeout)* #(#dead)* #(#tags)* #(#backtrace)* #(#retry_at)* #(#unique)* #cron
    }
}

/// Code of a constant duration.
fn duration(duration: Duration) -> TokenStream {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanoseconds))
}

fn encode_args(worker: &Worker) -> TokenStream {
    let private = worker.private();
    let args = worker.args().map(|arg| {
        let write = arg.write(worker);
        code!(let args = #write;)
    });
    code! {
        fn encode_args(&self) -> ::core::result::Result<::std::string::String, #private::ArgsError> {
            let args = #private::ArgsWriter::new();
            #(#args)*
            ::core::result::Result::Ok(args.finish())
        }
    }
}

fn decode_args(worker: &Worker) -> TokenStream {
    let private = worker.private();
    let reader = used_if("args", worker.args().next().is_some());
    let args = worker.args().map(|arg| {
        let (ident, read) = (&arg.ident, arg.read(worker, &reader));
        code!(#ident: #read)
    });
    code! {
        fn decode_args(#reader: &mut #private::ArgsReader<'_>) -> ::core::result::Result<Self, #private::ArgsError> {
            ::core::result::Result::Ok(Self { #(#args),* })
        }
    }
}

fn perform(worker: &Worker) -> TokenStream {
    let (private, options, sig) = (worker.private(), &worker.options, &worker.function.sig);
    let has_extractors = extractors(worker).next().is_some();
    let ctx = used_if("ctx", has_extractors || options.retry_in.is_some());
    let mut values = Vec::new();
    let mut extracts = Vec::new();
    for (index, param) in worker.params.iter().enumerate() {
        match param {
            Param::Arg(Arg { ident, .. }) => values.push(code!(self.#ident)),
            Param::Extractor(ty) => {
                let value = format_ident!("extracted_{index}", span = Span::mixed_site());
                let tail = code!(.await.map_err(#private::extraction_failed)?);
                let from_job = call(ty, &private, ("FromJob", "from_job"), &code!(&#ctx), &tail);
                extracts.push(code!(let #value = #from_job;));
                values.push(value.into_token_stream());
            }
            Param::Broken(_) => {}
        }
    }
    let function = &sig.ident;
    // At the function's name: rustc reports a future that is not `Send` there.
    let private_here = at(function.span(), &private);
    let future = quote_spanned!(function.span()=> #private_here::require_send(#function(#(#values),*)).await);
    let attempt = options
        .retry_in
        .iter()
        .map(|_| code!(let attempt = #ctx.attempt();));
    let retry_in = described(
        options.retry_in.as_ref(),
        &private,
        "retry_in",
        &code!(attempt),
    );
    let error_class = described(
        options.error_class.as_ref(),
        &private,
        "error_class",
        &code!(),
    );
    let error_param = used_if(
        "error",
        options.retry_in.is_some() || options.error_class.is_some(),
    );
    let args = code!(answer, |#error_param| (#retry_in, #error_class));
    let outcome = match &sig.output {
        // Named, so that rustc reports a wrong return type at its place in the source.
        ReturnType::Type(_, ty) => call(ty, &private, ("Answer", "outcome"), &args, &code!()),
        ReturnType::Default => code!(#private::Answer::outcome(#args)),
    };
    code! {
        async fn perform(self, #ctx: #private::JobContext) -> ::core::result::Result<#private::Outcome, #private::PerformError> {
            #(#attempt)*
            #(#extracts)*
            let answer = #future;
            #outcome
        }
    }
}

fn requires(worker: &Worker) -> Option<TokenStream> {
    let private = worker.private();
    let extractors: Vec<TokenStream> = extractors(worker)
        .map(|ty| {
            let requires = call(ty, &private, ("FromJob", "requires"), &code!(), &code!());
            code!(requires.extend(#requires);)
        })
        .collect();
    (!extractors.is_empty()).then(|| {
        code! {
            fn requires() -> ::std::vec::Vec<#private::Requirement> {
                let mut requires = ::std::vec::Vec::new();
                #(#extractors)*
                requires
            }
        }
    })
}

fn extractors(worker: &Worker) -> impl Iterator<Item = &Type> {
    worker.params.iter().filter_map(|param| match param {
        Param::Extractor(ty) => Some(ty),
        Param::Arg(_) | Param::Broken(_) => None,
    })
}

/// At the function's name, so that `line!()` is its line.
fn registration(worker: &Worker) -> TokenStream {
    let (job, private) = (&worker.job, worker.private());
    let location = quote_spanned!(worker.function.sig.ident.span()=> ::core::concat!(::core::file!(), ":", ::core::line!()));
    quote! {
        #private::inventory::submit! {
            #private::WorkerEntry::of::<#job>(#location)
        }
    }
}

/// The text that the worker's function `path` returns for an error, if the worker has one. The
/// module `method` has the ways to call it.
fn described(
    path: Option<&ExprPath>,
    private: &TokenStream,
    method: &str,
    args: &TokenStream,
) -> TokenStream {
    let Some(path) = path else {
        return quote!(::core::option::Option::None);
    };
    // At the path, so that rustc reports its errors there.
    let here = Span::mixed_site().located_at(last_span(path));
    let method = Ident::new(method, here);
    let call = quote_spanned!(here=> (&&&&&described).#method(#args));
    code! {
        {
            let described = #private::Described(#path, error);
            use #private::#method::*;
            ::core::option::Option::Some(#call)
        }
    }
}

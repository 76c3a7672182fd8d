//! The output for a worker with an error: the function, and a job struct that cannot run. So code
//! that uses them still compiles, and one error gives one message.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::Type;

use crate::{
    errors::Errors,
    model::{Param, Worker},
};

/// The tokens as they came, if they are no function, and the errors.
pub(crate) fn item(item: &TokenStream, errors: &Errors) -> TokenStream {
    let errors = errors.to_compile_errors();
    quote!(#item #errors)
}

/// The function, a stub of the job struct, and the errors.
pub(crate) fn worker(worker: &Worker, errors: &Errors) -> TokenStream {
    let function = &worker.function;
    let stub = stub(worker);
    let errors = errors.to_compile_errors();
    quote!(#function #stub #errors)
}

fn stub(worker: &Worker) -> Option<TokenStream> {
    let function = &worker.function;
    // A method: a struct cannot be next to it.
    if function.sig.receiver().is_some() || !function.has_body() {
        return None;
    }
    let (job, vis, generics, private) = (
        &worker.job,
        &function.vis,
        &function.sig.generics,
        worker.private(),
    );
    let where_clause = &generics.where_clause;
    let fields = worker
        .args()
        .filter(|_| generics.params.is_empty())
        .map(|arg| {
            let (ident, ty) = (&arg.ident, &arg.ty);
            quote!(#vis #ident: #ty)
        });
    let params: Vec<TokenStream> = worker.params.iter().filter_map(param).collect();
    Some(quote! {
        #[doc(hidden)]
        #[allow(dead_code)]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #vis struct #job { #(#fields),* }

        #[automatically_derived]
        #[allow(dead_code, missing_docs, unused_variables)]
        impl #job {
            #vis fn new #generics (#(#params),*) -> Self #where_clause {
                ::core::unreachable!()
            }

            #vis async fn enqueue #generics (#(#params),*) -> ::core::result::Result<#private::Jid, #private::EnqueueError> #where_clause {
                ::core::unreachable!()
            }
        }

        #[automatically_derived]
        impl #private::Worker for #job {
            const CLASS: &'static str = "";
            const OPTIONS: #private::WorkerOptions = #private::WorkerOptions::DEFAULT;

            fn encode_args(&self) -> ::core::result::Result<::std::string::String, #private::ArgsError> {
                ::core::unreachable!()
            }

            fn decode_args(_: &mut #private::ArgsReader<'_>) -> ::core::result::Result<Self, #private::ArgsError> {
                ::core::unreachable!()
            }

            async fn perform(self, _: #private::JobContext) -> ::core::result::Result<#private::Outcome, #private::PerformError> {
                ::core::unreachable!()
            }
        }
    })
}

/// A parameter of the stub's functions.
fn param(param: &Param) -> Option<TokenStream> {
    match param {
        Param::Arg(arg) if arg.is_string() => {
            Some(quote!(_: impl ::core::convert::Into<::std::string::String>))
        }
        Param::Arg(arg) => Some(unnamed(&arg.ty)),
        Param::Extractor(_) => None,
        Param::Broken(ty) => Some(unnamed(ty)),
    }
}

fn unnamed(ty: &Type) -> TokenStream {
    let ty = ty.to_token_stream();
    quote!(_: #ty)
}

//! How tokens are written: their spans, and the names that they may conflict with.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Type;

/// [`quote!`], with local variables that cannot conflict with the user's names.
macro_rules! code {
    ($($tokens:tt)*) => {
        ::quote::quote_spanned!(::proc_macro2::Span::mixed_site()=> $($tokens)*)
    };
}

pub(crate) use code;

/// `<ty as trait>::method(args)tail`, with spans from the first token of `ty` to its last. So rustc
/// reports once, and there, that `ty` does not implement the trait, however often the code requires
/// it.
pub(crate) fn call(
    ty: &Type,
    private: &TokenStream,
    (of, method): (&str, &str),
    args: &TokenStream,
    tail: &TokenStream,
) -> TokenStream {
    let mut tokens = ty.to_token_stream().into_iter().map(|token| token.span());
    let first = tokens.next().unwrap_or_else(Span::call_site);
    let last = tokens.last().unwrap_or(first);
    let (private, of, tail) = (at(last, private), Ident::new(of, last), at(last, tail));
    let method = Ident::new(method, last);
    let open = quote_spanned!(first=> <);
    let close = quote_spanned!(last=> >::#method(#args)#tail);
    quote!(#open #ty as #private::#of #close)
}

/// The tokens, for messages, at `span`.
pub(crate) fn at(span: Span, tokens: &TokenStream) -> TokenStream {
    tokens
        .clone()
        .into_iter()
        .map(|mut token| {
            token.set_span(span);
            token
        })
        .collect()
}

/// The span of the last token, where rustc reports errors of a call.
pub(crate) fn last_span(tokens: impl ToTokens) -> Span {
    let last = tokens.to_token_stream().into_iter().last();
    last.map_or_else(Span::call_site, |token| token.span())
}

/// A parameter that rustc does not report as unused.
pub(crate) fn used_if(name: &str, used: bool) -> Ident {
    let name = if used {
        name.to_owned()
    } else {
        format!("_{name}")
    };
    Ident::new(&name, Span::mixed_site())
}

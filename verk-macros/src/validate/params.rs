//! The parameters of the function.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{FnArg, Meta, Pat, PatType, Type, TypeReference};

use super::shown;
use crate::{
    attr::{Function, ParamAttrs},
    errors::Errors,
    model::{Arg, Param},
};

/// The parameters, as arguments and extractors.
pub(super) fn params(
    function: &Function,
    attrs: Vec<ParamAttrs>,
    errors: &mut Errors,
) -> Vec<Param> {
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
    owned(&typed.ty, extractor, errors);
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
fn owned(ty: &Type, extractor: bool, errors: &mut Errors) {
    match ty {
        Type::Group(group) => owned(&group.elem, extractor, errors),
        Type::Paren(paren) => owned(&paren.elem, extractor, errors),
        Type::ImplTrait(_) => errors.push(
            ty,
            "a parameter of a worker has one type, which JSON is decoded into: write the type",
        ),
        Type::Reference(reference) if !extractor || !is_static(reference) => {
            let instead = match &*reference.elem {
                Type::Path(ty) if ty.path.is_ident("str") => "take `String`".to_owned(),
                Type::Slice(slice) => format!("take `Vec<{}>`", shown(&slice.elem)),
                Type::Path(ty) => format!("take `{}`", shown(ty)),
                _ => "take the value".to_owned(),
            };
            errors.push(ty, format!("a worker owns its parameters: {instead}"));
        }
        _ => {
            if let Some(borrowed) = borrowed(ty.to_token_stream()) {
                errors.push(
                    borrowed,
                    "a worker owns its parameters: no reference in here, and no lifetime but `'static`",
                );
            }
        }
    }
}

fn is_static(reference: &TypeReference) -> bool {
    reference
        .lifetime
        .as_ref()
        .is_some_and(|lifetime| lifetime.ident == "static")
}

/// The first reference, or lifetime, in a type that is not `'static`.
fn borrowed(tokens: TokenStream) -> Option<TokenStream> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == '&' => {
                let lifetime = tokens.peek().is_some_and(|next| next.to_string() == "'");
                if !lifetime {
                    return Some(token.into());
                }
            }
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

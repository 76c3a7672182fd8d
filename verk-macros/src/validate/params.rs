//! The parameters of the function.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::{
    Attribute, ExprPath, FnArg, GenericArgument, Meta, Pat, PatType, PathArguments, Token, Type,
    TypeReference, ext::IdentExt, parse::ParseStream,
};

use super::shown;
use crate::{
    attr::{Function, ParamAttrs},
    errors::Errors,
    model::{Arg, Param, Place},
};

/// The parameters, as arguments and extractors.
pub(super) fn params(
    function: &Function,
    attrs: Vec<ParamAttrs>,
    errors: &mut Errors,
) -> Vec<Param> {
    let before = errors.len();
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
    if errors.len() == before {
        alone(&params, errors);
        at_the_end(&params, errors);
    }
    params
}

/// An object that is all the arguments allows no other argument.
fn alone(params: &[Param], errors: &mut Errors) {
    let args = || params.iter().filter_map(Param::arg);
    let Some(object) = args().find(|arg| matches!(arg.place, Place::Object)) else {
        return;
    };
    for other in args().filter(|arg| arg.ident != object.ident) {
        errors.push(
            &other.ident,
            format!(
                "`{}` is all the arguments of the job: make this a field of `{}`, or remove the `#[args]`",
                object.ident,
                shown(&object.ty)
            ),
        );
    }
}

/// Arguments after an optional one must be optional too.
fn at_the_end(params: &[Param], errors: &mut Errors) {
    let args = params.iter().filter_map(Param::arg);
    let mut behind = args.skip_while(|arg| !matches!(arg.place, Place::PositionOr(_)));
    let Some(first) = behind.next() else { return };
    for arg in behind {
        let optional = last_segment(&arg.ty).is_some_and(|name| name == "Option");
        if matches!(arg.place, Place::Position) && !optional {
            errors.push(
                &arg.ident,
                format!(
                    "arguments are read by position, so where `{}` is absent this is absent, too: mark it `#[arg(default)]`, take an `Option`, or move it to the front",
                    first.ident
                ),
            );
        }
    }
}

fn param(typed: &PatType, attrs: ParamAttrs, errors: &mut Errors) -> Param {
    let before = errors.len();
    let place = place(typed, &attrs, errors);
    let extractor = place.is_none();
    owned(&typed.ty, extractor, errors);
    for attr in &typed.attrs {
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            errors.push(
                attr,
                "the arguments of a job are the same in every build: remove the condition",
            );
        }
    }
    let param = match place {
        None => Some(Param::Extractor((*typed.ty).clone())),
        Some(place) => name(&typed.pat, errors).map(|ident| {
            Param::Arg(Arg {
                ident,
                ty: (*typed.ty).clone(),
                docs: attrs.docs,
                place,
            })
        }),
    };
    match param {
        Some(param) if extractor || errors.len() == before => param,
        _ => Param::Broken((*typed.ty).clone()),
    }
}

/// The place of the argument in the JSON; `None` for an extractor.
fn place(typed: &PatType, attrs: &ParamAttrs, errors: &mut Errors) -> Option<Place> {
    if let [_, second, ..] = attrs.markers.as_slice() {
        errors.push(
            second,
            "a parameter is marked once: `#[arg]`, `#[args]` or `#[extract]`",
        );
    }
    let mut places: Vec<_> = attrs
        .markers
        .iter()
        .map(|marker| marked(marker, errors))
        .collect();
    if places.is_empty() {
        return (!is_extractor(&typed.ty)).then_some(Place::Position);
    }
    places.swap_remove(0)
}

/// Whether a parameter without a marker is an extractor: by the name of its type.
fn is_extractor(ty: &Type) -> bool {
    let named = |ty: &Type, names: &[&str]| {
        last_segment(ty).is_some_and(|found| names.iter().any(|name| found == name))
    };
    named(ty, &["State", "JobContext", "Tick"])
        || (named(ty, &["Option"]) && inner(ty).is_some_and(|inner| named(inner, &["Tick"])))
}

/// The `T` of an `Option<T>`.
fn inner(ty: &Type) -> Option<&Type> {
    let segment = match ty {
        Type::Path(ty) => ty.path.segments.last()?,
        Type::Paren(ty) => return inner(&ty.elem),
        Type::Group(ty) => return inner(&ty.elem),
        _ => return None,
    };
    match &segment.arguments {
        PathArguments::AngleBracketed(args) => match args.args.first()? {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        },
        _ => None,
    }
}

/// The meaning of one marker.
fn marked(marker: &Attribute, errors: &mut Errors) -> Option<Place> {
    let plain = matches!(marker.meta, Meta::Path(_));
    if marker.path().is_ident("arg") {
        if plain {
            return Some(Place::Position);
        }
        let Ok(default) = marker.parse_args_with(default) else {
            errors.push(
                &marker.meta,
                "`#[arg]` takes what stands in for an absent argument, or nothing: write `#[arg]`, `#[arg(default)]` or `#[arg(default = path)]`, with the path of a function",
            );
            return Some(Place::Position);
        };
        return Some(Place::PositionOr(default));
    }
    if !plain {
        let name = shown(marker.path());
        errors.push(
            &marker.meta,
            format!("`#[{name}]` takes nothing: write `#[{name}]`"),
        );
    }
    marker.path().is_ident("args").then_some(Place::Object)
}

/// `default` or `default = path`: the path of the function.
fn default(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    let default: Ident = input.call(Ident::parse_any)?;
    if default != "default" {
        return Err(input.error("no default"));
    }
    if input.is_empty() {
        // At the word, so that rustc reports a type without a default there.
        return Ok(quote_spanned!(default.span()=> ::core::default::Default::default));
    }
    input.parse::<Token![=]>()?;
    Ok(input.parse::<ExprPath>()?.into_token_stream())
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

/// A job outlives the code that enqueued it, so its arguments cannot borrow.
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

//! A worker as the expansion sees it: typed, and without errors unless it says otherwise.

use std::time::Duration;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, Expr, ExprPath, Path, Type, ext::IdentExt};

use crate::{
    attr::Function,
    tokens::{call, code, last_span},
};

/// One use of the attribute.
pub(crate) struct Worker {
    /// The function, without our attributes.
    pub(crate) function: Function,
    /// The name of the job struct.
    pub(crate) job: Ident,
    /// The options in the parentheses.
    pub(crate) options: Options,
    /// The parameters, in order.
    pub(crate) params: Vec<Param>,
    /// Whether the function can be a worker, even if the options have errors.
    pub(crate) runs: bool,
}

impl Worker {
    /// The class on the wire.
    pub(crate) fn class(&self) -> String {
        self.options
            .class
            .clone()
            .unwrap_or_else(|| self.job.to_string())
    }

    /// The queue on the wire.
    pub(crate) fn queue(&self) -> &str {
        self.options.queue.as_deref().unwrap_or("default")
    }

    /// The parameters that are arguments of the job.
    pub(crate) fn args(&self) -> impl Iterator<Item = &Arg> {
        self.params.iter().filter_map(Param::arg)
    }

    /// The path of the module with everything that the generated code names.
    pub(crate) fn private(&self) -> TokenStream {
        match &self.options.verk {
            Some(verk) => quote!(#verk::__private),
            None => quote!(::verk::__private),
        }
    }
}

/// The options that the source sets.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) queue: Option<String>,
    pub(crate) max_retry_count: Option<u32>,
    pub(crate) class: Option<String>,
    /// `name`: the name of the job struct.
    pub(crate) name: Option<Ident>,
    pub(crate) retry_at: Option<ExprPath>,
    pub(crate) retry_in: Option<ExprPath>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) dead: Option<bool>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) backtrace: Option<bool>,
    pub(crate) error_class: Option<ExprPath>,
    /// `crate`: the path of the facade.
    pub(crate) verk: Option<Path>,
    pub(crate) unique: Option<Unique>,
    /// Each `cron(..)`, and `every`.
    pub(crate) cron: Vec<Periodic>,
}

/// `cron(..)`: what the source sets.
#[derive(Default)]
pub(crate) struct Periodic {
    pub(crate) name: Option<String>,
    pub(crate) timing: Timing,
    /// The variant of `Overlap`.
    pub(crate) overlap: Option<&'static str>,
    /// The variant of `CatchUp`.
    pub(crate) catch_up: Option<&'static str>,
    pub(crate) within: Option<Duration>,
    pub(crate) splay: Option<Duration>,
    /// One for each argument of the job.
    pub(crate) args: Vec<Expr>,
}

/// When a periodic job is due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Timing {
    /// With an error.
    #[default]
    Unknown,
    Cron {
        expression: String,
        zone: String,
    },
    Every(Duration),
}

/// `unique(..)`: what the source sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unique {
    /// The places of the arguments that are compared, from 0.
    pub(crate) by: Option<Vec<usize>>,
    pub(crate) until: Option<Until>,
    /// The variant of `OnConflict`.
    pub(crate) on_conflict: Option<&'static str>,
    pub(crate) debounce: Option<Duration>,
    pub(crate) max_wait: Option<Duration>,
    pub(crate) throttle: Option<Duration>,
    pub(crate) hold_when_dead: Option<Duration>,
    pub(crate) across_queues: bool,
}

/// Until when a job holds its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Start,
    Done,
    Time(Duration),
    DoneOr(Duration),
}

/// A parameter of the function.
pub(crate) enum Param {
    /// A field of the job struct.
    Arg(Arg),
    /// A value that is made for each run.
    Extractor(Type),
    /// A parameter with an error, of this type.
    Broken(Type),
}

impl Param {
    /// The argument, if it is one.
    pub(crate) fn arg(&self) -> Option<&Arg> {
        match self {
            Self::Arg(arg) => Some(arg),
            Self::Extractor(_) | Self::Broken(_) => None,
        }
    }
}

/// An argument of the job.
pub(crate) struct Arg {
    /// The name of the parameter and of the field.
    pub(crate) ident: Ident,
    /// Its type, as written.
    pub(crate) ty: Type,
    /// Its doc comments, if it has any.
    pub(crate) docs: Vec<Attribute>,
    /// Its place in the JSON.
    pub(crate) place: Place,
}

/// The place of an argument in the JSON.
pub(crate) enum Place {
    /// By position.
    Position,
    /// By position at the end, and optional: this is the path of a function that makes the default.
    PositionOr(TokenStream),
    /// `#[args]`: an object, and no other argument.
    Object,
}

impl Arg {
    /// `<T as JobArg>::method(args)?`. Every operation on an argument has this form.
    fn call(&self, worker: &Worker, method: &str, args: &TokenStream) -> TokenStream {
        let private = worker.private();
        call(&self.ty, &private, ("JobArg", method), args, &code!(?))
    }

    /// Code that appends it to the writer `args`.
    pub(crate) fn write(&self, worker: &Worker) -> TokenStream {
        let (ident, name) = (&self.ident, self.name());
        let method = match self.place {
            Place::Position | Place::PositionOr(_) => "write",
            Place::Object => "write_object",
        };
        self.call(worker, method, &code!(&self.#ident, #name, args))
    }

    /// Code that reads it from `reader`.
    pub(crate) fn read(&self, worker: &Worker, reader: &Ident) -> TokenStream {
        let name = self.name();
        match &self.place {
            Place::Position => self.call(worker, "read", &code!(#reader, #name)),
            Place::PositionOr(_) => {
                let default = self.default(worker);
                self.call(worker, "read_or", &code!(#reader, #name, #default))
            }
            Place::Object => self.call(worker, "read_object", &code!(#reader, #name)),
        }
    }

    /// The function of the job struct that makes the default.
    pub(crate) fn default_fn(&self) -> Option<TokenStream> {
        let Place::PositionOr(path) = &self.place else {
            return None;
        };
        let (name, ty) = (self.default_name(), &self.ty);
        // At the path, so that rustc reports its errors there, and once.
        let call = quote_spanned!(last_span(path)=> #path());
        Some(quote! {
            #[doc(hidden)]
            fn #name() -> #ty {
                #call
            }
        })
    }

    fn default(&self, worker: &Worker) -> TokenStream {
        let (job, name) = (&worker.job, self.default_name());
        quote!(#job::#name)
    }

    fn default_name(&self) -> Ident {
        format_ident!("__default_of_{}", self.name())
    }

    /// Code that writes it to the `fields` of the job struct.
    pub(crate) fn write_field(&self, worker: &Worker) -> TokenStream {
        let (ident, name) = (&self.ident, self.name());
        let args = code!(&self.#ident, #name, &mut fields);
        self.call(worker, "write_field", &args)
    }

    /// Code that reads it from the `map` of the fields of the job struct into `value`, an `Option`.
    pub(crate) fn read_field(&self, worker: &Worker, value: &Ident) -> TokenStream {
        let name = self.name();
        let args = code!(#name, &mut #value, &mut map);
        self.call(worker, "read_field", &args)
    }

    /// Code that takes it out of `value` at the end of the map.
    pub(crate) fn required(&self, worker: &Worker, value: &Ident) -> TokenStream {
        let name = self.name();
        match &self.place {
            Place::PositionOr(_) => {
                let default = self.default(worker);
                code!(#value.unwrap_or_else(#default))
            }
            Place::Position | Place::Object => self.call(worker, "required", &code!(#name, #value)),
        }
    }

    /// Code that reads it from `seq`, the fields of the job struct in order.
    pub(crate) fn read_element(&self, worker: &Worker) -> TokenStream {
        let name = self.name();
        match &self.place {
            Place::PositionOr(_) => {
                let default = self.default(worker);
                self.call(worker, "read_element_or", &code!(&mut seq, #default))
            }
            Place::Position | Place::Object => {
                self.call(worker, "read_element", &code!(#name, &mut seq))
            }
        }
    }

    /// Its name in messages and in JSON.
    pub(crate) fn name(&self) -> String {
        self.ident.unraw().to_string()
    }

    /// Whether the type in the source is `String`, so that `impl Into<String>` does not prevent
    /// inference.
    pub(crate) fn is_string(&self) -> bool {
        let mut ty = &self.ty;
        while let Type::Group(group) = ty {
            ty = &group.elem;
        }
        let Type::Path(ty) = ty else { return false };
        is_path(&ty.path, &["String"])
            || is_path(&ty.path, &["std", "string", "String"])
            || is_path(&ty.path, &["alloc", "string", "String"])
    }
}

fn is_path(path: &Path, names: &[&str]) -> bool {
    path.segments.len() == names.len()
        && path
            .segments
            .iter()
            .zip(names)
            .all(|(segment, name)| segment.arguments.is_none() && segment.ident == name)
}

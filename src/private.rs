//! The names that the code of `#[verk::worker]` uses. No part of the API: it changes with the
//! macro, in any version.

use std::{convert::Infallible, error::Error as StdError, ops::Deref, pin::Pin};

use serde::{
    Serialize,
    de::{DeserializeOwned, Error, MapAccess, SeqAccess, value::UnitDeserializer},
    ser::SerializeStruct,
};

pub use inventory;
pub use serde;
use verk_core::BoxError;
pub use verk_core::{
    EnqueueError, EnqueueExt, FromJob, IntoOutcome, Jid, JobContext, OnConflict, Outcome,
    Requirement, RetryIn, Unique, Until, Worker, WorkerEntry, WorkerOptions,
    cron::{CatchUp, Overlap, Periodic},
    job::{ArgsError, ArgsReader, ArgsWriter},
    outcome::PerformError,
};

/// An argument of a job.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a job",
    label = "not an argument",
    note = "an argument, with all that is in it, implements `serde::Serialize` and `serde::Deserialize`: derive them",
    note = "mark the parameter `#[extract]` if it is no argument, but made for each run by `verk::FromJob`"
)]
pub trait JobArg: Sized {
    /// Appends it to the arguments of a job.
    fn write(&self, name: &'static str, args: ArgsWriter) -> Result<ArgsWriter, ArgsError>;

    /// Reads it as the next of the arguments.
    fn read(args: &mut ArgsReader<'_>, name: &'static str) -> Result<Self, ArgsError>;

    /// As `read`; an absent argument is the result of `default`.
    fn read_or(
        args: &mut ArgsReader<'_>,
        name: &'static str,
        default: fn() -> Self,
    ) -> Result<Self, ArgsError>;

    /// Writes it as the object that is all the arguments of a job.
    fn write_object(&self, name: &'static str, args: ArgsWriter) -> Result<ArgsWriter, ArgsError>;

    /// Reads it as the object that is all the arguments of a job.
    fn read_object(args: &mut ArgsReader<'_>, name: &'static str) -> Result<Self, ArgsError>;

    /// Writes it as a field of the job struct.
    fn write_field<S: SerializeStruct>(
        &self,
        name: &'static str,
        fields: &mut S,
    ) -> Result<(), S::Error>;

    /// Reads it as a field of the job struct.
    fn read_field<'de, A: MapAccess<'de>>(
        name: &'static str,
        field: &mut Option<Self>,
        map: &mut A,
    ) -> Result<(), A::Error>;

    /// Reads it as an element of the job struct, in formats that write no names.
    fn read_element<'de, A: SeqAccess<'de>>(
        name: &'static str,
        seq: &mut A,
    ) -> Result<Self, A::Error>;

    /// As `read_element`; an absent argument is the result of `default`.
    fn read_element_or<'de, A: SeqAccess<'de>>(
        seq: &mut A,
        default: fn() -> Self,
    ) -> Result<Self, A::Error>;

    /// The field, or the value of its type for an absent one.
    fn required<E: Error>(name: &'static str, field: Option<Self>) -> Result<Self, E>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> JobArg for T {
    fn write(&self, name: &'static str, args: ArgsWriter) -> Result<ArgsWriter, ArgsError> {
        args.arg(name, self)
    }

    fn read(args: &mut ArgsReader<'_>, name: &'static str) -> Result<Self, ArgsError> {
        args.arg(name)
    }

    fn read_or(
        args: &mut ArgsReader<'_>,
        name: &'static str,
        default: fn() -> Self,
    ) -> Result<Self, ArgsError> {
        args.arg_or(name, default)
    }

    fn write_object(&self, name: &'static str, args: ArgsWriter) -> Result<ArgsWriter, ArgsError> {
        args.object(name, self)
    }

    fn read_object(args: &mut ArgsReader<'_>, name: &'static str) -> Result<Self, ArgsError> {
        args.object(name)
    }

    fn write_field<S: SerializeStruct>(
        &self,
        name: &'static str,
        fields: &mut S,
    ) -> Result<(), S::Error> {
        fields.serialize_field(name, self)
    }

    fn read_field<'de, A: MapAccess<'de>>(
        name: &'static str,
        field: &mut Option<Self>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match field.replace(map.next_value()?) {
            None => Ok(()),
            Some(_) => Err(A::Error::duplicate_field(name)),
        }
    }

    fn read_element<'de, A: SeqAccess<'de>>(
        name: &'static str,
        seq: &mut A,
    ) -> Result<Self, A::Error> {
        Self::required(name, seq.next_element()?)
    }

    fn read_element_or<'de, A: SeqAccess<'de>>(
        seq: &mut A,
        default: fn() -> Self,
    ) -> Result<Self, A::Error> {
        Ok(seq.next_element()?.unwrap_or_else(default))
    }

    fn required<E: Error>(name: &'static str, field: Option<Self>) -> Result<Self, E> {
        match field {
            Some(field) => Ok(field),
            None => {
                T::deserialize(UnitDeserializer::<E>::new()).map_err(|_| E::missing_field(name))
            }
        }
    }
}

/// The types that a `String` of a job can be made from, with a message of its own: the message for
/// `Into<String>` lists all its implementations.
#[diagnostic::on_unimplemented(
    message = "this argument is a `String`, and `{Self}` is no text",
    label = "no text",
    note = "pass a `&str`, a `String`, or `value.to_string()`"
)]
pub trait IntoString: Into<String> {}

#[diagnostic::do_not_recommend]
impl<T: Into<String>> IntoString for T {}

/// The result of a job's own `enqueue`. It is a type without parameters: with parameters, rustc
/// would report an argument of a wrong type once more.
pub type Enqueue = Pin<Box<dyn Future<Output = Result<Jid, EnqueueError>> + Send>>;

/// Enqueues with the current client.
pub fn enqueue(job: impl Worker) -> Enqueue {
    Box::pin(job.enqueue())
}

/// Points at the worker's function if its future is not `Send`; the generated code around it is
/// `Send` anyway.
pub fn require_send<F: Future + Send>(future: F) -> impl Future<Output = F::Output> + Send {
    future
}

/// The return type of a worker. If a type is none, the error message comes from [`IntoOutcome`].
pub trait Answer: Sized {
    /// The worker's own error.
    type Error;

    /// The outcome, or the failure, with the results of the worker's functions for its error.
    fn outcome(
        self,
        describe: impl FnOnce(&Self::Error) -> (Option<RetryIn>, Option<String>),
    ) -> Result<Outcome, PerformError>;
}

#[diagnostic::do_not_recommend]
impl<T: IntoOutcome> Answer for T {
    type Error = T::Error;

    fn outcome(
        self,
        describe: impl FnOnce(&T::Error) -> (Option<RetryIn>, Option<String>),
    ) -> Result<Outcome, PerformError> {
        self.into_outcome().map_err(|error| {
            // A function of the user. Where it returns nothing, the failure is described as usual.
            let said = verk_core::guard::call(|| describe(&error));
            let (retry_in, error_class) = said.unwrap_or_default();
            let mut failure = PerformError::new(error);
            if let Some(retry_in) = retry_in {
                failure = failure.retry_in(retry_in);
            }
            if let Some(class) = error_class {
                failure = failure.error_class(class);
            }
            failure
        })
    }
}

/// A function that describes an error, and the error.
#[derive(Debug)]
pub struct Described<'e, F, E>(pub F, pub &'e E);

/// Makes a module with the ways to call a worker's function for an error. A method call on
/// `&&&&&Described` takes the first method that fits, because each is implemented behind one
/// reference fewer. So the function may take `&E`, or a type that `&E` converts to by itself. If
/// none fits, the call takes the method of [`Described`], whose bound has the message.
macro_rules! functions_of_an_error {
    ($method:ident($($param:ident: $ty:ty),*) -> $answer:ty) => {
        /// The ways to call it.
        pub mod $method {
            use super::*;

            pub trait Exact {
                fn $method(&self, $($param: $ty),*) -> $answer;
            }

            impl<E, F> Exact for &&&&Described<'_, F, E>
            where
                F: Fn($($ty,)* &E) -> $answer,
            {
                fn $method(&self, $($param: $ty),*) -> $answer {
                    (self.0)($($param,)* self.1)
                }
            }

            pub trait AsDyn {
                fn $method(&self, $($param: $ty),*) -> $answer;
            }

            impl<E: StdError + 'static, F> AsDyn for &&&Described<'_, F, E>
            where
                F: for<'a> Fn($($ty,)* &'a (dyn StdError + 'a)) -> $answer,
            {
                fn $method(&self, $($param: $ty),*) -> $answer {
                    (self.0)($($param,)* self.1)
                }
            }

            pub trait AsDynStatic {
                fn $method(&self, $($param: $ty),*) -> $answer;
            }

            impl<E: StdError + 'static, F> AsDynStatic for &&Described<'_, F, E>
            where
                F: Fn($($ty,)* &(dyn StdError + 'static)) -> $answer,
            {
                fn $method(&self, $($param: $ty),*) -> $answer {
                    (self.0)($($param,)* self.1)
                }
            }

            pub trait Dereferenced {
                fn $method(&self, $($param: $ty),*) -> $answer;
            }

            impl<E: Deref, F> Dereferenced for &Described<'_, F, E>
            where
                F: Fn($($ty,)* &E::Target) -> $answer,
            {
                fn $method(&self, $($param: $ty),*) -> $answer {
                    (self.0)($($param,)* self.1)
                }
            }
        }
    };
}

functions_of_an_error!(retry_in(attempt: u32) -> RetryIn);
functions_of_an_error!(error_class() -> String);

impl<F, E> Described<'_, F, E> {
    /// For a function of another form.
    pub fn retry_in(&self, _attempt: u32) -> RetryIn
    where
        F: RetryInFn<E>,
    {
        RetryIn::Default
    }

    /// For a function of another form.
    #[must_use]
    pub fn error_class(&self) -> String
    where
        F: ErrorClassFn<E>,
    {
        String::new()
    }
}

/// For its message. No function item has it.
#[diagnostic::on_unimplemented(
    message = "`retry_in` takes the path of a `fn(u32, &{E}) -> RetryIn`",
    label = "not a `fn(u32, &{E}) -> RetryIn`",
    note = "the first parameter is the attempt, the second the error that the worker returns"
)]
pub trait RetryInFn<E> {}

#[diagnostic::do_not_recommend]
impl<E> RetryInFn<E> for Infallible {}

/// For its message. No function item has it.
#[diagnostic::on_unimplemented(
    message = "`error_class` takes the path of a `fn(&{E}) -> String`",
    label = "not a `fn(&{E}) -> String`",
    note = "the parameter is the error that the worker returns"
)]
pub trait ErrorClassFn<E> {}

#[diagnostic::do_not_recommend]
impl<E> ErrorClassFn<E> for Infallible {}

/// The failure of a run whose extractor failed.
#[must_use]
pub fn extraction_failed(error: BoxError) -> PerformError {
    PerformError::of_extractor(error)
}

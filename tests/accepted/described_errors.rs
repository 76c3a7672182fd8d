#![deny(warnings)]
//! What `retry_in` and `error_class` may take instead of `&E`.
use std::{error::Error, fmt, fmt::Display};

use verk::prelude::*;

fn by_any_error(_: u32, error: &dyn Error) -> RetryIn {
    by_static_error(1, &fmt::Error);
    match error.source() {
        None => RetryIn::Kill,
        Some(_) => RetryIn::Default,
    }
}

fn by_static_error(_: u32, error: &(dyn Error + 'static)) -> RetryIn {
    match error.downcast_ref::<fmt::Error>() {
        Some(_) => RetryIn::Kill,
        None => RetryIn::Default,
    }
}

fn by_any_boxed(_: u32, error: &(dyn Error + Send + Sync + 'static)) -> RetryIn {
    by_static_error(1, error)
}

fn class_of_any_boxed(error: &(dyn Error + Send + Sync + 'static)) -> String {
    error.to_string()
}

fn by_text(_: u32, error: &str) -> RetryIn {
    match error {
        "" => RetryIn::Discard,
        _ => RetryIn::Default,
    }
}

fn by_what_prints(attempt: u32, error: &(impl Display + ?Sized)) -> RetryIn {
    by_text(attempt, &error.to_string())
}

fn class_of_text(text: &str) -> String {
    text.to_uppercase()
}

fn class_of_any(error: &dyn Error) -> String {
    error.to_string()
}

fn class_of_what_prints<E: Display>(error: &E) -> String {
    error.to_string()
}

#[verk::worker(retry_in = by_any_error, error_class = class_of_any)]
async fn any() -> Result<(), fmt::Error> {
    Err(fmt::Error)
}

#[verk::worker(retry_in = by_static_error, error_class = class_of_what_prints)]
async fn any_static() -> Result<Outcome, fmt::Error> {
    Err(fmt::Error)
}

#[verk::worker(retry_in = by_text, error_class = class_of_text)]
async fn text() -> Result<(), String> {
    Err(String::new())
}

#[verk::worker(retry_in = by_any_boxed)]
async fn whatever() -> anyhow::Result<()> {
    anyhow::bail!("no")
}

#[verk::worker(retry_in = by_any_boxed, error_class = class_of_any_boxed)]
async fn boxed() -> Result<(), Box<dyn Error + Send + Sync>> {
    Err("no".into())
}

#[verk::worker(retry_in = by_what_prints, error_class = class_of_what_prints)]
async fn prints() -> Result<(), String> {
    Err(String::new())
}

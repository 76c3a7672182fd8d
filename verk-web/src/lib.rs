#![doc = include_str!("../README.md")]

mod access;
mod actions;
mod api;
mod app;
mod assets;
mod checkup;
mod context;
mod dashboard;
mod failure;
mod groups;
mod guard;
mod json;
mod live;
mod pages;
mod payloads;
mod place;
mod routes;
mod serve;
mod svg;
mod tasks;
#[cfg(test)]
mod tests;
pub mod text;
mod url;
pub mod values;

use axum::Router;
use verk_core::manage::Admin;

pub use crate::{
    access::{Access, InvalidHash, Role, Visitor},
    dashboard::Dashboard,
    live::history,
    payloads::Payloads,
    serve::{ServeError, serve},
};

/// Returns the dashboard of `admin`, to be nested into an application: see
/// [`Dashboard`] for its settings.
pub fn router(admin: Admin, access: Access) -> Router {
    Dashboard::new(admin, access).router()
}

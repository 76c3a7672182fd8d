//! A small shop: a web service, and the workers that do its work in the background.
//!
//! Start with `README.md`.

pub mod jobs;
pub mod ops;
pub mod services;
pub mod settings;
pub mod store;
pub mod web;

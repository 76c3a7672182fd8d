//! All pages and the whole API, with what nobody means well.

mod accessible;
mod any_request;
mod fleet;
mod html;
mod random;

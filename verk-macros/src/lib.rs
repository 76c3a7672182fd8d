//! verk.

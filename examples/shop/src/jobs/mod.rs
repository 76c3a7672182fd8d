//! The workers. Each may run twice: after a crash verk runs a job again.

pub mod catalog;
pub mod housekeeping;
pub mod orders;

use verk::VerkBuilder;

use crate::{
    services::{Bank, Mailer, Warehouse},
    settings::Settings,
    store::Store,
};

/// Gives the builder the state that the workers ask for. `build()` names what is missing.
pub fn with_state(builder: VerkBuilder, settings: &Settings, store: Store) -> VerkBuilder {
    builder
        .state(store)
        .state(Bank::default())
        .state(Mailer::default())
        .state(Warehouse::new(&settings.warehouse_url))
        .state(housekeeping::CartLifetime(settings.cart_lifetime()))
}

//! A program without the feature `cron` declares nothing and takes no runs: other nodes do.

#![expect(
    clippy::unused_async,
    clippy::unused_self,
    reason = "the same as with the feature"
)]

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::{cells::Cells, error::StorageError, services::Services};

/// What the program declares: nothing.
#[derive(Debug, Default)]
pub(crate) struct Declared(Option<Infallible>);

impl Declared {
    pub(crate) fn for_cell(&self, _: &Cells, _: usize) -> Self {
        Self(None)
    }

    pub(crate) fn to_json(&self) -> Bytes {
        Bytes::new()
    }

    pub(crate) async fn declare(&self, _: &Services) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Does nothing.
#[derive(Debug)]
pub(crate) struct Keeper;

impl Keeper {
    pub(crate) fn new(_: Arc<Declared>, _: Instant) -> Self {
        Self
    }

    pub(crate) async fn declare(&mut self, _: &Services) {}

    pub(crate) fn declares_in(&self, _: Instant) -> Option<Duration> {
        None
    }

    pub(crate) async fn take(
        &self,
        _: &Services,
        _: SystemTime,
        _: &CancellationToken,
    ) -> Result<Option<SystemTime>, StorageError> {
        Ok(None)
    }

    pub(crate) async fn look_for_orphans(&mut self, _: &Services) {}
}

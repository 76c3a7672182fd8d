//! Who else shares the storage: [`Fleet`].

use serde::Deserialize;

use crate::{names::NodeId, storage::Node};

/// The programs of others that are registered in the storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fleet {
    /// The oldest major version of Sidekiq.
    pub(super) oldest_sidekiq: Option<u32>,
    /// The newest one.
    pub(super) newest_sidekiq: Option<u32>,
    /// Whether a node of Elixir's Verk is registered. One with a fixed id is not.
    pub(super) elixir: bool,
}

impl Fleet {
    /// Reads what the processes tell of themselves, and the ids of the nodes.
    pub(super) fn read(infos: &[impl AsRef<[u8]>], nodes: &[Node]) -> Self {
        let versions = infos.iter().filter_map(|info| sidekiq(info.as_ref()));
        let (oldest_sidekiq, newest_sidekiq) = (versions.clone().min(), versions.max());
        Self {
            oldest_sidekiq,
            newest_sidekiq,
            elixir: nodes.iter().any(|node| is_elixir(&node.id)),
        }
    }

    pub(super) fn has_sidekiq(&self) -> bool {
        self.oldest_sidekiq.is_some()
    }
}

/// The part of Sidekiq's `info` that is looked at.
#[derive(Deserialize)]
struct Info {
    version: Option<String>,
}

/// The major version of Sidekiq in the `info` of a process; `None` for a process of another program.
fn sidekiq(info: &[u8]) -> Option<u32> {
    let info: Info = serde_json::from_slice(info).ok()?;
    match info.version {
        // Sidekiq tells it since 7.0.2.
        None => Some(BEFORE_7),
        // Other programs put their name before it, as verk does.
        Some(version) => version.split('.').next()?.parse().ok(),
    }
}

/// For Sidekiq that does not tell its version.
const BEFORE_7: u32 = 6;

/// Whether a node is one of Elixir's Verk: its id has not the ending that verk gives to every registration.
fn is_elixir(node: &NodeId) -> bool {
    node.name() == node.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_sidekiq_are_told_from_others_by_their_version() {
        let fleet = |infos: &[&str]| Fleet::read(infos, &[]);
        assert!(!fleet(&[]).has_sidekiq());
        assert!(!fleet(&[r#"{"version":"verk 0.1.0"}"#, "broken", "[]", "1"]).has_sidekiq());
        let mixed = fleet(&[
            r#"{"pid":1}"#,
            r#"{"version":"8.0.9"}"#,
            r#"{"version":"7.3.2"}"#,
        ]);
        assert_eq!(
            (mixed.oldest_sidekiq, mixed.newest_sidekiq),
            (Some(6), Some(8))
        );
    }

    #[test]
    fn nodes_of_elixir_are_told_from_others_by_their_ids() {
        let elixir = |id: &str| is_elixir(&NodeId::from(id));
        assert!(elixir("12345678904294967295"));
        assert!(!elixir(NodeId::register("7").unwrap().as_str()));
    }
}

//! What a node stores about itself when it registers, for operators.

use std::{env, process, time::SystemTime};

use bytes::Bytes;

use crate::{names::NodeId, node::heartbeat::host_name, storage::StoredNodeInfo};

/// Which features of other nodes this version understands. It grows with each feature that older
/// nodes cannot follow.
pub(crate) const FEATURE_LEVEL: u32 = 2;

/// From this level on, a node frees the locks of unique jobs: it settles, restores and moves jobs
/// with their effects.
pub(crate) const LEVEL_OF_EFFECTS: u32 = 2;

/// The most classes that a node stores, and the most bytes of them together.
const MAX_CLASSES: usize = 1000;
const MAX_CLASS_BYTES: usize = 32 * 1024;

/// What the program of a node is: the same for each of its registrations.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The first classes that it has a worker for, as a JSON array.
    classes: String,
    /// How many classes it has a worker for.
    class_count: usize,
    /// The entries of the timetable that it declares.
    cron: Bytes,
    /// The first registration, which gives the process its name.
    first: Option<NodeId>,
}

impl Program {
    /// A program that has workers for these classes, declares these entries of the timetable, and
    /// has not registered yet.
    pub(crate) fn new<'a>(classes: impl IntoIterator<Item = &'a str>, cron: Bytes) -> Self {
        let (mut first, mut bytes, mut class_count) = (Vec::new(), 0, 0);
        for class in classes {
            class_count += 1;
            bytes += class.len();
            if class_count <= MAX_CLASSES && bytes <= MAX_CLASS_BYTES {
                first.push(class);
            }
        }
        Self {
            // Texts always have a JSON form.
            classes: serde_json::to_string(&first).unwrap_or_default(),
            class_count,
            cron,
            first: None,
        }
    }

    /// The same program, whose first registration was this one.
    pub(crate) fn registered_as(mut self, first: &NodeId) -> Self {
        self.first = Some(first.clone());
        self
    }

    /// What `node` stores, which registers now.
    pub(crate) fn info(&self, node: &NodeId, now: SystemTime) -> StoredNodeInfo {
        StoredNodeInfo {
            version: VERSION.to_owned(),
            level: FEATURE_LEVEL,
            process: process_identity(&process_host(), self.first.as_ref().unwrap_or(node)),
            registered_at: Some(now),
            class_count: self.class_count,
            classes: self.classes.clone().into(),
            cron: self.cron.clone(),
        }
    }
}

/// The library and its version, as a process of Sidekiq shows its own.
pub(crate) const VERSION: &str = concat!("verk ", env!("CARGO_PKG_VERSION"));

/// The name of this machine. On Heroku, that of the dyno, because host names mean nothing there.
pub(crate) fn process_host() -> String {
    env::var("DYNO").unwrap_or_else(|_| host_name())
}

/// The name of this process, `HOST:PID:NONCE`. The nonce is that of its first node id, so that an
/// operator can find one by the other.
pub(crate) fn process_identity(host: &str, first: &NodeId) -> String {
    let nonce = first.as_str().rsplit('.').next().unwrap_or_default();
    format!("{host}:{}:{nonce}", process::id())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_node_says_what_it_is() {
        let node = NodeId::from("worker.1.0123456789ab");
        let program = Program::new(["A::B", "C"], r#"{"daily":"0f"}"#.into());
        let info = program.info(&node, UNIX_EPOCH);
        assert_eq!(info.classes, r#"["A::B","C"]"#);
        assert_eq!((info.class_count, info.level), (2, FEATURE_LEVEL));
        assert_eq!(info.registered_at, Some(UNIX_EPOCH));
        assert_eq!(info.cron, r#"{"daily":"0f"}"#);
        let ending = format!(":{}:0123456789ab", process::id());
        assert!(info.process.ends_with(&ending), "{}", info.process);

        let later = NodeId::from("worker.1.ba9876543210");
        let again = program.registered_as(&node).info(&later, UNIX_EPOCH);
        assert_eq!(again.process, info.process, "the process is the same");
    }

    #[test]
    fn only_the_first_classes_are_stored() {
        let node = NodeId::from("worker.1.0123456789ab");
        let stored = |classes: &[String]| {
            let info = Program::new(classes.iter().map(String::as_str), Bytes::new())
                .info(&node, UNIX_EPOCH);
            let classes: Vec<String> = serde_json::from_slice(&info.classes).unwrap();
            (classes.len(), info.class_count)
        };
        assert_eq!(stored(&[]), (0, 0));
        let many: Vec<_> = (0..1500).map(|number| number.to_string()).collect();
        assert_eq!(stored(&many), (1000, 1500));
        assert_eq!(
            stored(&["x".repeat(20_000), "y".repeat(20_000), "z".into()]),
            (1, 3)
        );
    }
}

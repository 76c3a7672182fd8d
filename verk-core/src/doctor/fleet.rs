//! The other programs that share the storage, and what that means for this program: [`Fleet`].
//! Pure.

use serde::Deserialize;

use super::finding::Finding;
use crate::{
    config::Config,
    job::{Dialect, TimeFormat},
    names::NodeId,
    storage::{Node, ProcessReport, ScheduleKeys, ServerFacts},
};

/// The programs of others that are registered in the storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fleet {
    /// Whether a process of a Sidekiq is registered that reads whole numbers as seconds.
    pub(super) sidekiq_before_8: bool,
    /// Whether a process of a Sidekiq is registered that reads them as milliseconds.
    pub(super) sidekiq_from_8: bool,
    /// Whether a node of Elixir's Verk is registered. One with a fixed id is not.
    pub(super) elixir: bool,
}

impl Fleet {
    pub(super) fn of(processes: &[ProcessReport], nodes: &[Node]) -> Self {
        let versions = || (processes.iter()).filter_map(|process| sidekiq_version(&process.info));
        Self {
            sidekiq_before_8: versions().any(|version| version < 8),
            sidekiq_from_8: versions().any(|version| version >= 8),
            elixir: nodes.iter().any(|node| is_elixir(&node.id)),
        }
    }

    pub(super) fn has_sidekiq(self) -> bool {
        self.sidekiq_before_8 || self.sidekiq_from_8
    }

    /// The findings about the server.
    pub(super) fn judge_server(self, facts: ServerFacts) -> impl Iterator<Item = Finding> {
        let shares_sets = facts.schedule_keys == ScheduleKeys::Shared;
        let others = self.has_sidekiq() || self.elixir;
        // Other programs move jobs of the shared sets; only verk moves those of its own sets.
        let stranded = facts.elsewhere > 0 && (shares_sets || !others);
        let found = [
            (facts.eviction_policy).map(|policy| Finding::EvictingServer { policy }),
            facts.disk_fails.then_some(Finding::DiskFails),
            (facts.append_only == Some(false)).then_some(Finding::NotAppendOnly),
            (shares_sets && others).then_some(Finding::OtherMovers {
                sidekiq: self.has_sidekiq(),
                elixir: self.elixir,
            }),
            stranded.then_some(Finding::JobsElsewhere {
                jobs: facts.elsewhere,
            }),
            self.elixir.then_some(Finding::DeadSetCut),
        ];
        found.into_iter().flatten()
    }

    /// The findings about the settings of this program.
    pub(super) fn judge_config(self, config: &Config) -> impl Iterator<Item = Finding> {
        let verk = config.dialect == Dialect::Verk;
        let milliseconds = config.time_format == TimeFormat::Milliseconds;
        let found = [
            (verk && self.has_sidekiq()).then_some(Finding::VerkDialect),
            (milliseconds && self.sidekiq_before_8).then_some(Finding::MillisecondTimes),
        ];
        found.into_iter().flatten()
    }
}

/// The part of Sidekiq's `info` that the doctor reads.
#[derive(Deserialize)]
struct Info {
    version: Option<String>,
}

/// The major version of Sidekiq in the `info` of a process; `None` for a process of another
/// program.
fn sidekiq_version(info: &[u8]) -> Option<u32> {
    let info: Info = serde_json::from_slice(info).ok()?;
    match info.version {
        // Sidekiq tells it since 7.0.2.
        None => Some(6),
        // Other programs put their name before it, as verk does.
        Some(version) => version.split('.').next()?.parse().ok(),
    }
}

/// Whether a node is one of Elixir's Verk: its id lacks the ending that verk gives to every
/// registration.
pub(super) fn is_elixir(node: &NodeId) -> bool {
    node.name() == node.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    const NOBODY: Fleet = Fleet {
        sidekiq_before_8: false,
        sidekiq_from_8: false,
        elixir: false,
    };
    const SIDEKIQ: Fleet = Fleet {
        sidekiq_before_8: true,
        ..NOBODY
    };

    fn process(info: &str) -> ProcessReport {
        ProcessReport {
            identity: "host:1:0f".into(),
            info: info.to_owned().into(),
            concurrency: 0,
            busy: 0,
            quiet: false,
            beat: std::time::UNIX_EPOCH,
            rss: 0,
            rtt: std::time::Duration::ZERO,
            work: std::collections::BTreeMap::new(),
            sidekiq_6_work: false,
        }
    }

    fn judge(fleet: Fleet, facts: ServerFacts) -> Vec<Finding> {
        fleet.judge_server(facts).collect()
    }

    #[test]
    fn processes_of_sidekiq_are_told_from_others_by_their_version() {
        let versions = |infos: &[&str]| {
            let processes: Vec<_> = infos.iter().map(|info| process(info)).collect();
            let fleet = Fleet::of(&processes, &[]);
            (fleet.sidekiq_before_8, fleet.sidekiq_from_8)
        };
        assert_eq!(versions(&[]), (false, false));
        let others = [r#"{"version":"verk 0.1.0"}"#, "broken", "[]", "1"];
        assert_eq!(versions(&others), (false, false));
        assert_eq!(versions(&[r#"{"pid":1}"#]), (true, false));
        assert_eq!(versions(&[r#"{"version":"7.3.2"}"#]), (true, false));
        assert_eq!(versions(&[r#"{"version":"8.0.9"}"#]), (false, true));
        assert_eq!(versions(&[r#"{"version":"10.1.0"}"#]), (false, true));
    }

    #[test]
    fn nodes_of_elixir_are_told_from_others_by_their_ids() {
        let elixir = |id: &str| is_elixir(&NodeId::from(id));
        assert!(elixir("12345678904294967295"));
        assert!(!elixir(NodeId::register("7").unwrap().as_str()));
    }

    #[test]
    fn a_server_that_tells_nothing_is_fine() {
        assert_eq!(judge(NOBODY, ServerFacts::default()), []);
    }

    #[test]
    fn what_is_wrong_with_a_server_is_told() {
        let facts = ServerFacts {
            eviction_policy: Some("allkeys-lru".into()),
            append_only: Some(false),
            disk_fails: true,
            ..ServerFacts::default()
        };
        let policy = "allkeys-lru".to_owned();
        let evicting = Finding::EvictingServer { policy };
        assert_eq!(
            judge(NOBODY, facts),
            [evicting, Finding::DiskFails, Finding::NotAppendOnly]
        );
    }

    #[test]
    fn who_else_moves_jobs_matters_in_shared_sets_only() {
        for (sidekiq, elixir, severity) in [
            (true, true, Some(Severity::Error)),
            (false, true, Some(Severity::Warning)),
            (true, false, Some(Severity::Notice)),
            (false, false, None),
        ] {
            let fleet = Fleet {
                sidekiq_from_8: sidekiq,
                elixir,
                ..NOBODY
            };
            let of_movers = |schedule_keys| {
                let facts = ServerFacts {
                    schedule_keys,
                    ..ServerFacts::default()
                };
                let mut found = judge(fleet, facts);
                found.retain(|finding| matches!(finding, Finding::OtherMovers { .. }));
                found.first().map(Finding::severity)
            };
            assert_eq!(of_movers(ScheduleKeys::Shared), severity);
            assert_eq!(of_movers(ScheduleKeys::Own), None);
        }
    }

    #[test]
    fn jobs_in_other_sets_are_stranded_unless_others_see_to_them() {
        let stranded = Finding::JobsElsewhere { jobs: 3 };
        for (fleet, schedule_keys, told) in [
            (NOBODY, ScheduleKeys::Own, true),
            (NOBODY, ScheduleKeys::Shared, true),
            (SIDEKIQ, ScheduleKeys::Own, false),
            (SIDEKIQ, ScheduleKeys::Shared, true),
        ] {
            let facts = ServerFacts {
                elsewhere: 3,
                schedule_keys,
                ..ServerFacts::default()
            };
            let found = judge(fleet, facts);
            assert_eq!(
                found.contains(&stranded),
                told,
                "{fleet:?} {schedule_keys:?}"
            );
        }
    }

    #[test]
    fn settings_are_judged_by_who_reads_the_jobs() {
        let config = Config {
            dialect: Dialect::Verk,
            time_format: TimeFormat::Milliseconds,
            ..Config::default()
        };
        let judge = |fleet: Fleet, config| fleet.judge_config(config).collect::<Vec<_>>();
        let sidekiq_8 = Fleet {
            sidekiq_from_8: true,
            ..NOBODY
        };
        let elixir = Fleet {
            elixir: true,
            ..NOBODY
        };
        assert_eq!(
            judge(SIDEKIQ, &config),
            [Finding::VerkDialect, Finding::MillisecondTimes]
        );
        assert_eq!(judge(sidekiq_8, &config), [Finding::VerkDialect]);
        assert_eq!(judge(elixir, &config), []);
        assert_eq!(judge(SIDEKIQ, &Config::default()), []);
    }
}

//! The kind of the server: checked when a connection opens, and returned on request.

use std::time::{Duration, SystemTime};

use bb8_redis::redis::{self, Value};
use verk_core::{
    log,
    storage::{JobSet, ServerFacts, ServerKind, ServerRole},
};

use crate::{
    connect::{
        link::Link,
        pool::{Connection, Connector},
        reply,
    },
    error::{Error, Failure},
};

/// The oldest Redis that has every command used here (`BLMOVE`, `CLIENT LIST ID`).
const OLDEST: (u32, u32) = (6, 2);

/// Refuses a server that is too old, and warns of one that may lose jobs.
pub(crate) async fn check(connector: &Connector, connection: &mut Connection) -> Result<(), Error> {
    let mut info = redis::pipe();
    info.cmd("INFO").arg("server").cmd("INFO").arg("memory");
    let address = connector.address();
    let replies = connection.query_all(&info).await.map_err(|failure| {
        let error = failure.during("ask Redis about itself");
        Error::Connect {
            address: address.clone(),
            kind: error.kind(),
            source: error.into(),
        }
    })?;
    // Some providers forbid INFO. Then nothing is known, and an old server fails later.
    let info: String = replies
        .into_iter()
        .filter_map(|reply: Result<Value, Failure>| reply.and_then(reply::text).ok())
        .collect();
    let Some(version) = version(&info) else {
        log::warn!(%address, "Redis does not tell its version; verk needs 6.2 or newer");
        return Ok(());
    };
    if parse_version(version).is_some_and(|version| version < OLDEST) {
        return Err(Error::TooOld {
            address,
            version: version.to_owned(),
        });
    }
    if let Some(policy) = evicting(&info) {
        log::warn!(
            %address,
            policy,
            "Redis may evict keys when its memory is full, and jobs with them; set maxmemory-policy to noeviction"
        );
    }
    Ok(())
}

/// The facts that the server returns, and how many jobs wait in the sets of the other schedule
/// keys.
pub(crate) async fn facts(link: &Link) -> Result<ServerFacts, Failure> {
    let mut commands = redis::pipe();
    for set in [JobSet::Schedule, JobSet::Retry] {
        commands.cmd("ZCARD").arg(link.keys.other_set(set));
    }
    for section in SECTIONS {
        commands.cmd("INFO").arg(section);
    }
    let mut replies = link.ask_all(&commands).await?.into_iter();
    let mut elsewhere = 0;
    for count in replies.by_ref().take(2) {
        elsewhere += reply::count(count?)?;
    }
    // Some providers forbid INFO. Then its facts are missing.
    let info: String = replies
        .filter_map(|reply| reply.and_then(reply::text).ok())
        .collect();
    let mut facts = read(&info);
    facts.schedule_keys = link.keys.schedule();
    facts.elsewhere = elsewhere;
    Ok(facts)
}

/// The parts of INFO that have the facts.
const SECTIONS: [&str; 6] = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
];

/// The longest version that is shown.
const MAX_VERSION: usize = 64;

/// The facts that are in the text of INFO, whatever that is.
fn read(info: &str) -> ServerFacts {
    let number = |name| field(info, name)?.parse::<u64>().ok();
    let flag = |name| match field(info, name)? {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    };
    let failed = |name| field(info, name) == Some("err");
    let since_1970 = |seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let mut facts = ServerFacts::default();
    facts.eviction_policy = evicting(info).map(str::to_owned);
    facts.append_only = flag("aof_enabled");
    facts.disk_fails = failed("rdb_last_bgsave_status") || failed("aof_last_write_status");
    facts.kind = kind(info);
    facts.version = version(info).map(|version| version.chars().take(MAX_VERSION).collect());
    facts.uptime = number("uptime_in_seconds").map(Duration::from_secs);
    facts.role = match field(info, "role") {
        Some("master") => Some(ServerRole::Primary),
        Some("slave") => Some(ServerRole::Replica),
        _ => None,
    };
    facts.replicas = number("connected_slaves");
    facts.clients = number("connected_clients");
    facts.operations_per_second = number("instantaneous_ops_per_sec");
    facts.memory_used = number("used_memory");
    facts.memory_peak = number("used_memory_peak");
    facts.memory_limit = number("maxmemory").filter(|limit| *limit > 0);
    facts.last_snapshot = number("rdb_last_save_time").and_then(since_1970);
    facts.changes_since_snapshot = number("rdb_changes_since_last_save");
    facts.snapshot_runs = flag("rdb_bgsave_in_progress");
    facts.rewrite_runs = flag("aof_rewrite_in_progress");
    facts
}

/// Which program it is. Valkey also says which Redis it is compatible with.
fn kind(info: &str) -> Option<ServerKind> {
    if field(info, "valkey_version").is_some() || field(info, "server_name") == Some("valkey") {
        return Some(ServerKind::Valkey);
    }
    field(info, "redis_version").map(|_| ServerKind::Redis)
}

/// The version of the server. Valkey began with 7.2, and its `redis_version` will not grow any
/// more.
fn version(info: &str) -> Option<&str> {
    field(info, "valkey_version").or_else(|| field(info, "redis_version"))
}

/// The policy of a server that may evict keys.
fn evicting(info: &str) -> Option<&str> {
    field(info, "maxmemory_policy")
        .filter(|policy| *policy != "noeviction" && field(info, "maxmemory") != Some("0"))
}

/// The value of a fact in the text of INFO.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim())
    })
}

fn parse_version(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().unwrap_or("0").parse().ok()?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, too_old) in [
            ("5.0.14", true),
            ("6.0.16", true),
            ("6.2.0", false),
            ("7.0.15", false),
            ("10.0", false),
        ] {
            assert_eq!(
                parse_version(version).unwrap() < OLDEST,
                too_old,
                "{version}"
            );
        }
        assert_eq!(parse_version("unknown"), None);
    }

    #[test]
    fn valkey_has_a_version_of_its_own() {
        let valkey =
            "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.3\r\n";
        assert_eq!(version(valkey), Some("8.1.3"));
        assert_eq!(
            version("redis_version:7.0.15\r\nredis_mode:standalone\r\n"),
            Some("7.0.15")
        );
        assert_eq!(version(""), None);
    }

    #[test]
    fn a_server_that_evicts_is_told_from_one_that_does_not() {
        let info = |max: u32, policy| format!("maxmemory:{max}\r\nmaxmemory_policy:{policy}\r\n");
        assert_eq!(evicting(&info(0, "allkeys-lru")), None);
        assert_eq!(evicting(&info(1, "noeviction")), None);
        assert_eq!(evicting(&info(1, "volatile-ttl")), Some("volatile-ttl"));
        assert_eq!(evicting(""), None);
    }

    #[test]
    fn what_a_server_tells_is_read() {
        // As Redis 7.0.15 writes it.
        let info = concat!(
            "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nuptime_in_seconds:86400\r\n",
            "# Clients\r\nconnected_clients:12\r\n",
            "# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\nused_memory_peak:2097152\r\n",
            "maxmemory:4194304\r\nmaxmemory_policy:allkeys-lru\r\n",
            "# Persistence\r\nloading:0\r\nrdb_changes_since_last_save:7\r\nrdb_bgsave_in_progress:0\r\n",
            "rdb_last_save_time:1795464480\r\nrdb_last_bgsave_status:ok\r\naof_enabled:1\r\n",
            "aof_rewrite_in_progress:1\r\naof_last_write_status:err\r\n",
            "# Stats\r\ninstantaneous_ops_per_sec:345\r\n",
            "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n",
        );
        let mut expected = ServerFacts::default();
        expected.eviction_policy = Some("allkeys-lru".into());
        expected.append_only = Some(true);
        expected.disk_fails = true;
        expected.kind = Some(ServerKind::Redis);
        expected.version = Some("7.0.15".into());
        expected.uptime = Some(Duration::from_secs(86_400));
        expected.role = Some(ServerRole::Primary);
        expected.replicas = Some(2);
        expected.clients = Some(12);
        expected.operations_per_second = Some(345);
        expected.memory_used = Some(1_048_576);
        expected.memory_peak = Some(2_097_152);
        expected.memory_limit = Some(4_194_304);
        let saved = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_464_480);
        expected.last_snapshot = Some(saved);
        expected.changes_since_snapshot = Some(7);
        expected.snapshot_runs = Some(false);
        expected.rewrite_runs = Some(true);
        assert_eq!(read(info), expected);
    }

    #[test]
    fn a_fact_in_a_form_that_nobody_knows_is_none() {
        for info in [
            "",
            "\r\n:\r\n::\r\n# Server",
            "used_memory:-1\r\nused_memory_peak:1.5\r\nmaxmemory:0\r\nconnected_clients:\r\n",
            "uptime_in_seconds:99999999999999999999999\r\nrdb_last_save_time:18446744073709551615\r\n",
            "role:sentinel\r\nconnected_slaves:none\r\naof_enabled:yes\r\ninstantaneous_ops_per_sec:1e9",
        ] {
            assert_eq!(read(info), ServerFacts::default(), "{info:?}");
        }
        let long = format!("redis_version:{}\r\n", "9".repeat(10_000));
        assert_eq!(read(&long).version.map(|version| version.len()), Some(64));
        let valkey = read("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.3\r\n");
        assert_eq!(valkey.kind, Some(ServerKind::Valkey));
        assert_eq!(valkey.version.as_deref(), Some("8.1.3"));
        assert_eq!(read("role:slave").role, Some(ServerRole::Replica));
    }
}

//! The kind of the server: checked when a connection opens, and returned on request.

use verk_core::log;

use bb8_redis::redis::{self, Value};
use verk_core::storage::{JobSet, ServerFacts};

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
    for section in ["memory", "persistence"] {
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
    let failed = |name| field(&info, name) == Some("err");
    Ok(ServerFacts {
        schedule_keys: link.keys.schedule(),
        elsewhere,
        eviction_policy: evicting(&info).map(str::to_owned),
        append_only: field(&info, "aof_enabled").map(|enabled| enabled == "1"),
        disk_fails: failed("rdb_last_bgsave_status") || failed("aof_last_write_status"),
    })
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

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
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
}

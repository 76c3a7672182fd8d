//! Redis Cluster and Valkey Cluster: finds the server that has the slot of all keys.

use std::{sync::Arc, time::Duration};

use bb8_redis::redis::{
    self, Client, Cmd, ConnectionInfo, ErrorKind, RedisResult, Value, from_redis_value,
    io::tcp::TcpSettings,
};

use crate::{
    connect::{
        directory::{self, Address, Directory},
        endpoint::invalid,
        tags,
        tls::Tls,
    },
    error::{Error, cut},
};

const DEFAULT_PORT: u16 = 6379;

/// A cluster, of which one slot has all keys.
pub(crate) struct Cluster {
    slot: u16,
    directory: Arc<Directory>,
}

/// The parts of a URL. They may be passwords, so `Debug` is only for tests.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(crate) struct ClusterUrl {
    /// A URL for each server that is asked.
    seeds: Vec<String>,
    /// A URL for the owner of the slot, with a meaningless host.
    owner: String,
    /// How many cells the keys are spread over, if the URL says so.
    pub(crate) cells: Option<usize>,
}

/// Parses `redis+cluster://user:password@host:port,host:port/?cells=16`; `None` for any other
/// scheme.
pub(crate) fn parse(url: &str) -> Option<RedisResult<ClusterUrl>> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.strip_suffix("+cluster")?;
    Some(match scheme {
        "redis" | "rediss" => take_apart(scheme, rest),
        _ => Err(invalid("before +cluster comes redis or rediss")),
    })
}

fn take_apart(scheme: &str, rest: &str) -> RedisResult<ClusterUrl> {
    let (rest, cells) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(cells_of(query)?)),
        None => (rest, None),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(path, "" | "0" | "0/") {
        return Err(invalid("a cluster has only the database 0"));
    }
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
        None => (String::new(), authority),
    };
    Ok(ClusterUrl {
        seeds: directory::urls(scheme, &credentials, hosts, DEFAULT_PORT),
        owner: format!("{scheme}://{credentials}owner"),
        cells,
    })
}

fn cells_of(query: &str) -> RedisResult<usize> {
    let number = query.strip_prefix("cells=").map(str::parse);
    match number {
        Some(Ok(cells)) => Ok(cells),
        Some(Err(_)) => Err(invalid("in ?cells=16, the number is a whole one")),
        None => Err(invalid("the query of a cluster is ?cells=16, or none")),
    }
}

/// The slot of all keys that begin with `prefix`, which must have a hash tag.
pub(crate) fn slot_of(prefix: &str) -> Result<u16, Error> {
    tags::slot_of(prefix).ok_or_else(|| Error::NoHashTag {
        prefix: cut(prefix),
    })
}

impl Cluster {
    pub(crate) fn new(
        url: &ClusterUrl,
        slot: u16,
        tls: Tls,
        tcp: &TcpSettings,
    ) -> RedisResult<Self> {
        Ok(Self {
            slot,
            directory: Arc::new(Directory::new(&url.seeds, &url.owner, tls, tcp)?),
        })
    }

    /// The same cluster, with another slot.
    pub(crate) fn with_slot(&self, slot: u16) -> Self {
        Self {
            slot,
            directory: Arc::clone(&self.directory),
        }
    }

    pub(crate) fn slot(&self) -> u16 {
        self.slot
    }

    /// The owner of the slot that most servers name.
    pub(crate) async fn find_owner(&self, patience: Duration) -> RedisResult<Client> {
        let read = |answer| owner(&ranges(answer)?, self.slot);
        self.directory
            .find(&question(), read, NOBODY, patience)
            .await
    }

    /// As [`find_owner`](Self::find_owner), of each of some slots; `None` for one that has none.
    pub(crate) async fn find_owners(
        &self,
        slots: &[u16],
        patience: Duration,
    ) -> RedisResult<Vec<Option<Address>>> {
        let read = |answer| {
            let ranges = ranges(answer)?;
            let owners = slots.iter().map(|slot| owner(&ranges, *slot).ok());
            Ok(owners.collect())
        };
        self.directory
            .find_each(&question(), read, NOBODY, patience)
            .await
    }

    /// The server at an address that others named.
    pub(crate) fn client(&self, address: &Address) -> RedisResult<Client> {
        self.directory.client(address.clone())
    }

    /// The server at an address of the form `host:port`, as a server of the cluster names it.
    pub(crate) fn server(&self, address: &str) -> RedisResult<Client> {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let port = port
            .parse()
            .map_err(|_| invalid("the address of a server has no port"))?;
        self.directory.client((host.to_owned(), port))
    }

    /// For messages.
    pub(crate) fn address(&self) -> String {
        let seeds = self.directory.addresses();
        format!("slot {} of the cluster {seeds}", self.slot)
    }

    /// How to connect to the owner, with a meaningless address.
    pub(crate) fn owner(&self) -> &ConnectionInfo {
        self.directory.named()
    }
}

const NOBODY: (ErrorKind, &str) = (ErrorKind::Io, "no server of the cluster names an owner");

fn question() -> Cmd {
    let mut question = redis::cmd("CLUSTER");
    question.arg("SLOTS");
    question
}

/// The ranges of slots in the answer.
fn ranges(answer: Value) -> RedisResult<Vec<Vec<Value>>> {
    Ok(from_redis_value(answer)?)
}

/// Finds the owner of a slot in the answer to `CLUSTER SLOTS`: ranges, each with its first and its
/// last slot, its primary, and replicas. The host is empty if it is the one that was asked.
fn owner(ranges: &[Vec<Value>], slot: u16) -> RedisResult<Address> {
    for range in ranges {
        let [first, last, primary, ..] = &range[..] else {
            continue;
        };
        let (Value::Int(first), Value::Int(last), Value::Array(primary)) = (first, last, primary)
        else {
            continue;
        };
        if !(*first..=*last).contains(&i64::from(slot)) {
            continue;
        }
        if let [host, Value::Int(port), ..] = &primary[..]
            && let Ok(port) = u16::try_from(*port)
        {
            let host: Option<String> = from_redis_value(host.clone())?;
            // Redis writes a question mark for a host that it does not know.
            let host = host.filter(|host| host != "?").unwrap_or_default();
            return Ok((host, port));
        }
    }
    let what = "it says that no server has the slot";
    Err((ErrorKind::Io, what, slot.to_string()).into())
}

#[cfg(test)]
mod tests {
    use bb8_redis::redis::parse_redis_value;

    use super::*;
    use crate::{RedisConfig, connect::endpoint::Endpoint};

    #[test]
    fn a_url_is_taken_apart() {
        let full = "redis+cluster://user:pa%40ss@one:1,[::1],three/";
        assert_eq!(
            parse(full).unwrap().unwrap(),
            ClusterUrl {
                seeds: vec![
                    "redis://user:pa%40ss@one:1".to_owned(),
                    "redis://user:pa%40ss@[::1]:6379".to_owned(),
                    "redis://user:pa%40ss@three:6379".to_owned(),
                ],
                owner: "redis://user:pa%40ss@owner".to_owned(),
                cells: None,
            }
        );
        let short = parse("rediss+cluster://[::1]:7/0").unwrap().unwrap();
        assert_eq!(short.seeds, ["rediss://[::1]:7"]);
        assert_eq!(short.owner, "rediss://owner");
        for url in [
            "redis+cluster://a,b?cells=16",
            "redis+cluster://a,b/?cells=16",
        ] {
            let url = parse(url).unwrap().unwrap();
            assert_eq!(url.seeds, ["redis://a:6379", "redis://b:6379"]);
            assert_eq!(url.cells, Some(16));
        }
    }

    #[test]
    fn other_urls_are_left_alone_and_wrong_ones_refused() {
        assert!(parse("redis://host/0").is_none());
        assert!(parse("redis+sentinel://host/main").is_none());
        assert!(parse("cluster").is_none());
        for url in [
            "http+cluster://host",
            "redis+cluster://host/1",
            "redis+cluster://host/main",
            "redis+cluster://host?db=1",
            "redis+cluster://host?",
            "redis+cluster://host?cells",
            "redis+cluster://host?cells=",
            "redis+cluster://host?cells=-1",
            "redis+cluster://host?cells=many",
            "redis+cluster://host?cells=1&cells=2",
        ] {
            assert!(parse(url).unwrap().is_err(), "{url}");
        }
        let config = RedisConfig::new("redis+cluster://").prefix("{shop}".to_owned());
        let error = Endpoint::new(&config).err().unwrap();
        assert!(matches!(error, Error::InvalidUrl { .. }), "{error}");
    }

    #[test]
    fn a_prefix_without_a_hash_tag_is_refused() {
        for prefix in ["", "shop", "shop{", "}shop{", "{}", "{}{shop}"] {
            let config = RedisConfig::new("redis+cluster://host").prefix(prefix.to_owned());
            let error = Endpoint::new(&config).err().unwrap();
            assert!(matches!(error, Error::NoHashTag { .. }), "{prefix}");
            assert!(error.to_string().contains("{shop}"), "{error}");
        }
    }

    #[test]
    fn the_owner_is_the_first_server_of_the_range() {
        let server = |host: &str, port| format!("*3\r\n{host}:{port}\r\n$2\r\nid\r\n");
        let replica = server("$8\r\nreplica1\r\n", 1);
        let slots = format!(
            "*3\r\n*4\r\n:0\r\n:99\r\n{}{replica}*3\r\n:100\r\n:100\r\n{}*3\r\n:101\r\n:9999\r\n{}",
            server("$3\r\none\r\n", 7),
            server("$-1\r\n", 8),
            server("$1\r\n?\r\n", 9),
        );
        let ranges = ranges(parse_redis_value(slots.as_bytes()).unwrap()).unwrap();
        let owner = |slot| owner(&ranges, slot);
        assert_eq!(owner(99).unwrap(), ("one".to_owned(), 7));
        assert_eq!(owner(100).unwrap(), (String::new(), 8));
        assert_eq!(owner(101).unwrap(), (String::new(), 9));
        let error = owner(10_000).unwrap_err().to_string();
        assert!(error.contains("no server has the slot"), "{error}");
    }

    #[test]
    fn any_answer_is_an_owner_or_an_error() {
        for answer in ["*0\r\n", "$-1\r\n", "*1\r\n*1\r\n:1\r\n", "*1\r\n:1\r\n"] {
            let answer = parse_redis_value(answer.as_bytes()).unwrap();
            assert!(ranges(answer).and_then(|ranges| owner(&ranges, 0)).is_err());
        }
    }
}

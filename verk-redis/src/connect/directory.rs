//! Servers that know the address of another one: [`Directory`].
//!
//! A connection asks once, and no answer is kept: when a broken connection is opened again, it asks
//! again.

use std::{collections::HashMap, time::Duration};

use bb8_redis::redis::{
    self, AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    RedisError, RedisResult, Value, aio::ConnectionLike, from_redis_value, io::tcp::TcpSettings,
};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::{
    connect::{
        endpoint::{parse, with_push_messages},
        tls::Tls,
    },
    error::cause::Cause,
};

/// A host and a port.
pub(crate) type Address = (String, u16);

/// Servers that are asked, and how to connect to the one that they name.
pub(crate) struct Directory {
    asked: Vec<Client>,
    /// Everything that is known of the named server, with a meaningless address.
    named: ConnectionInfo,
    tls: Tls,
}

/// Makes a URL of each host of `host:port,host`.
pub(crate) fn urls(scheme: &str, credentials: &str, hosts: &str, default_port: u16) -> Vec<String> {
    let urls = hosts.split(',').map(|host| {
        // Behind the brackets of an IPv6 address.
        let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let port = if has_port {
            String::new()
        } else {
            format!(":{default_port}")
        };
        format!("{scheme}://{credentials}{host}{port}")
    });
    urls.collect()
}

impl Directory {
    /// Of the URLs of the servers to ask, and one of the named server, whose host is meaningless.
    pub(crate) fn new(
        asked: &[String],
        named: &str,
        tls: Tls,
        tcp: &TcpSettings,
    ) -> RedisResult<Self> {
        let asked = asked.iter().map(|url| tls.client(parse(url, tcp)?));
        Ok(Self {
            asked: asked.collect::<RedisResult<_>>()?,
            named: with_push_messages(parse(named, tcp)?),
            tls,
        })
    }

    /// The server that most of those name that answer, because one that is cut off may still name
    /// an old one. All are asked at once, for no longer than `patience`. `read` finds the address
    /// in an answer; `nobody` is the error without any.
    pub(crate) async fn find(
        &self,
        question: &Cmd,
        read: impl Fn(Value) -> RedisResult<Address>,
        nobody: (ErrorKind, &'static str),
        patience: Duration,
    ) -> RedisResult<Client> {
        let read = |answer| Ok([Some(read(answer)?)]);
        let [named] = self.find_each(question, read, nobody, patience).await?;
        self.client(named.unwrap_or_default())
    }

    /// As [`find`](Self::find), for several servers: `read` finds in an answer the address of each
    /// that it names. The result has an address for each that one answer names.
    pub(crate) async fn find_each<A: AsMut<[Option<Address>]>>(
        &self,
        question: &Cmd,
        read: impl Fn(Value) -> RedisResult<A>,
        nobody: (ErrorKind, &'static str),
        patience: Duration,
    ) -> RedisResult<A> {
        let asked = self.asked.iter();
        let mut answers: FuturesUnordered<_> = asked
            .map(|server| ask(server, question, patience))
            .collect();
        let mut votes: Vec<HashMap<Address, usize>> = Vec::new();
        let mut named = None;
        let mut failures = Vec::new();
        while let Some((server, answer)) = answers.next().await {
            match answer.and_then(&read) {
                Ok(mut answer) => {
                    let addresses = answer.as_mut();
                    votes.resize_with(addresses.len(), HashMap::new);
                    for (votes, address) in votes.iter_mut().zip(addresses) {
                        let Some(address) = address else { continue };
                        if address.0.is_empty() {
                            address.0 = host(server).to_owned();
                        }
                        *votes.entry(address.clone()).or_default() += 1;
                    }
                    named = Some(answer);
                    let decided = |votes: &HashMap<Address, usize>| {
                        votes.values().any(|count| *count * 2 > self.asked.len())
                    };
                    if votes.iter().all(decided) {
                        break;
                    }
                }
                Err(error) => {
                    let addr = server.get_connection_info().addr();
                    let cause = Cause::of_connecting(error, Some(addr));
                    failures.push(format!("{}: {cause}", address_of(server)));
                }
            }
        }
        let Some(mut named) = named else {
            let (kind, what) = nobody;
            return Err(RedisError::from((kind, what, failures.join("; "))));
        };
        for (named, votes) in named.as_mut().iter_mut().zip(votes) {
            let most = votes.into_iter().max_by_key(|(_, count)| *count);
            *named = most.map(|(address, _)| address);
        }
        Ok(named)
    }

    /// A client of the server at an address; without a host, at that of the first that is asked.
    pub(crate) fn client(&self, (mut server, port): Address) -> RedisResult<Client> {
        if server.is_empty() {
            server = self.asked.first().map(host).unwrap_or_default().to_owned();
        }
        let addr = match self.named.addr() {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls {
                host: server,
                port,
                insecure: false,
                tls_params: None,
            },
            _ => ConnectionAddr::Tcp(server, port),
        };
        self.tls.client(self.named.clone().set_addr(addr))
    }

    /// Where those are that are asked, for messages.
    pub(crate) fn addresses(&self) -> String {
        let asked: Vec<_> = self.asked.iter().map(address_of).collect();
        asked.join(", ")
    }

    /// How to connect to the named server, with a meaningless address.
    pub(crate) fn named(&self) -> &ConnectionInfo {
        &self.named
    }

    /// How to connect to one of those that are asked. They share their user and password.
    pub(crate) fn asked(&self) -> Option<&ConnectionInfo> {
        self.asked.first().map(Client::get_connection_info)
    }
}

async fn ask<'a>(
    server: &'a Client,
    question: &Cmd,
    patience: Duration,
) -> (&'a Client, RedisResult<Value>) {
    // Two steps share the patience.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience / 2))
        .set_response_timeout(Some(patience / 2));
    let answer = async {
        let mut connection = server
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        question.query_async(&mut connection).await
    };
    (server, answer.await)
}

/// Refuses a server that is no primary (any more, or yet): others learn of that later than the
/// server itself.
pub(crate) async fn assert_primary(connection: &mut impl ConnectionLike) -> RedisResult<()> {
    // Unlike ROLE it needs no rights.
    let hello: Value = redis::cmd("HELLO").query_async(connection).await?;
    let hello: HashMap<String, Value> = from_redis_value(hello)?;
    let role = hello.get("role").cloned().map(from_redis_value::<String>);
    match role.transpose()?.as_deref() {
        Some("master") => Ok(()),
        role => Err(RedisError::from((
            ErrorKind::Io,
            "the server that was named is no primary",
            format!("it is {role:?}"),
        ))),
    }
}

fn host(client: &Client) -> &str {
    match client.get_connection_info().addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
        _ => "",
    }
}

fn address_of(client: &Client) -> String {
    client.get_connection_info().addr().to_string()
}

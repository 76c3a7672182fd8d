//! The proxy in front of a real server.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use verk_core::time::{Clock, SystemClock};

use super::*;
use crate::{
    resp::{self, Reply},
    within,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// A client that blocks its thread, and a server that can be asked for what really happened.
struct Setup {
    server: RedisServer,
    proxy: CuttingProxy,
}

impl Setup {
    fn start() -> Self {
        let server = RedisServer::start();
        let proxy = CuttingProxy::start(&server);
        Self { server, proxy }
    }

    fn connect(&self) -> UnixStream {
        let path = self.proxy.url().strip_prefix("redis+unix://").unwrap();
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    fn stored(&self, key: &str) -> Reply {
        self.server.command(&["GET", key])
    }
}

/// Sends commands at once and reads until `expected` has come, or the end.
fn exchange(stream: &mut UnixStream, commands: &[&[&str]], expected: &str) -> String {
    let sent: Vec<u8> = commands
        .iter()
        .flat_map(|args| resp::encode(args))
        .collect();
    stream.write_all(&sent).unwrap();
    let mut received = vec![0; expected.len()];
    let mut len = 0;
    while len < received.len() {
        match stream.read(&mut received[len..]) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(received[..len].to_vec()).unwrap()
}

#[test]
fn forwards_until_told_otherwise() {
    let setup = Setup::start();
    let mut stream = setup.connect();
    let expected = "+OK\r\n$1\r\n1\r\n";
    let commands: [&[&str]; 2] = [&["SET", "a", "1"], &["GET", "a"]];
    assert_eq!(exchange(&mut stream, &commands, expected), expected);
}

#[test]
fn a_port_is_forwarded_too() {
    let server = RedisServer::start();
    let proxy = CuttingProxy::start_tcp(&server);
    let address = proxy.url().strip_prefix("redis://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(&resp::encode(&["PING"])).unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

#[test]
fn a_lost_reply_is_done_and_not_answered() {
    let setup = Setup::start();
    let mut stream = setup.connect();
    setup
        .proxy
        .lose_reply(|command| command.name() == "SET" && command.mentions("marked"));
    let commands: [&[&str]; 3] = [&["SET", "a", "1"], &["SET", "b", "marked"], &["GET", "b"]];
    let received = exchange(&mut stream, &commands, "+OK\r\nmore");
    assert_eq!(received, "+OK\r\n", "what came before is delivered");
    assert_eq!(setup.stored("b"), Reply::Bulk("marked".into()));
    assert_eq!(setup.proxy.losses(), 1);

    let mut stream = setup.connect();
    let again: [&[&str]; 1] = [&["SET", "b", "marked again"]];
    assert_eq!(exchange(&mut stream, &again, "+OK\r\n"), "+OK\r\n");
}

#[test]
fn an_error_is_delivered_and_the_next_reply_lost() {
    let setup = Setup::start();
    let mut stream = setup.connect();
    setup.proxy.lose_reply(|command| command.mentions("script"));
    let wrong: [&[&str]; 1] = [&["EVALSHA", "script", "0"]];
    let answer = exchange(&mut stream, &wrong, "-NOSCRIPT");
    assert_eq!(answer, "-NOSCRIPT");
    let right: [&[&str]; 1] = [&["SET", "a", "script"]];
    stream.write_all(&resp::encode(right[0])).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("+OK"), "{rest}");
    assert_eq!(setup.stored("a"), Reply::Bulk("script".into()));
}

#[test]
fn a_reply_that_is_awaited_already_can_be_lost() {
    let setup = Setup::start();
    let mut stream = setup.connect();
    stream
        .write_all(&resp::encode(&[
            "BLMOVE", "from", "to", "LEFT", "LEFT", "0",
        ]))
        .unwrap();
    let blocked = crate::within::poll(DEADLINE, || {
        let info = setup.server.command(&["INFO", "clients"]).into_bytes()?;
        let info = String::from_utf8_lossy(&info).into_owned();
        info.contains("blocked_clients:1").then_some(())
    });
    assert_eq!(blocked, Some(()));

    setup.proxy.lose_reply(|command| command.name() == "BLMOVE");
    setup.server.command(&["RPUSH", "from", "job"]);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    assert_eq!(setup.server.command(&["LLEN", "to"]), Reply::Integer(1));
}

#[test]
fn a_lost_request_is_not_done() {
    let setup = Setup::start();
    let mut stream = setup.connect();
    setup
        .proxy
        .lose_request(|command| command.args().len() == 3);
    let commands: [&[&str]; 1] = [&["SET", "a", "1"]];
    assert_eq!(exchange(&mut stream, &commands, "+OK\r\n"), "");
    assert_eq!(setup.stored("a"), Reply::Nil);
    assert_eq!(setup.proxy.losses(), 1);
}

#[tokio::test]
async fn connections_are_cut_and_refused() {
    let setup = Setup::start();
    let ping: [&[&str]; 1] = [&["PING"]];
    let mut stream = setup.connect();
    assert_eq!(exchange(&mut stream, &ping, "+PONG\r\n"), "+PONG\r\n");

    setup.proxy.set_refusing(true);
    assert_eq!(exchange(&mut stream, &ping, "+PONG\r\n"), "+PONG\r\n");
    setup.proxy.cut();
    within(DEADLINE, setup.proxy.wait_for_connections(|open| open == 0)).await;
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(setup.connect().read(&mut [0; 8]).unwrap(), 0);

    setup.proxy.heal();
    let mut stream = setup.connect();
    assert_eq!(exchange(&mut stream, &ping, "+PONG\r\n"), "+PONG\r\n");
}

#[test]
fn a_vanished_connection_is_open_and_silent() {
    let setup = Setup::start();
    let mut stream = setup.connect();
    let ping: [&[&str]; 1] = [&["PING"]];
    assert_eq!(exchange(&mut stream, &ping, "+PONG\r\n"), "+PONG\r\n");

    setup.proxy.vanish();
    // What goes over a new connection is answered, so what went over the old one before would be
    // too.
    stream.write_all(&resp::encode(&["SET", "a", "1"])).unwrap();
    let mut new = setup.connect();
    assert_eq!(exchange(&mut new, &ping, "+PONG\r\n"), "+PONG\r\n");
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0; 8]);
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock, "open");
    assert_eq!(setup.stored("a"), Reply::Nil);

    setup.proxy.cut();
    stream.set_nonblocking(false).unwrap();
    assert_eq!(exchange(&mut stream, &[], "x"), "", "closed by the cut");
}

#[test]
fn a_delay_delays() {
    let setup = Setup::start();
    let delay = Duration::from_millis(30);
    setup.proxy.set_delay(delay);
    let mut stream = setup.connect();
    let sent_at = SystemClock.instant();
    let ping: [&[&str]; 1] = [&["PING"]];
    assert_eq!(exchange(&mut stream, &ping, "+PONG\r\n"), "+PONG\r\n");
    assert!(SystemClock.instant() >= sent_at + delay);
}

#[test]
fn ends_with_its_guard() {
    let setup = Setup::start();
    let mut stream = setup.connect();
    let ping: [&[&str]; 1] = [&["PING"]];
    assert_eq!(exchange(&mut stream, &ping, "+PONG\r\n"), "+PONG\r\n");
    let Setup { server, proxy } = setup;
    drop(proxy);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(server.command(&["PING"]), Reply::Status("PONG".into()));
}

#[test]
fn a_torn_reply_is_half_a_reply() {
    let setup = Setup::start();
    let mut client = setup.connect();
    setup.proxy.tear_reply(|command| command.name() == "SET");
    assert_eq!(
        exchange(&mut client, &[&["SET", "a", "1"]], "+OK\r\n"),
        "+O"
    );
    assert_eq!(setup.stored("a"), Reply::Bulk("1".into()));
    assert_eq!(setup.proxy.losses(), 1);
}

#[test]
fn the_address_can_lead_to_another_server() {
    let setup = Setup::start();
    let mut client = setup.connect();
    exchange(&mut client, &[&["SET", "a", "1"]], "+OK\r\n");
    let other = RedisServer::start();
    setup.proxy.lead_to(&other);
    assert_eq!(exchange(&mut client, &[], "x"), "", "cut");
    let mut client = setup.connect();
    let nothing = "$-1\r\n";
    assert_eq!(exchange(&mut client, &[&["GET", "a"]], nothing), nothing);
}

//! The traffic through a [`CuttingProxy`](super::CuttingProxy).

use std::{collections::VecDeque, io, pin::pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixListener, UnixStream},
    sync::watch,
};
use verk_core::time::{Clock, SystemClock};

use super::{Plan, ProxyState, RedisCommand};
use crate::resp::{self, Malformed, Reply};

#[derive(Debug)]
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }
}

/// Lets clients in until it is dropped.
pub(super) async fn serve(shared: Arc<ProxyState>, listener: Listener) {
    loop {
        let Ok(client) = listener.accept().await else {
            continue;
        };
        let ends = Ends {
            cuts: shared.cuts.subscribe(),
            vanishings: shared.vanishings.subscribe(),
        };
        if !shared.plan().refusing {
            tokio::spawn(connection(Arc::clone(&shared), client, ends));
        }
    }
}

/// What ends a connection from here.
struct Ends {
    cuts: watch::Receiver<u64>,
    vanishings: watch::Receiver<u64>,
}

/// Forwards for one client until one side ends, or a cut.
async fn connection(shared: Arc<ProxyState>, client: Box<dyn Stream>, mut ends: Ends) {
    let _open = Open::new(&shared.connections);
    let server = shared.server().clone();
    let Ok(server) = UnixStream::connect(server).await else {
        return;
    };
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = server.into_split();
    let in_flight = Mutex::new(VecDeque::new());
    // They hold both connections open until the end.
    let mut requests = pin!(forward_requests(
        &shared,
        &in_flight,
        from_client,
        to_server
    ));
    let mut replies = pin!(forward_replies(&shared, &in_flight, from_server, to_client));
    // How either side ended is of no interest: both connections close.
    let vanished = tokio::select! {
        biased;
        _ = ends.cuts.changed() => false,
        _ = ends.vanishings.changed() => true,
        _ = &mut requests => false,
        _ = &mut replies => false,
    };
    if vanished {
        // An error says that the proxy is gone.
        let _ = ends.cuts.changed().await;
    }
}

/// The commands of one connection that have no reply yet.
type InFlight = Mutex<VecDeque<RedisCommand>>;

async fn forward_requests(
    shared: &ProxyState,
    in_flight: &InFlight,
    mut client: impl AsyncRead + Unpin,
    mut server: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut received = BytesMut::new();
    while client.read_buf(&mut received).await? > 0 {
        let delay = shared.plan().delay;
        if !delay.is_zero() {
            let clock: &dyn Clock = &SystemClock;
            clock.sleep(delay).await;
        }
        while let Some((request, frame)) = next_frame(&mut received)? {
            let args = request.into_array().unwrap_or_default();
            let command = RedisCommand {
                args: args.into_iter().filter_map(Reply::into_bytes).collect(),
            };
            if Plan::takes(&mut shared.plan().lose_request, &command) {
                shared.count_loss();
                return Ok(());
            }
            in_flight.lock().push_back(command);
            server.write_all(&frame).await?;
        }
    }
    Ok(())
}

async fn forward_replies(
    shared: &ProxyState,
    in_flight: &InFlight,
    mut server: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut received = BytesMut::new();
    while server.read_buf(&mut received).await? > 0 {
        while let Some((reply, frame)) = next_frame(&mut received)? {
            let is_push = frame.starts_with(b">");
            let command = if is_push {
                None
            } else {
                in_flight.lock().pop_front()
            };
            if let Some(command) = &command
                && !matches!(reply, Reply::Error(_))
                && Plan::takes(&mut shared.plan().lose_reply, command)
            {
                shared.count_loss();
                return Ok(());
            }
            if let Some(command) = &command
                && !matches!(reply, Reply::Error(_))
                && Plan::takes(&mut shared.plan().tear_reply, command)
            {
                shared.count_loss();
                return client.write_all(&frame[..frame.len() / 2]).await;
            }
            client.write_all(&frame).await?;
        }
    }
    Ok(())
}

/// Takes the first whole value off `received`.
fn next_frame(received: &mut BytesMut) -> io::Result<Option<(Reply, Bytes)>> {
    match resp::parse(received) {
        Ok(Some((value, len))) => Ok(Some((value, received.split_to(len).freeze()))),
        Ok(None) => Ok(None),
        Err(Malformed) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Counts an open connection, until dropped.
struct Open<'a>(&'a watch::Sender<usize>);

impl<'a> Open<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

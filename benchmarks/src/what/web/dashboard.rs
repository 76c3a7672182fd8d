//! The dashboard, served on 127.0.0.1 by this process, and the browsers that look at it.

use std::{
    future,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net,
    runtime::{self, Runtime},
    task::JoinSet,
};
use verk::prelude::*;
use verk_web::{Access, Dashboard};

/// A page that does not come for so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A dashboard that is served until it is dropped.
pub(super) struct Served {
    runtime: Runtime,
    address: SocketAddr,
}

/// A page as it came.
pub(super) struct Loaded {
    pub(super) took: Duration,
    body: String,
}

impl Served {
    pub(super) fn start(url: &str) -> Result<Self> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(benchmark_harness::threads())
            .enable_all()
            .build()?;
        let (listener, dashboard) = runtime.block_on(async {
            // It runs no queue, so it registers no node.
            let verk = Verk::builder().redis(url).build().await?;
            let listener = net::TcpListener::bind("127.0.0.1:0").await?;
            anyhow::Ok((listener, Dashboard::new(verk.admin(), Access::open())))
        })?;
        let address = listener.local_addr()?;
        runtime.spawn(async {
            // When it ends, the next request fails.
            let _ = verk_web::serve(listener, dashboard, future::pending()).await;
        });
        Ok(Self { runtime, address })
    }

    /// Loads a page on a connection of its own.
    pub(super) fn load(&self, path: &str) -> Result<Loaded> {
        let began = Instant::now();
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(self.request(path, "close").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let took = began.elapsed();
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        let status = head.lines().next().unwrap_or_default();
        ensure!(status == "HTTP/1.1 200 OK", "{path}: {status}: {body}");
        Ok(Loaded {
            took,
            body: body.to_owned(),
        })
    }

    /// Opens browsers, which show live figures until they are dropped.
    pub(super) fn open_browsers(&self, count: usize) -> Browsers {
        let events = Arc::<AtomicU64>::default();
        let mut tabs = JoinSet::new();
        for _ in 0..count {
            let (address, request) = (self.address, self.request("/live", "keep-alive"));
            let events = Arc::clone(&events);
            let tab = async move {
                // A stream ends after a minute, and a browser opens it again.
                while watch(address, &request, &events).await.is_ok() {}
            };
            tabs.spawn_on(tab, self.runtime.handle());
        }
        Browsers { tabs, events }
    }

    fn request(&self, path: &str, connection: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\n\r\n",
            self.address
        )
    }
}

/// Reads one stream of figures to its end.
async fn watch(address: SocketAddr, request: &str, events: &AtomicU64) -> Result<()> {
    let mut stream = net::TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next_line().await?.unwrap_or_default();
    ensure!(status == "HTTP/1.1 200 OK", "/live: {status}");
    // The chunk that ends the answer is empty.
    while let Some(line) = lines.next_line().await? {
        match line.as_str() {
            "event: figures" => drop(events.fetch_add(1, Ordering::Relaxed)),
            "0" => break,
            _ => {}
        }
    }
    Ok(())
}

/// Open browsers: they close when this is dropped.
pub(super) struct Browsers {
    tabs: JoinSet<()>,
    events: Arc<AtomicU64>,
}

impl Browsers {
    /// How many figures they got so far, all together.
    pub(super) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Fails if one of them gets no more figures.
    pub(super) fn ensure_open(&mut self) -> Result<()> {
        ensure!(self.tabs.try_join_next().is_none(), "a live stream failed");
        Ok(())
    }
}

impl Loaded {
    /// The first link of the page that begins with `start`, and is what is looked for.
    pub(super) fn link(&self, start: &str, is_it: impl Fn(&str) -> bool) -> Result<String> {
        let links = self.body.split("href=\"").skip(1);
        let mut links = links.filter_map(|rest| rest.split('"').next());
        let link = links.find(|link| link.starts_with(start) && is_it(link));
        let link = link.with_context(|| format!("no link to {start}"))?;
        Ok(link.replace("&#38;", "&"))
    }
}

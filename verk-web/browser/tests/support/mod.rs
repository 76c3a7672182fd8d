//! A browser, a dashboard and a Redis, all of this test alone.

use std::{process::Stdio, time::Duration};

use fantoccini::{
    Client, ClientBuilder, Locator, elements::Element, wd::WebDriverCompatibleCommand,
};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
};
use url::{ParseError, Url};
use verk_core::{Verk, manage::Admin};
use verk_redis::{RedisConfig, RedisStorage};
use verk_testing::{RedisServer, within};
use verk_web::{Access, Dashboard};

/// How long a test waits for something to appear. It is an upper bound: nothing waits so long that
/// happens.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Browser {
    pub(crate) client: Client,
    pub(crate) storage: RedisStorage,
    pub(crate) admin: Admin,
    pub(crate) redis: RedisServer,
    address: String,
    _driver: Child,
}

impl Browser {
    pub(crate) async fn open() -> Self {
        Self::open_in("UTC").await
    }

    /// Opens a browser in this time zone.
    pub(crate) async fn open_in(zone: &str) -> Self {
        let redis = RedisServer::start();
        let storage = RedisStorage::connect(RedisConfig::new(redis.url()))
            .await
            .unwrap();
        let verk = Verk::builder()
            .storage(storage.clone())
            .build()
            .await
            .unwrap();
        let admin = verk.admin();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let dashboard = Dashboard::new(admin.clone(), Access::open()).show_args();
        tokio::spawn(verk_web::serve(listener, dashboard, std::future::pending()));
        let (driver, port) = driver(zone).await;
        let options = serde_json::json!({
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,1000"],
        });
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        Self {
            client,
            storage,
            admin,
            redis,
            address,
            _driver: driver,
        }
    }

    pub(crate) async fn goto(&self, path: &str) {
        self.client
            .goto(&format!("{}{path}", self.address))
            .await
            .unwrap();
    }

    /// Clicks what has this text, and waits until it is there to be clicked.
    pub(crate) async fn click(&self, tag: &str, text: &str) {
        let path = format!("//main//{tag}[contains(normalize-space(.), '{text}')]");
        let found = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::XPath(&path))
            .await;
        found.unwrap().click().await.unwrap();
    }

    /// Types into a field.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let field = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::Css(css))
            .await
            .unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Waits until the page shows a text.
    pub(crate) async fn shows(&self, text: &str) {
        let path = format!("//body[contains(normalize-space(.), '{text}')]");
        let found = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::XPath(&path))
            .await;
        assert!(
            found.is_ok(),
            "{text:?} is not on {}",
            self.client.source().await.unwrap()
        );
    }

    /// The name and the role by which a screen reader announces an element.
    pub(crate) async fn announced(&self, element: &Element) -> (String, String) {
        let of = async |what| {
            let element = element.element_id().to_string();
            let answer = self.client.issue_cmd(Computed { what, element }).await;
            answer.unwrap().as_str().unwrap_or_default().to_owned()
        };
        (of("computedlabel").await, of("computedrole").await)
    }

    /// Waits until a script returns `true`.
    pub(crate) async fn until(&self, script: &str) {
        within(PATIENCE, async {
            while self.run(script).await != true {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Waits until a process is shown, or none is. Redis does not say so by itself: it is asked.
    pub(crate) async fn has_processes(&self, some: bool) {
        within(PATIENCE, async {
            while self.admin.processes().await.unwrap().is_empty() == some {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Runs a script, and returns what it returns.
    pub(crate) async fn run(&self, script: &str) -> serde_json::Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }
}

/// Asks for what the tree of accessibility says of an element: `computedlabel` or `computedrole`.
#[derive(Debug)]
struct Computed {
    what: &'static str,
    element: String,
}

impl WebDriverCompatibleCommand for Computed {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!(
            "session/{session}/element/{}/{}",
            self.element, self.what
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::GET, None)
    }
}

/// A driver on a free port.
async fn driver(zone: &str) -> (Child, u16) {
    let mut driver = Command::new("chromedriver")
        .env("TZ", zone)
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("chromedriver is not installed: script/browser installs it");
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return (driver, port.trim_end_matches('.').parse().unwrap());
        }
    }
    panic!("chromedriver did not start");
}

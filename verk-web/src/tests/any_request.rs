//! Any request on any storage is answered, and no text of either becomes markup.
//!
//! `VERK_WEB_CASES=1000` tries more storages, and `VERK_WEB_CASE=7` the one of a failure alone.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    env,
    fmt::Write as _,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, Response, StatusCode, header},
};
use serde::de::IgnoredAny;
use tower::ServiceExt;
use verk_core::Verk;
use verk_testing::MemoryStorage;

use super::{
    accessible, fleet,
    html::{self, Document},
    random::Random,
};
use crate::{
    Access, Dashboard, Role, Visitor,
    routes::{self, Route},
    text,
};

/// How many storages are tried, and how many requests each gets; more until every route had an
/// answer that is none of a failure.
const CASES: u64 = 8;
const MAX_CASES: u64 = 100;
const REQUESTS: usize = 130;

/// How many links are followed in each.
const LINKS: usize = 40;

/// The most bytes of a page, and of an answer of the API: a list has at most 1 MiB of payloads.
const MAX_PAGE: usize = 1 << 20;
const MAX_JSON: usize = 16 << 20;

#[tokio::test]
async fn any_request_on_any_storage_is_answered() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse().unwrap());
    if let Some(one) = number("VERK_WEB_CASE") {
        return Case::new(one).await.run().await;
    }
    let cases = number("VERK_WEB_CASES").unwrap_or(CASES);
    let mut missing: BTreeSet<String> = routes::all().iter().map(name).collect();
    // A job in a queue cannot be requeued.
    missing.remove("POST /api/v1/queues/{queue}/jobs/{key}/requeue");
    let mut next = 0;
    while next < cases || !missing.is_empty() {
        assert!(
            next < cases.max(MAX_CASES),
            "no request was right for {missing:?}"
        );
        let mut case = Case::new(next).await;
        case.missing = missing;
        case.run().await;
        (missing, next) = (case.missing, next + 1);
    }
}

fn name(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

#[tokio::test]
async fn a_storage_that_fails_is_said_by_every_address() {
    for number in 0..2 {
        let mut case = Case::new(number).await;
        case.storage.faults().set_refusing(true);
        case.fails = true;
        case.run().await;
    }
}

/// A dashboard of a bad storage, and what its pages have shown so far.
struct Case {
    number: u64,
    random: Random,
    storage: MemoryStorage,
    router: Router,
    /// The path of its pages.
    base: String,
    links: Vec<Link>,
    routes: Vec<Route>,
    /// Keys of jobs in forms.
    keys: Vec<String>,
    queues: Vec<String>,
    /// The routes that had no answer yet but failures.
    missing: BTreeSet<String>,
    /// Whether the storage fails, so that a status above 500 is right.
    fails: bool,
}

/// The pages of the sets of jobs.
const SETS: [&str; 3] = ["scheduled", "retries", "dead"];

/// What an address that a page links to has in its place of each parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    names: Vec<(String, String)>,
    query: String,
}

impl Link {
    /// `None` for an address that is none of the routes.
    fn of(link: &str, routes: &[Route]) -> Option<Self> {
        let (path, query) = link.split_at(link.find('?').unwrap_or(link.len()));
        let asked: Vec<&str> = path.split('/').collect();
        let is_it = |route: &&Route| {
            let parts: Vec<&str> = route.path.split('/').collect();
            let same = |(part, asked): (&&str, &&str)| part.starts_with('{') || part == asked;
            parts.len() == asked.len() && parts.iter().zip(&asked).all(same)
        };
        let route = routes.iter().find(is_it)?;
        let parts = route.path.split('/').zip(&asked);
        let mut names: Vec<(String, String)> = parts
            .filter(|(part, _)| part.starts_with('{'))
            .map(|(part, name)| (part.to_owned(), (*name).to_owned()))
            .collect();
        // The API has the name of the set as a parameter.
        if let Some(set) = asked.get(1).filter(|name| SETS.contains(name)) {
            names.push(("{set}".to_owned(), (*set).to_owned()));
        }
        let query = query.to_owned();
        Some(Self { names, query })
    }

    fn name(&self, parameter: &str) -> Option<&str> {
        let mut names = self.names.iter();
        let found = names.find(|(name, _)| name == parameter);
        found.map(|(_, name)| name.as_str())
    }

    /// Whether it has a part of a route, if that is a parameter.
    fn has(&self, part: &str) -> bool {
        !part.starts_with('{') || self.name(part).is_some()
    }
}

/// Prints a request if a test fails while it is answered.
struct Current(String);

impl Drop for Current {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

impl Case {
    async fn new(number: u64) -> Self {
        let mut random = Random::new(number);
        let storage = MemoryStorage::default();
        let verk = Verk::builder().storage(storage.clone()).build();
        let admin = verk.await.unwrap().admin();
        let queues = fleet::fill(&storage, &admin, &mut random).await;
        let access = Access::by(|request| {
            let user = request.headers.get("x-user").map(|name| name.as_bytes());
            let user = user.map(String::from_utf8_lossy).unwrap_or_default();
            Some(Visitor::new(Role::Admin).named(user))
        });
        let mut dashboard = Dashboard::new(admin.clone(), access).title(random.name());
        let mut base = String::new();
        dashboard = match number % 3 {
            0 => dashboard.show_args(),
            1 => dashboard.redact(|job| job.args().replace('[', "<zq ")),
            _ => dashboard,
        };
        if number % 4 == 1 {
            dashboard = dashboard.and(random.text(), admin);
        }
        let mut router = dashboard.router();
        if number % 2 == 1 {
            router = Router::new().nest("/ops/verk", router);
            base += "/ops/verk";
        }
        let mut case = Self {
            number,
            random,
            storage,
            router,
            base,
            links: Vec::new(),
            routes: routes::all(),
            keys: Vec::new(),
            queues,
            missing: BTreeSet::new(),
            fails: false,
        };
        if number % 4 == 1 {
            let start = Request::get(&case.base).body(Body::empty()).unwrap();
            let first = case.ask(start).await;
            case.base = first.headers()[header::LOCATION]
                .to_str()
                .unwrap()
                .to_owned();
        }
        case
    }

    async fn run(&mut self) {
        if !self.fails {
            self.every_link_leads_to_a_page().await;
        }
        for _ in 0..REQUESTS {
            let number = self.route();
            let Some(request) = self.request(number) else {
                continue;
            };
            let method = request.method().clone();
            let uri = request.uri().to_string();
            let path = uri.strip_prefix(&self.base).unwrap_or(&uri).to_owned();
            let mut said = format!("VERK_WEB_CASE={}: {} {uri}", self.number, request.method());
            for (name, value) in request.headers() {
                let _ = write!(said, "\n{name}: {value:?}");
            }
            let current = Current(said);
            let answer = self.ask(request).await;
            if answer.status().as_u16() < 400 {
                let route = &self.routes[number];
                self.missing.remove(&format!("{method} {}", route.path));
            }
            self.check(&path, answer, method == Method::HEAD).await;
            drop(current);
        }
    }

    async fn ask(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// One of the routes, often one that had no answer yet.
    fn route(&mut self) -> usize {
        let number = self.random.below(self.routes.len());
        let is_missing = self.missing.contains(&name(&self.routes[number]));
        if is_missing || self.random.once_in(4) {
            number
        } else {
            self.random.below(self.routes.len())
        }
    }

    /// A request for a route, often with names and a query that a page has linked to; `None` if no
    /// server takes it.
    fn request(&mut self, number: usize) -> Option<Request<Body>> {
        let route = &self.routes[number];
        let random = &mut self.random;
        let mut uri = self.base.clone();
        let set = route
            .path
            .split('/')
            .nth(1)
            .filter(|name| SETS.contains(name));
        let fits = |link: &&Link| {
            let has_all = route.path.split('/').all(|part| link.has(part));
            has_all && (set.is_none() || link.name("{set}") == set)
        };
        let links: Vec<&Link> = self.links.iter().filter(fits).collect();
        let link = (!links.is_empty() && !random.once_in(4)).then(|| random.of(&links));
        let nested = !self.base.is_empty();
        let parts = route.path.split('/').skip(1);
        // axum does not serve a nested router at `/verk/`.
        for part in parts.filter(|part| !(nested && part.is_empty())) {
            uri.push('/');
            match link.and_then(|link| link.name(part)) {
                Some(name) => uri += name,
                None if part.starts_with('{') => uri += &random.part(),
                None => uri += part,
            }
        }
        if let Some(link) = link
            && random.once_in(2)
        {
            uri += &link.query;
        }
        if random.once_in(2) {
            uri.push(if uri.contains('?') { '&' } else { '?' });
            uri += &random.form(&self.keys);
        }
        let method = random.method(&route.method);
        let is_change = method == Method::POST;
        let mut request = Request::builder().method(method).uri(uri);
        if is_change && !random.once_in(20) {
            request = request.header("sec-fetch-site", "same-origin");
        }
        for _ in 0..random.below(3) {
            if let Some((name, value)) = random.header() {
                request = request.header(name, value);
            }
        }
        let body = match is_change {
            true => random.body(&route.path, &self.keys),
            false => Vec::new(),
        };
        request.body(Body::from(body)).ok()
    }

    async fn check(&mut self, path: &str, answer: Response<Body>, is_head: bool) {
        let status = answer.status().as_u16();
        assert!(status < 500 || (self.fails && status == 503), "{status}");
        let header = |name| {
            let value = answer.headers().get(name);
            value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        if let Some(to) = header(header::LOCATION) {
            let elsewhere = to.starts_with("//") || to.contains('\\');
            assert!(to.starts_with('/') && !elsewhere, "{to}");
            assert_eq!(html::as_a_browser_asks(&to), to);
        }
        let kind = header(header::CONTENT_TYPE).unwrap_or_default();
        if kind.starts_with("text/event-stream") {
            return;
        }
        let body = to_bytes(answer.into_body(), MAX_JSON).await.unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        if is_head || (300..400).contains(&status) {
            assert_eq!(text, "", "{status}");
        } else if path.starts_with("/api/") {
            let is_json = kind == "application/json" || kind == "application/problem+json";
            assert!(is_json, "{kind}: {text}");
            // A value may be deeper than most parsers allow.
            serde_json::from_str::<IgnoredAny>(text).unwrap();
        } else if !path.starts_with("/assets/") || status >= 400 {
            assert_eq!(kind, "text/html; charset=utf-8", "{text}");
            assert!(text.len() < MAX_PAGE, "{} bytes", text.len());
            self.page(text);
        }
    }

    /// Checks a page, and learns its links and keys.
    fn page(&mut self, text: &str) -> Document {
        let page = Document::read(text).unwrap_or_else(|problem| panic!("{problem}"));
        accessible::check(&page).unwrap_or_else(|problem| panic!("{problem}"));
        for link in page.links() {
            assert!(
                link.starts_with(['/', '#']) && !link.starts_with("//"),
                "{link}"
            );
            assert_eq!(html::as_a_browser_asks(link), link);
        }
        for link in page.links() {
            let link = link.strip_prefix(&self.base);
            let link = link.and_then(|link| Link::of(link, &self.routes));
            self.links
                .extend(link.filter(|link| !self.links.contains(link)));
        }
        let keys = page
            .all("input")
            .filter(|input| input.get("name") == Some("job"));
        let keys = keys.filter_map(|input| input.get("value"));
        self.keys.extend(keys.map(str::to_owned));
        page
    }

    /// Follows links from the overview, as a browser does. Every one leads to a page, and every
    /// queue has one.
    async fn every_link_leads_to_a_page(&mut self) {
        let mut headings = HashSet::new();
        let mut followed = HashSet::new();
        let mut links = VecDeque::from([format!("{}/queues", self.base)]);
        while let Some(link) = links.pop_front() {
            if followed.len() == LINKS || !followed.insert(link.clone()) {
                continue;
            }
            let request = Request::get(html::as_a_browser_asks(&link));
            let current = Current(format!("VERK_WEB_CASE={}: {link}", self.number));
            let answer = self.ask(request.body(Body::empty()).unwrap()).await;
            // The process of a node may not be shown.
            let may_be_gone = link.contains("/processes/");
            assert!(
                may_be_gone || answer.status() == StatusCode::OK,
                "{}",
                answer.status()
            );
            let body = to_bytes(answer.into_body(), MAX_PAGE).await.unwrap();
            let page = self.page(std::str::from_utf8(&body).unwrap());
            headings.extend(page.all("h1").map(|heading| heading.text.clone()));
            let here = page.all("a").filter_map(|link| link.get("href"));
            let here = here.filter(|link| link.starts_with(&format!("{}/", self.base)));
            links.extend(here.map(str::to_owned));
            drop(current);
        }
        for name in &self.queues {
            let heading = text::visible(name);
            assert!(
                headings.contains(&heading),
                "{name:?} is not among {headings:?}"
            );
        }
    }
}

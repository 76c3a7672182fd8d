//! What an operator does with the dashboard, in a real browser, and what Redis then has.

mod support;

use std::time::{Duration, UNIX_EPOCH};

use fantoccini::{Locator, key::Key};
use verk_core::{
    Job, Verk,
    storage::{JobSet, JobStore, Source, WaitingStore},
};
use verk_redis::{RedisConfig, RedisStorage};

use crate::support::Browser;

const DEAD: Source = Source::Set(JobSet::Dead);

/// The pages that need no name in their address.
const PAGES: [&str; 13] = [
    "/",
    "/queues",
    "/dead",
    "/retries",
    "/scheduled",
    "/running",
    "/processes",
    "/nodes",
    "/metrics",
    "/doctor",
    "/redis",
    "/tasks",
    "/audit",
];

fn queue(name: &str) -> Source {
    Source::Queue(name.parse().unwrap())
}

/// Puts dead jobs into the storage.
async fn bury(browser: &Browser, jobs: &[(&str, &str, &str)]) {
    for (jid, class, error) in jobs {
        let job = format!(
            r#"{{"class":"{class}","jid":"{jid}","queue":"default","args":["{jid}@example.com"],"retry_count":3,"failed_at":1700000000.0,"error_class":"Io","error_message":"{error}"}}"#
        );
        browser
            .storage
            .enqueue(&"source".parse().unwrap(), &[job.into()])
            .await
            .unwrap();
    }
    let buried = browser
        .admin
        .queue("source")
        .unwrap()
        .select()
        .kill()
        .await
        .unwrap();
    assert_eq!(buried, jobs.len());
}

#[tokio::test]
async fn a_queue_is_paused_and_resumed_with_a_reason() {
    let browser = Browser::open().await;
    browser
        .storage
        .enqueue(&"mailers".parse().unwrap(), &["{}".into()])
        .await
        .unwrap();
    browser.goto("/queues").await;
    browser.click("a", "mailers").await;
    browser.fill("#reason", "the mail server is down").await;
    browser.click("button", "Pause everywhere").await;
    browser.shows("The queue is paused on all nodes.").await;
    browser.shows("the mail server is down").await;
    assert_eq!(browser.admin.paused_queues().await.unwrap().len(), 1);
    browser.click("button", "Resume").await;
    browser.shows("The queue runs again on all nodes.").await;
    assert!(browser.admin.paused_queues().await.unwrap().is_empty());
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn a_queue_whose_name_browsers_remove_from_a_path_has_a_page() {
    let browser = Browser::open().await;
    browser
        .storage
        .enqueue(&"..".parse().unwrap(), &["{}".into()])
        .await
        .unwrap();
    browser.goto("/queues").await;
    browser.click("a", "..").await;
    browser.shows("1 job in queue ..").await;
    browser.click("button", "Pause everywhere").await;
    browser.shows("The queue is paused on all nodes.").await;
    assert_eq!(browser.admin.paused_queues().await.unwrap().len(), 1);
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn a_failed_job_is_found_by_a_text_and_shown() {
    let browser = Browser::open().await;
    bury(
        &browser,
        &[
            ("ada", "Charge", "timeout"),
            ("bob", "Charge", "card declined"),
        ],
    )
    .await;
    browser.goto("/dead").await;
    browser.fill("#text", "bob@example.com").await;
    browser.click("button", "Show").await;
    browser.shows("Looked at 2 of 2 jobs").await;
    browser.click("a", "Charge").await;
    browser.shows("Io: card declined").await;
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn chosen_jobs_run_again() {
    let browser = Browser::open().await;
    bury(
        &browser,
        &[
            ("a", "Charge", "x"),
            ("b", "Charge", "x"),
            ("c", "Charge", "x"),
        ],
    )
    .await;
    browser.goto("/dead").await;
    let boxes = browser
        .client
        .find_all(Locator::Css("input[name=job]"))
        .await
        .unwrap();
    for chosen in &boxes[..2] {
        chosen.click().await.unwrap();
    }
    browser.shows("2 selected").await;
    browser.click("button", "Run now").await;
    browser.shows("2 jobs moved to their queues.").await;
    assert_eq!(browser.storage.len(&DEAD).await.unwrap(), 1);
    assert_eq!(browser.storage.len(&queue("source")).await.unwrap(), 2);
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn all_that_match_are_deleted_after_a_question() {
    let browser = Browser::open().await;
    bury(
        &browser,
        &[
            ("a", "Charge", "x"),
            ("b", "Resize", "x"),
            ("c", "Resize", "x"),
        ],
    )
    .await;
    browser.goto("/dead?class=Resize").await;
    browser
        .client
        .find(Locator::Css("input[name=scope]"))
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
    browser.click("button", "Delete…").await;
    browser.shows("There is no undo").await;
    assert_eq!(browser.storage.len(&DEAD).await.unwrap(), 3);
    browser.click("button", "Delete 2 jobs").await;
    browser.shows("2 jobs deleted.").await;
    assert_eq!(browser.storage.len(&DEAD).await.unwrap(), 1);
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn a_figure_changes_without_a_reload() {
    let browser = Browser::open().await;
    browser
        .storage
        .enqueue(&"q".parse().unwrap(), &["{}".into()])
        .await
        .unwrap();
    browser.goto("/queues/q").await;
    browser.run("window.sameDocument = true").await;
    let more: Vec<_> = (0..41).map(|_| "{}".into()).collect();
    browser
        .storage
        .enqueue(&"q".parse().unwrap(), &more)
        .await
        .unwrap();
    let shown = "//strong[@data-live='queue:waiting:q' and text()='42']";
    browser
        .client
        .wait()
        .for_element(Locator::XPath(shown))
        .await
        .unwrap();
    assert_eq!(browser.run("return window.sameDocument").await, true);
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn times_are_shown_in_the_zone_of_the_browser() {
    // Half past five hours before UTC, in summer and winter.
    let browser = Browser::open_in("Asia/Kolkata").await;
    browser
        .storage
        .enqueue(
            &"source".parse().unwrap(),
            &[r#"{"class":"Charge","jid":"1","args":[]}"#.into()],
        )
        .await
        .unwrap();
    let source = browser.admin.queue("source").unwrap();
    let due = UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    source.select().reschedule(due).await.unwrap();
    browser.goto("/scheduled").await;
    browser.shows("2096-10-02 12:36:40").await;
    let title = "return document.querySelector('main time[data-local]').title";
    assert_eq!(browser.run(title).await, "2096-10-02 07:06:40 UTC");
    browser.shows("Times in Asia/").await;

    // The field of a filter has that zone too, before and after it is sent.
    browser
        .run("document.getElementById('since').value = '2096-10-02T12:36'")
        .await;
    browser.click("button", "Show").await;
    browser.shows("Looked at 1 of 1 job").await;
    let query = "return new URLSearchParams(location.search).get('since')";
    assert_eq!(browser.run(query).await, "2096-10-02T07:06:00");
    let field = "return document.getElementById('since').value";
    assert_eq!(browser.run(field).await, "2096-10-02T12:36");
    browser
        .run("document.getElementById('since').value = '2096-10-02T12:37'")
        .await;
    browser.click("button", "Show").await;
    browser.shows("No job in the scheduled set has").await;
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn times_stay_true_while_a_page_is_live() {
    let browser = Browser::open_in("Asia/Kolkata").await;
    bury(&browser, &[("a", "Charge", "x")]).await;
    browser.goto("/dead").await;
    browser
        .until("return document.querySelector('td time[data-age]').title != ''")
        .await;
    // What an update brings is shown as the rest is.
    browser
        .run(
            "document.querySelector('td time[data-age]').textContent = 'old';
             const time = document.createElement('time');
             time.dateTime = '2096-10-02T07:06:40Z';
             time.dataset.local = '';
             document.querySelector('main').append(time);",
        )
        .await;
    browser.shows("2096-10-02 12:36:40").await;
    browser.until("return /^(now|\\d+ s ago|1 min.*)$/.test(document.querySelector('td time[data-age]').textContent)").await;
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn a_process_is_stopped() {
    let browser = Browser::open().await;
    let storage = RedisStorage::connect(RedisConfig::new(browser.redis.url()))
        .await
        .unwrap();
    let node = Verk::builder()
        .storage(storage)
        .queue("default", 1)
        .build()
        .await
        .unwrap();
    node.start().unwrap();
    browser.has_processes(true).await;
    browser.goto("/processes").await;
    browser.click("th/a", "").await;
    browser.click("button", "Stop").await;
    browser.shows("The process was asked to stop.").await;
    // It ends with its next report.
    browser.has_processes(false).await;
    drop(node);
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn the_keyboard_is_enough() {
    let browser = Browser::open().await;
    bury(&browser, &[("a", "Charge", "x")]).await;
    browser.goto("/dead").await;
    let focused = "return document.activeElement.id || document.activeElement.className";
    let body = browser.client.find(Locator::Css("body")).await.unwrap();
    body.send_keys(&Key::Tab.to_string()).await.unwrap();
    assert_eq!(browser.run(focused).await, "skip");
    // The first field of the page.
    body.send_keys("/").await.unwrap();
    assert_eq!(browser.run(focused).await, "class");
    let class = browser.client.active_element().await.unwrap();
    class
        .send_keys(&format!("Charge{}", char::from(Key::Enter)))
        .await
        .unwrap();
    browser.shows("Looked at 1 of 1 job").await;
    let chosen = browser
        .client
        .find(Locator::Css("input[name=job]"))
        .await
        .unwrap();
    chosen.send_keys(" ").await.unwrap();
    browser.shows("1 selected").await;
    browser.client.clone().close().await.unwrap();
}

/// Every page of the navigation, and one of each kind that these link to.
async fn pages(browser: &Browser) -> Vec<String> {
    let mut pages: Vec<String> = PAGES.map(str::to_owned).to_vec();
    for (list, link) in [
        ("/queues", "/queues/"),
        ("/dead", "/dead/"),
        ("/queues/q", "/jobs/"),
    ] {
        browser.goto(list).await;
        let script = format!(
            "return [...document.querySelectorAll('main a')].map((link) => link.pathname + link.search)
                .find((path) => path.includes('{link}'))"
        );
        pages.push(browser.run(&script).await.as_str().unwrap().to_owned());
    }
    pages.push("/no/page".to_owned());
    pages
}

#[tokio::test]
async fn a_screen_reader_has_a_name_for_every_control() {
    let browser = Browser::open().await;
    bury(&browser, &[("a", "Charge", "x"), ("b", "Resize", "y")]).await;
    let job = r#"{"class":"Welcome","jid":"1","queue":"q","args":[]}"#;
    let queue = "q".parse().unwrap();
    browser
        .storage
        .enqueue(&queue, &[job.into()])
        .await
        .unwrap();
    let mut seen = 0;
    for path in pages(&browser).await {
        browser.goto(&path).await;
        let controls =
            Locator::Css("a, button, input, select, summary, progress, table, nav, main, section");
        for control in browser.client.find_all(controls).await.unwrap() {
            if !control.is_displayed().await.unwrap() {
                continue;
            }
            let (name, role) = browser.announced(&control).await;
            let html = control.html(false).await.unwrap();
            // The main part is the only one of its kind.
            assert!(
                !name.is_empty() || role == "main",
                "{path}: a {role} without a name: {html}"
            );
            assert!(
                !matches!(&*role, "generic" | "none"),
                "{path}: {role}: {html}"
            );
            seen += 1;
        }
    }
    assert!(seen > 300, "{seen}");
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn the_focus_stays_while_figures_change() {
    let browser = Browser::open().await;
    let queue = "q".parse().unwrap();
    browser
        .storage
        .enqueue(&queue, &["{}".into()])
        .await
        .unwrap();
    browser.goto("/queues").await;
    browser.run("document.querySelector('th a').focus()").await;
    let more: Vec<_> = (0..41).map(|_| "{}".into()).collect();
    browser.storage.enqueue(&queue, &more).await.unwrap();
    browser
        .until(
            "return document.querySelector('[data-live=\"queue:waiting:q\"]').textContent == '42'",
        )
        .await;
    assert_eq!(
        browser
            .run("return document.activeElement.textContent")
            .await,
        "q"
    );
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn no_page_scrolls_sideways_on_a_narrow_screen() {
    let browser = Browser::open().await;
    bury(
        &browser,
        &[(
            "a",
            "A::Class::With::A::Very::Long::Name::Indeed",
            "an error message that is long enough to wrap",
        )],
    )
    .await;
    let long = Job::new(
        "Welcome",
        "a-queue-with-a-very-long-name-that-nobody-would-choose"
            .parse()
            .unwrap(),
        "[]".to_owned(),
    )
    .unwrap();
    let queue = long.queue().unwrap().clone();
    browser
        .storage
        .enqueue(&queue, &[long.encode()])
        .await
        .unwrap();
    browser.client.set_window_size(500, 900).await.unwrap();
    for path in PAGES {
        browser.goto(path).await;
        let sideways = browser.run("return document.scrollingElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(sideways, 0, "{path}");
    }
    browser.client.clone().close().await.unwrap();
}

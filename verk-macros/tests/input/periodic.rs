#[verk::worker(
    queue = "reports",
    cron(
        "0 7 * * MON-FRI",
        tz = "Europe/Berlin",
        overlap = "queue_one",
        catch_up = "all",
        within = "1h",
        splay = "30s",
        args = (7, "weekday")
    ),
    cron(every = "10m", args = (8, kind()), name = "often"),
    cron("@daily", args = (9, "daily"))
)]
async fn report(user: u64, tick: Option<Tick>, kind: String) {}

#[verk::worker(unique(
    by = (kind, r#type),
    until = done_or("1d 500ms"),
    on_conflict = "replace",
    hold_when_dead = "2h",
    across_queues
))]
async fn sync_all(r#type: u64, State(pool): State<Pool>, note: String, kind: String) {}

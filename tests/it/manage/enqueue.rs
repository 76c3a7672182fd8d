//! Jobs that an operator enqueues by the name of their class.

use verk::EnqueueExt as _;

use super::*;

/// Is never run.
#[verk::worker(queue = "mailers", max_retry_count = 3)]
async fn operated(email: String, #[arg(default = seven)] times: u32) {
    drop((email, times));
}

fn seven() -> u32 {
    7
}

#[tokio::test]
async fn a_worker_reads_the_arguments_and_gives_its_options() {
    for shared in storages().await {
        let admin = &shared.one;
        let class = admin
            .workers()
            .into_iter()
            .find(|worker| worker.class().ends_with("Operated"));
        let class = class.unwrap().class();
        let job = admin.job(class, r#"["ada"]"#).unwrap();
        let jid = admin.enqueue(job).await.unwrap();
        let entry = admin.queue("mailers").unwrap().find(&jid).await.unwrap();
        let entry = entry.unwrap();
        let job = entry.job().unwrap();
        assert_eq!(job.args(), r#"["ada",7]"#);
        assert_eq!(job.get("retry"), Some("3"));

        for args in ["", "{}", "[]", "[1]", r#"["ada",-1]"#, r#"["ada",1,2]"#] {
            assert!(admin.job(class, args).is_err(), "{args}");
        }
        let moved = admin.job(class, r#"["ada"]"#).unwrap().queue("other");
        admin.enqueue(moved).await.unwrap();
        assert_eq!(admin.queue("other").unwrap().count().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_class_of_another_program_is_enqueued_as_it_is() {
    for shared in storages().await {
        let admin = &shared.one;
        assert!(admin.worker("Mailers::Welcome").is_none());
        let args = r#"[12345678901234567890.10,{"b":1,"a":2}]"#;
        let job = admin.job("Mailers::Welcome", args).unwrap();
        let jid = admin.enqueue(job).await.unwrap();
        let entry = admin.queue("default").unwrap().find(&jid).await.unwrap();
        assert_eq!(entry.unwrap().job().unwrap().args(), args);
        for args in ["", "{}", "[1", "1"] {
            let job = admin.job("Mailers::Welcome", args).unwrap();
            assert!(admin.enqueue(job).await.is_err(), "{args}");
        }
    }
}

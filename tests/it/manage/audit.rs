//! What operators did is kept, logged and published.

use verk::{Event, EventKind, manage::AuditEntry, storage::Page};

use super::storages;
use crate::support::{Fixture, Logged};

const NEWEST: Page = Page {
    offset: 0,
    limit: 10,
};

fn pause(who: &str) -> AuditEntry {
    AuditEntry::new("pause")
        .by(who)
        .on("queue default")
        .filter("text=4111-1111")
        .count(1)
}

#[tokio::test]
async fn an_action_is_an_entry_a_line_and_an_event() {
    let mut it = Fixture::new().await;
    let (log, _guard) = Logged::capture();
    let admin = it.verk.admin();
    admin.record_action(pause("ada")).await.unwrap();
    it.storage.faults().set_refusing(true);
    admin.record_action(pause("bob")).await.unwrap_err();
    it.storage.faults().set_refusing(false);
    let of_a_client = it.verk.client().admin();
    of_a_client.record_action(pause("eve")).await.unwrap();

    for who in ["ada", "bob"] {
        let told = it
            .wait_for(|Event { what, .. }| match what {
                EventKind::OperatorActed {
                    who,
                    action,
                    target,
                    count,
                } => Some((who.unwrap(), action, target.unwrap(), count)),
                _ => None,
            })
            .await;
        let expected = (who.into(), "pause".into(), "queue default".into(), Some(1));
        assert_eq!(told, expected);
    }
    for who in ["ada", "bob", "eve"] {
        assert_eq!(log.lines_with(&["an operator acted", "pause", who]), 1);
    }
    assert_eq!(log.lines_with(&["4111-1111"]), 0, "a filter is not logged");

    let entries = admin.audit(NEWEST).await.unwrap();
    let who: Vec<_> = entries.iter().map(|entry| entry.who.as_deref()).collect();
    assert_eq!(who, [Some("eve"), Some("ada")], "the newest first");
    assert_eq!(entries[0].filter.as_deref(), Some("text=4111-1111"));
    it.verk.shutdown().await;
}

#[tokio::test]
async fn actions_of_all_programs_are_in_one_list() {
    for shared in storages().await {
        let (one, other) = (&shared.one, &shared.other);
        one.record_action(pause("ada")).await.unwrap();
        other.record_action(AuditEntry::new("stop")).await.unwrap();
        shared
            .storage
            .record_action(&"no entry".into())
            .await
            .unwrap();
        for admin in [one, other] {
            let entries = admin.audit(NEWEST).await.unwrap();
            let actions: Vec<_> = entries.iter().map(|entry| &entry.action[..]).collect();
            assert_eq!(actions, ["stop", "pause"]);
            assert!(entries[0].at >= entries[1].at);
        }
    }
}

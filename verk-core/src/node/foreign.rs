//! `inprogress` lists that belong to no registered node: reported, never touched.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use crate::{
    error::StorageError,
    log,
    services::Services,
    storage::{ForeignList, Storage},
};

/// How many parts of the storage a node scans when it starts.
const PAGES_AT_START: usize = 100;

/// How many lists the log names.
const NAMED: usize = 10;

/// All foreign lists in the first `max_pages` parts of the storage, by name, and whether that was
/// all of it.
pub(crate) async fn read(
    storage: &dyn Storage,
    max_pages: usize,
) -> Result<(Vec<ForeignList>, bool), StorageError> {
    let mut found = BTreeMap::new();
    let mut next = Some(0);
    for _ in 0..max_pages {
        let Some(cursor) = next else { break };
        let page = storage.foreign_lists(cursor).await?;
        found.extend(page.lists.into_iter().map(|list| (list.key, list.jobs)));
        next = page.next;
    }
    let lists = found
        .into_iter()
        .map(|(key, jobs)| ForeignList { key, jobs })
        .collect();
    Ok((lists, next.is_none()))
}

/// Warns of foreign lists, once.
pub(crate) async fn warn(services: &Services, stop: &CancellationToken) {
    let found = tokio::select! {
        () = stop.cancelled() => return,
        found = read(&*services.storage, PAGES_AT_START) => found,
    };
    match found {
        Ok((lists, complete)) => {
            for ForeignList { key, jobs } in lists.iter().take(NAMED) {
                log::warn!(
                    key,
                    jobs,
                    "jobs are in progress on a node that is not registered: nobody restores them unless that node comes back"
                );
            }
            if lists.len() > NAMED || !complete {
                log::warn!(
                    found = lists.len(),
                    "there may be more such lists: `Admin::foreign_lists` returns all of them"
                );
            }
        }
        Err(error) => log::warn!(
            error = %error,
            "cannot look for jobs of nodes that are not registered"
        ),
    }
}

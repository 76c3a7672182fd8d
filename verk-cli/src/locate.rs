//! Finds one job: [`locate`].

use verk_core::manage::{Admin, Entry, EntryKey, Found};

use crate::{args::PlaceArg, failure::Failure};

/// Finds a job by its id, or by its key `SCORE-JID`, in a place or everywhere.
pub(crate) async fn locate(
    admin: &Admin,
    jid: &str,
    place: Option<&PlaceArg>,
) -> Result<Found, Failure> {
    if let Some(found) = by_key(admin, jid, place).await? {
        return Ok(Found::Waiting(found));
    }
    let found = match place {
        Some(place) => place.jobs(admin)?.find(jid).await?.map(Found::Waiting),
        None => admin.find_job(jid).await?,
    };
    found.ok_or_else(|| {
        let place = place.map_or_else(String::new, |place| format!(" {}", place.phrase()));
        Failure::not_found(format!(
            "there is no job {jid}{place}: it succeeded, moved or was deleted, or it never existed"
        ))
    })
}

/// A key is found without a search.
async fn by_key(
    admin: &Admin,
    text: &str,
    place: Option<&PlaceArg>,
) -> Result<Option<Entry>, Failure> {
    let Ok(key) = text.parse::<EntryKey>() else {
        return Ok(None);
    };
    let all = [PlaceArg::Dead, PlaceArg::Retries, PlaceArg::Scheduled];
    let places = place.map_or(&all[..], std::slice::from_ref);
    for place in places {
        if let Some(entry) = place.jobs(admin)?.entry_at(&key).await? {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

//! The entries of the timetable that the workers of a program declare.

use crate::{error::ConfigError, timetable::Declared, worker::registry::Registry};

/// What the workers of these classes declare. Reports what cannot be declared.
#[cfg(feature = "cron")]
pub(crate) fn declared(
    registry: &Registry,
    is_wanted: impl Fn(&str) -> bool,
    errors: &mut Vec<ConfigError>,
) -> Declared {
    use std::collections::BTreeMap;

    let mut entries = BTreeMap::new();
    let mut places: BTreeMap<&str, &str> = BTreeMap::new();
    let workers = registry
        .workers()
        .filter(|worker| is_wanted(worker.class()));
    for worker in workers {
        for periodic in worker.options().cron {
            let refused = |reason: String| ConfigError::Periodic {
                name: periodic.name.to_owned(),
                location: worker.location(),
                reason,
            };
            if let Some(first) = places.insert(periodic.name, worker.location()) {
                errors.push(refused(format!("there is one of this name at {first}")));
            }
            match definition(worker, periodic) {
                Ok(definition) => {
                    entries.insert(periodic.name.to_owned(), definition);
                }
                Err(reason) => errors.push(refused(reason)),
            }
        }
    }
    Declared::new(entries)
}

#[cfg(feature = "cron")]
fn definition(
    worker: &crate::worker::WorkerEntry,
    periodic: &crate::timetable::periodic::Periodic,
) -> Result<crate::timetable::definition::Definition, String> {
    use std::time::SystemTime;

    use verk_cron::Schedule;

    use crate::{
        names::check_entry_name,
        timetable::{
            definition::{Definition, Origin, Policies},
            periodic::Timing,
        },
    };

    check_entry_name(periodic.name).map_err(|error| error.to_string())?;
    let schedule = match periodic.timing {
        Timing::Cron { expression, zone } => Schedule::cron(expression, zone),
        Timing::Every(period) => Schedule::every(period),
    };
    let schedule = schedule.map_err(|error| error.to_string())?;
    let args = (periodic.args)().map_err(|error| error.to_string())?;
    let job = worker.job(&args).map_err(|error| error.to_string())?;
    let unique = job.unique.as_deref().copied();
    let job = job.job.map_err(|error| error.to_string())?;
    let policies = Policies {
        overlap: periodic.overlap,
        catch_up: periodic.catch_up,
        within: periodic.within,
        splay: periodic.splay,
    };
    // The storage's time replaces the anchor when the entry is stored.
    let anchor = SystemTime::UNIX_EPOCH;
    Definition::new(
        &schedule,
        policies,
        Origin::Static,
        anchor,
        job,
        unique.as_ref(),
    )
    .map_err(|error| error.to_string())
}

/// Without the feature `cron`, nothing is declared.
/// Without the feature, the macro refuses a declaration.
#[cfg(not(feature = "cron"))]
pub(crate) fn declared(
    _: &Registry,
    _: impl Fn(&str) -> bool,
    _: &mut Vec<ConfigError>,
) -> Declared {
    Declared::default()
}

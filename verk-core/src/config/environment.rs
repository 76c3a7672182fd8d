//! The settings of the environment: reads variables, and remembers what is wrong with them.

use std::{collections::BTreeMap, ffi::OsString, time::Duration};

use serde::de::{DeserializeOwned, IntoDeserializer as _, value::Error as ValueError};

use crate::{
    config::{FIELDS, OF_BACKENDS, log_level::LogLevel},
    error::ConfigError,
    names::QueueName,
};

/// The environment variable of a field.
pub(crate) fn variable(field: &str) -> String {
    format!("VERK_{}", field.to_uppercase())
}

/// Reads variables, and remembers what is wrong with them.
#[derive(Debug)]
pub(crate) struct Vars {
    vars: BTreeMap<String, OsString>,
    pub(crate) errors: Vec<ConfigError>,
}

impl Vars {
    pub(crate) fn new(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok()?;
            name.starts_with("VERK_").then_some((name, value))
        };
        Self {
            vars: vars.into_iter().filter_map(ours).collect(),
            errors: Vec::new(),
        }
    }

    /// What `parse` makes of a variable that is there. `None` from it is a mistake.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        accepted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.vars.get(name)?;
        let parsed = value.to_str().and_then(parse);
        if parsed.is_none() {
            let value = format!("{value:?}");
            self.errors
                .push(ConfigError::invalid(name, value, accepted));
        }
        parsed
    }

    pub(crate) fn number<T: std::str::FromStr>(&mut self, name: &str, target: &mut T) {
        let parse = |value: &str| value.parse().ok();
        if let Some(number) = self.read(name, "a whole number, not negative", parse) {
            *target = number;
        }
    }

    pub(crate) fn milliseconds(&mut self, name: &str, target: &mut Duration) {
        let parse = |value: &str| value.parse().ok().map(Duration::from_millis);
        if let Some(time) = self.read(name, "a whole number of milliseconds", parse) {
            *target = time;
        }
    }

    pub(crate) fn seconds(&mut self, name: &str, target: &mut Duration) {
        let parse = |value: &str| value.parse().ok().map(Duration::from_secs);
        if let Some(time) = self.read(name, "a whole number of seconds", parse) {
            *target = time;
        }
    }

    pub(crate) fn text(&mut self, name: &str, target: &mut Option<String>) {
        if let Some(text) = self.read(name, "text in UTF-8", |value| Some(value.to_owned())) {
            *target = Some(text);
        }
    }

    pub(crate) fn list(&mut self, name: &str, target: &mut Vec<String>) {
        if let Some(list) = self.read(name, "texts in UTF-8, separated by commas", |value| {
            Some(entries(value).map(str::to_owned).collect())
        }) {
            *target = list;
        }
    }

    pub(crate) fn log_level(&mut self, name: &str, target: &mut LogLevel) {
        if let Some(level) = self.read(name, LogLevel::ACCEPTED, |value| value.parse().ok()) {
            *target = level;
        }
    }

    /// One of a few words, in any case.
    pub(crate) fn choice<T: DeserializeOwned>(
        &mut self,
        name: &str,
        accepted: &str,
        target: &mut T,
    ) {
        let parse = |value: &str| -> Result<T, ValueError> {
            T::deserialize(value.to_ascii_lowercase().into_deserializer())
        };
        if let Some(choice) = self.read(name, accepted, |value| parse(value).ok()) {
            *target = choice;
        }
    }

    pub(crate) fn switch(&mut self, name: &str) -> Option<bool> {
        self.read(name, "true or false", |value| match value {
            "true" => Some(true),
            "false" | "" => Some(false),
            _ => None,
        })
    }

    pub(crate) fn queues(&mut self, name: &str, target: &mut BTreeMap<QueueName, usize>) {
        let accepted = "QUEUE:CONCURRENCY, separated by commas, each queue once, such as default:25,priority:10";
        if let Some(queues) = self.read(name, accepted, queues) {
            *target = queues;
        }
    }

    /// The variables that no field has.
    pub(crate) fn unknown(&self) -> Vec<String> {
        let of_backends = variable(OF_BACKENDS);
        let known = |name: &&String| {
            name.starts_with(&of_backends) || FIELDS.iter().any(|field| variable(field) == **name)
        };
        let names = self.vars.keys();
        names.filter(|name| !known(name)).cloned().collect()
    }
}

/// The entries of a list that is separated by commas.
pub(crate) fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

pub(crate) fn queues(value: &str) -> Option<BTreeMap<QueueName, usize>> {
    let mut queues = BTreeMap::new();
    for entry in entries(value) {
        // The last colon: a queue's name may hold others.
        let (queue, concurrency) = entry.rsplit_once(':')?;
        let queue = QueueName::new(queue.trim()).ok()?;
        if queues
            .insert(queue, concurrency.trim().parse().ok()?)
            .is_some()
        {
            return None;
        }
    }
    Some(queues)
}

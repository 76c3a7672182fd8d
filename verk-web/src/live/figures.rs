//! The texts that change while a page is shown, by the place where they are: [`Figures`].

use std::{collections::BTreeMap, time::SystemTime};

use serde::Serialize;
use verk_core::{QueueName, manage::Overview};

use super::history::{self, History, Rates};
use crate::{svg, text};

/// The texts by the value of `data-live`, and the lines by that of `data-live-points`. A page shows
/// these same texts when it is loaded.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Figures(BTreeMap<String, String>);

/// The width and the height of the line of a queue.
const LINE: (f64, f64) = (58.0, 22.0);

/// The name of a figure of a queue.
fn queue_key(queue: &QueueName, figure: &str) -> String {
    format!("queue:{figure}:{queue}")
}

impl Figures {
    pub(super) fn of(
        at: SystemTime,
        overview: &Overview,
        rates: &Rates,
        history: &History,
    ) -> Self {
        let Overview {
            stats,
            queues,
            processes,
            ..
        } = overview;
        let (running, permits) = overview.running();
        let unless = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        let mut figures = Self::default();
        // So that the script keeps ages true.
        figures.set("now", text::rfc3339(at));
        figures.set("nav:queues", text::count(queues.len()));
        figures.set("nav:running", text::count(running));
        figures.set("nav:processes", text::count(processes.len()));
        figures.set("running", text::count(running));
        figures.set("permits", text::count(permits));
        figures.set("nav:scheduled", text::count(stats.scheduled));
        figures.set("nav:retries", text::count(stats.retry));
        figures.set("nav:dead", text::count(stats.dead));

        figures.set("rate", unless(rates.all.map(text::number)));
        let percent = |share: f64| format!("{} %", text::number(share * 100.0));
        figures.set("failed", unless(rates.failed_share.map(percent)));
        figures.set("processed:total", text::count(stats.processed));
        figures.set("failed:total", text::count(stats.failed));
        figures.set("waiting", text::count(stats.enqueued()));
        let oldest = history::oldest(queues);
        figures.set("oldest", unless(oldest.map(|(_, age)| text::duration(age))));
        let in_queue = oldest.map_or_else(
            || "no job waits".to_owned(),
            |(queue, _)| format!("in {queue}"),
        );
        figures.set("oldest:queue", in_queue);
        for (name, values) in history.lines() {
            figures.set(name, svg::points(values, 120.0, 28.0));
        }
        for queue in queues {
            let mut set = |figure, text| figures.set(&queue_key(&queue.queue, figure), text);
            set("waiting", text::count(queue.enqueued));
            set(
                "oldest",
                match queue.enqueued {
                    0 => "–".to_owned(),
                    _ => text::duration(queue.latency),
                },
            );
            let running = text::count(queue.running);
            set(
                "running",
                match queue.concurrency {
                    0 => running,
                    permits => format!("{running} / {}", text::count(permits)),
                },
            );
            set("rate", unless(rates.of(&queue.queue).map(text::number)));
            let line = history.line(&queue.queue);
            set("line", svg::points_at(line, LINE.0, LINE.1));
        }
        figures
    }

    /// Those that differ from `before`, or are not in it.
    pub(super) fn since(&self, before: &Self) -> Self {
        let changed = self.0.iter();
        let changed = changed.filter(|(name, text)| before.0.get(*name) != Some(*text));
        let changed = changed.map(|(name, text)| (name.clone(), text.clone()));
        Self(changed.collect())
    }

    fn set(&mut self, name: &str, text: String) {
        self.0.insert(name.to_owned(), text);
    }

    /// The text of a figure; nothing if it is not known.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The text of a figure of a queue.
    pub(crate) fn of_queue(&self, queue: &QueueName, figure: &str) -> &str {
        self.get(&queue_key(queue, figure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_what_has_changed() {
        let figures = |pairs: &[(&str, &str)]| {
            let mut figures = Figures::default();
            for (name, text) in pairs {
                figures.set(name, (*text).to_owned());
            }
            figures
        };
        let before = figures(&[("same", "1"), ("other", "1"), ("gone", "1")]);
        let after = figures(&[("same", "1"), ("other", "2"), ("new", "1")]);
        let changed = after.since(&before);
        assert_eq!(changed.0, figures(&[("other", "2"), ("new", "1")]).0);
        assert_eq!(after.since(&Figures::default()).0, after.0);
    }
}

//! A page of the jobs in one place: [`JobList`].

use verk_core::{
    manage::{Cursor, Entry, Listed, Query},
    storage::Order,
};

use super::{filter, reader::Part};
use crate::args::PlaceArg;

/// The jobs of a queue or a set, a page at a time: as many as the screen has rows.
#[derive(Debug)]
pub(super) struct JobList {
    pub(super) place: PlaceArg,
    at: Option<Cursor>,
    /// The number of the page, as the person turned them.
    pub(super) number: usize,
    /// What was read last, and with which cursor.
    page: Option<(Option<Cursor>, Listed)>,
}

impl JobList {
    pub(super) fn new(place: PlaceArg) -> Self {
        Self {
            place,
            at: None,
            number: 1,
            page: None,
        }
    }

    /// What has to be read to show it.
    pub(super) fn part(&self, text: &str, rows: usize) -> Part {
        let query = Query::new()
            .order(self.order())
            .limit(rows)
            .filter(filter::of_jobs(text))
            .at(self.at);
        Part::List {
            place: self.place.clone(),
            query,
            is_search: !text.trim().is_empty(),
        }
    }

    /// What died last is what people look for.
    pub(super) fn order(&self) -> Order {
        match self.place {
            PlaceArg::Dead => Order::NewestFirst,
            PlaceArg::Queue(_) | PlaceArg::Retries | PlaceArg::Scheduled => Order::OldestFirst,
        }
    }

    pub(super) fn update(&mut self, page: Listed) {
        self.page = Some((self.at, page));
    }

    /// `None` until it was read.
    pub(super) fn page(&self) -> Option<&Listed> {
        self.page.as_ref().map(|(_, page)| page)
    }

    pub(super) fn entries(&self) -> &[Entry] {
        self.page().map_or(&[], |page| &page.entries)
    }

    /// Turns to the next page. Returns whether there is one.
    pub(super) fn next(&mut self) -> bool {
        let Some(next) = self.turned().and_then(|page| page.next) else {
            return false;
        };
        self.at = Some(next);
        self.number += 1;
        true
    }

    /// Turns to the page before. Returns whether there is one.
    pub(super) fn previous(&mut self) -> bool {
        let Some(previous) = self.turned().and_then(|page| page.previous) else {
            return false;
        };
        self.number = self.number.saturating_sub(1).max(1);
        // The page before the second one may be no whole page.
        self.at = (self.number > 1).then_some(previous);
        true
    }

    /// Turns to the first page.
    pub(super) fn first(&mut self) {
        (self.at, self.number) = (None, 1);
    }

    /// The page, unless another one is being read.
    fn turned(&self) -> Option<&Listed> {
        let (at, page) = self.page.as_ref()?;
        (*at == self.at).then_some(page)
    }
}

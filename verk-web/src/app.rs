//! What all requests for one storage share: [`App`].

use std::{ops::Deref, sync::Arc};

use axum::http::request::Parts;
use tokio::sync::Mutex;
use verk_core::{
    StorageError,
    manage::{Admin, ExecutionCache, ExecutionHistory, ExecutionRange},
};

use crate::{
    access::Access,
    checkup::Checkups,
    dashboard::Settings,
    groups::Groups,
    live::{Events, Poller},
    tasks::Tasks,
    url::{self, Base},
};

/// The dashboard of one storage.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) admin: Admin,
    pub(crate) access: Access,
    pub(crate) settings: Settings,
    /// Which of `siblings` this is.
    pub(crate) instance: Option<Sibling>,
    /// All instances, for the switch between them; empty for a single one.
    pub(crate) siblings: Vec<Sibling>,
    pub(crate) poller: Arc<Poller>,
    pub(crate) events: Arc<Events>,
    pub(crate) checkups: Arc<Checkups>,
    pub(crate) tasks: Tasks,
    pub(crate) groups: Groups,
    /// Who holds it reads; the others wait, and read what is new.
    pub(crate) executions: Mutex<ExecutionCache>,
}

/// One of several instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sibling {
    pub(crate) name: String,
    /// Where its pages are, below the dashboard: `/i/NAME`.
    pub(crate) path: String,
}

impl Sibling {
    /// An instance beside `others`, whose paths differ from its own.
    pub(crate) fn new(name: &str, others: &[Self]) -> Self {
        // A route of axum: braces are parameters there, and a slash separates.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let plain = name.chars().map(|c| if is_plain(c) { c } else { '-' });
        let mut part: String = plain.collect();
        let path = |part: &str| format!("/i/{}", url::part(part));
        let is_taken = |part: &str| others.iter().any(|other| other.path == path(part));
        while part.is_empty() || is_taken(&part) {
            part += &others.len().to_string();
        }
        Self {
            name: if name.is_empty() {
                "first".to_owned()
            } else {
                name.to_owned()
            },
            path: path(&part),
        }
    }
}

impl App {
    pub(crate) fn new(
        admin: Admin,
        access: Access,
        settings: Settings,
        instance: Option<Sibling>,
        siblings: Vec<Sibling>,
    ) -> Self {
        Self(Arc::new(Inner {
            poller: Arc::new(Poller::new(admin.clone())),
            events: Arc::new(Events::new(admin.clone(), settings.payloads.clone())),
            checkups: Arc::new(Checkups::new(admin.clone())),
            tasks: Tasks::default(),
            groups: Groups::new(),
            executions: Mutex::default(),
            admin,
            access,
            settings,
            instance,
            siblings,
        }))
    }

    /// Where these pages are. A path that the program set is that of all instances.
    pub(crate) fn base(&self, request: &Parts) -> Base {
        let instance = self.instance.as_ref();
        let instance = instance.map_or("", |instance| &instance.path);
        Base::of(request, self.settings.base_path.as_deref(), instance)
    }

    /// How often and how long the jobs of each class ran: what has ended is read once an hour for
    /// all visitors.
    pub(crate) async fn executions(
        &self,
        range: &ExecutionRange,
    ) -> Result<ExecutionHistory, StorageError> {
        self.executions.lock().await.read(&self.admin, range).await
    }
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

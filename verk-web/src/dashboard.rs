//! What is shown, to whom, and how: [`Dashboard`].

use std::{fmt, sync::Arc};

use axum::{Router, response::Redirect, routing};
use verk_core::{Job, manage::Admin};

use crate::{
    access::Access,
    app::{App, Sibling},
    payloads::Payloads,
    routes,
    url::Base,
};

/// The settings of a dashboard. [`router`](Self::router) makes it.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use verk_core::Verk;
/// # use verk_testing::MemoryStorage;
/// # let eu = Verk::builder().storage(MemoryStorage::default()).build().await?.admin();
/// # let us = Verk::builder().storage(MemoryStorage::default()).build().await?.admin();
/// use verk_web::{Access, Dashboard};
///
/// let dashboard = Dashboard::new(eu, Access::read_only())
///     .title("production, eu")
///     .and("us", us)
///     .show_args();
/// let app: axum::Router = axum::Router::new().nest("/verk", dashboard.router());
/// # drop(app);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
#[must_use = "a dashboard is shown once its `router()` is served"]
pub struct Dashboard {
    instances: Vec<(String, Admin)>,
    pub(crate) access: Access,
    settings: Settings,
}

/// The settings that all instances share.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) title: Option<String>,
    pub(crate) payloads: Payloads,
    pub(crate) base_path: Option<String>,
}

impl Dashboard {
    /// Makes the dashboard of one storage.
    pub fn new(admin: Admin, access: Access) -> Self {
        Self {
            instances: vec![(String::new(), admin)],
            access,
            settings: Settings::default(),
        }
    }

    /// Sets the line below the name in the corner, such as `production, eu`. With several
    /// instances, it is also the name of the first.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.settings.title = Some(title.into());
        self
    }

    /// Adds another storage (another Redis, or another prefix): each page then has a switch between
    /// them, and each has its own address, `/i/NAME`.
    pub fn and(mut self, name: impl Into<String>, admin: Admin) -> Self {
        self.instances.push((name.into(), admin));
        self
    }

    /// Shows the arguments of jobs to everybody who may see the pages. Without it they are hidden,
    /// and nobody can search for them.
    pub fn show_args(mut self) -> Self {
        if let Payloads::Hidden = self.settings.payloads {
            self.settings.payloads = Payloads::Shown;
        }
        self
    }

    /// Shows the arguments of jobs as `redact` writes them, and hides the payload. If it panics,
    /// the arguments are hidden.
    ///
    /// ```
    /// # use verk_web::Dashboard;
    /// # fn set(dashboard: Dashboard) -> Dashboard {
    /// dashboard.redact(|job| match job.class() {
    ///     "Charge" => "[hidden]".to_owned(),
    ///     _ => job.args().to_owned(),
    /// })
    /// # }
    /// ```
    pub fn redact(mut self, redact: impl Fn(&Job) -> String + Send + Sync + 'static) -> Self {
        self.settings.payloads = Payloads::Redacted(Arc::new(redact));
        self
    }

    /// Sets the path under which browsers reach the dashboard, such as `/ops/verk`, for a proxy
    /// that removes it. Defaults to where the router is nested, after the header
    /// `X-Forwarded-Prefix` of a proxy.
    pub fn base_path(mut self, path: impl Into<String>) -> Self {
        self.settings.base_path = Some(path.into());
        self
    }

    /// Returns the pages and the API. Nest it: `app.nest("/verk", dashboard.router())`.
    pub fn router(self) -> Router {
        let Self {
            mut instances,
            access,
            settings,
        } = self;
        if instances.len() == 1
            && let Some((_, admin)) = instances.pop()
        {
            let app = App::new(admin, access, settings, None, Vec::new());
            return routes::router(app);
        }
        if let (Some((name, _)), Some(title)) = (instances.first_mut(), &settings.title) {
            name.clone_from(title);
        }
        let mut siblings: Vec<Sibling> = Vec::new();
        for (name, _) in &instances {
            let sibling = Sibling::new(name, &siblings);
            siblings.push(sibling);
        }
        let mut router = Router::new();
        for (at, (_, admin)) in siblings.iter().zip(instances) {
            let app = App::new(
                admin,
                access.clone(),
                settings.clone(),
                Some(at.clone()),
                siblings.clone(),
            );
            router = router.nest(&at.path, routes::router(app));
        }
        let first = siblings
            .first()
            .map_or_else(String::new, |first| first.path.clone());
        let base = settings.base_path;
        router.route(
            "/",
            routing::get(async move |parts: axum::http::request::Parts| {
                let base = Base::of(&parts, base.as_deref(), "");
                Redirect::to(&format!("{base}{first}"))
            }),
        )
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.instances.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Dashboard")
            .field("instances", &names)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

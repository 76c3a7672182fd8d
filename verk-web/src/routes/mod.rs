//! Every address of the dashboard, with the role that it needs.
//!
//! A handler gets no request that the [guard] has not checked: a route cannot be
//! added without a role.

use std::convert::Infallible;

use axum::{
    Router,
    handler::Handler,
    http::Method,
    middleware,
    routing::{self, MethodFilter, MethodRouter},
};

use crate::{access::Role, api, app::App, assets, guard, live, pages};

/// An address, what it does, and who may do it.
pub(crate) struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests walk all routes"))]
    pub(crate) method: Method,
    /// As axum writes it: `{name}` is one part of the path.
    pub(crate) path: String,
    pub(crate) role: Role,
    handler: MethodRouter<App, Infallible>,
}

impl Route {
    /// A page that everybody sees who may see the dashboard.
    pub(crate) fn get<H, T>(path: impl Into<String>, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self {
            method: Method::GET,
            path: path.into(),
            role: Role::View,
            handler: routing::get(handler),
        }
    }

    /// A change.
    pub(crate) fn post<H, T>(path: impl Into<String>, role: Role, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self {
            method: Method::POST,
            path: path.into(),
            role,
            handler: routing::on(MethodFilter::POST, handler),
        }
    }
}

/// All routes.
pub(crate) fn all() -> Vec<Route> {
    let mut routes = vec![
        Route::get("/assets/{file}", assets::show),
        Route::get("/live", live::figures),
    ];
    routes.extend(pages::routes());
    routes.extend(api::routes());
    routes
}

/// The routes as a router, each behind the guard.
pub(crate) fn router(app: App) -> Router {
    let check = |role| middleware::from_fn_with_state((app.clone(), role), guard::check);
    let mut router = Router::new();
    for Route {
        path,
        role,
        handler,
        ..
    } in all()
    {
        router = router.route(&path, handler.layer(check(role)));
    }
    let nothing = routing::any(guard::nothing_here).layer(check(Role::View));
    router
        .fallback_service(nothing.with_state(app.clone()))
        .with_state(app)
}

#[cfg(test)]
mod tests;

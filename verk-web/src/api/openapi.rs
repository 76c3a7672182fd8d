//! The description of the API: `GET /api/v1/openapi.json`.

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};

use crate::{context::Context, routes::Route};

/// Written by hand; a test compares its addresses with the routes.
const DOCUMENT: &str = include_str!("openapi.json");

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/api/v1/openapi.json", show)]
}

async fn show(_: Context) -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                described.insert(format!("{} /api/v1{path}", method.to_uppercase()));
            }
        }
        if !cfg!(feature = "cron") {
            described.retain(|route| !route.contains("/api/v1/cron"));
        }
        let routes = crate::routes::all();
        let routes = routes
            .iter()
            .filter(|route| route.path.starts_with("/api/"));
        let routes: BTreeSet<String> = routes
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        assert_eq!(described, routes);
    }

    #[test]
    fn every_change_names_its_role() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        for route in crate::routes::all() {
            let Some(path) = route.path.strip_prefix("/api/v1") else {
                continue;
            };
            let method = route.method.as_str().to_lowercase();
            let described = &document["paths"][path][&method];
            assert_eq!(
                described["x-role"],
                route.role.to_string(),
                "{method} {path}"
            );
            for part in path.split('/').filter(|part| part.starts_with('{')) {
                let name = part.trim_matches(['{', '}']);
                let parameters = described["parameters"].as_array().unwrap();
                let has =
                    |parameter: &Value| parameter["name"] == name && parameter["in"] == "path";
                assert!(parameters.iter().any(has), "{method} {path}: {name}");
            }
        }
    }
}

//! What a handler knows of a request: [`Context`].

use std::{convert::Infallible, fmt::Display, str::FromStr};

use axum::{
    extract::{FromRequestParts, RawQuery},
    http::request::Parts,
};

use crate::{
    access::{Role, Visitor},
    app::App,
    failure::Failure,
    url::Base,
};

/// The request of a visitor, and the dashboard that it is for.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) app: App,
    /// Who it is. The guard has checked the role of the route before.
    pub(crate) visitor: Visitor,
    /// Where these pages are.
    pub(crate) base: Base,
    /// The query of the address.
    pub(crate) query: Params,
}

impl Context {
    pub(crate) fn may(&self, role: Role) -> bool {
        self.visitor.role >= role
    }

    /// Where a list continues, as the address says.
    pub(crate) fn cursor<C: FromStr<Err: Display>>(&self) -> Result<Option<C>, Failure> {
        let cursor = self.query.get("at").map(str::parse);
        cursor
            .transpose()
            .map_err(|error: C::Err| Failure::bad(error.to_string()))
    }
}

impl FromRequestParts<App> for Context {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let RawQuery(query) = RawQuery::from_request_parts(parts, app).await?;
        let visitor = parts.extensions.get::<Visitor>().cloned();
        Ok(Self {
            app: app.clone(),
            visitor: visitor.unwrap_or_else(|| Visitor::new(Role::View)),
            base: app.base(parts),
            query: Params::parse(query.as_deref().unwrap_or_default().as_bytes()),
        })
    }
}

/// The names and values of a query or a form, in their order. Names may come more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The most values that are read; a browser's form of 100 rows has less.
    const MAX: usize = 1_000;

    pub(crate) fn parse(encoded: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(encoded).take(Self::MAX);
        Self(
            pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    pub(crate) fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The first value of `name` that is not empty, without spaces around it.
    pub(crate) fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name)
            .map(str::trim)
            .find(|value| !value.is_empty())
    }

    /// All values of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let with_name = self.0.iter().filter(move |(key, _)| key == name);
        with_name.map(|(_, value)| value.as_str())
    }

    /// The query with `name` set to `value`, or without `name`.
    pub(crate) fn with(&self, name: &str, value: Option<&str>) -> String {
        let kept = self
            .0
            .iter()
            .filter(|(key, value)| key != name && !value.is_empty());
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in kept {
            query.append_pair(key, value);
        }
        if let Some(value) = value {
            query.append_pair(name, value);
        }
        query.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_keep_order_and_repetition() {
        let params = Params::parse(b"job=1&class=+A%3A%3AB+&job=2&empty=&bad=%ff&class=C");
        assert_eq!(params.all("job").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(params.get("class"), Some("A::B"));
        assert_eq!((params.get("empty"), params.get("other")), (None, None));
        assert_eq!(params.get("bad"), Some("\u{fffd}"));
    }

    #[test]
    fn a_query_changes_by_one_name() {
        let params = Params::parse(b"class=A%26B&from=x&empty=");
        assert_eq!(params.with("from", Some("y z")), "class=A%26B&from=y+z");
        assert_eq!(params.with("class", None), "from=x");
    }
}

//! Addresses: the path under which the dashboard is reached, and names as parts of a path.

use std::fmt;

use axum::{extract::OriginalUri, http::request::Parts};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::Deserialize;

/// What stays as it is in a part of a path or a value of a query.
const PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'~')
    .remove(b'.');

/// A text as a value of a query.
pub(crate) fn value(text: &str) -> String {
    percent_encode(text.as_bytes(), PART).to_string()
}

/// A name as one part of a path.
///
/// Browsers remove the parts `.` and `..` of a path, also if they are written as `%2E`. So a name
/// of this kind gets a `~` before it, and a name that looks like the result gets one more:
/// `.` is `~.`, and `~.` is `~~.`. [`Name`] reads it back.
pub(crate) fn part(name: &str) -> String {
    let mark = if is_dots(name) { "~" } else { "" };
    format!("{mark}{}", value(name))
}

/// The longest name that is linked, in bytes: browsers and servers refuse long addresses.
const MAX_NAME: usize = 512;

/// Whether a name fits into an address.
pub(crate) fn fits(name: &str) -> bool {
    name.len() <= MAX_NAME
}

/// The path of the page of a name; `None` if the name does not fit.
pub(crate) fn page(prefix: &str, name: &str) -> Option<String> {
    fits(name).then(|| format!("{prefix}{}", part(name)))
}

/// Whether a name is `.` or `..`, after any number of `~`.
fn is_dots(name: &str) -> bool {
    matches!(name.trim_start_matches('~'), "." | "..")
}

/// A name out of a part of a path, as [`part`] writes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Name(pub(crate) String);

impl From<String> for Name {
    fn from(part: String) -> Self {
        match part.strip_prefix('~') {
            Some(name) if is_dots(name) => Self(name.to_owned()),
            _ => Self(part),
        }
    }
}

/// Where the dashboard is, as the browser sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// What every link begins with, without a slash at its end.
    pub(crate) path: String,
    /// The address of the overview.
    pub(crate) root: String,
}

impl Base {
    /// The path is `set` if the program set it, with that of the `instance`. Else it is the header
    /// `X-Forwarded-Prefix` of a proxy and the path that the router is nested at.
    pub(crate) fn of(request: &Parts, set: Option<&str>, instance: &str) -> Self {
        let nested = nested(request);
        let path = match set {
            Some(set) => format!("{}{instance}", set.trim_end_matches('/')),
            None => {
                let prefix = request.headers.get("x-forwarded-prefix");
                let prefix = prefix.and_then(|prefix| prefix.to_str().ok());
                let prefix = prefix.filter(|prefix| is_path(prefix)).unwrap_or_default();
                format!("{}{nested}", prefix.trim_end_matches('/'))
            }
        };
        // axum serves a router that is nested at `/verk` there, but not at `/verk/`.
        let root = match nested {
            "" => format!("{path}/"),
            _ => path.clone(),
        };
        Self { path, root }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

/// The path that the router is nested at, without a slash at its end.
fn nested(request: &Parts) -> &str {
    let inner = request.uri.path();
    let outer = match request.extensions.get::<OriginalUri>() {
        Some(OriginalUri(original)) => original.path(),
        None => inner,
    };
    // At the root of a nested router, `/verk` arrives as `/`.
    let nested = outer
        .strip_suffix(inner)
        .or_else(|| (inner == "/").then_some(outer));
    nested.unwrap_or_default().trim_end_matches('/')
}

/// Whether a text from a header is a plain path, which cannot lead to another host, and which
/// browsers keep.
fn is_path(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let mut parts = text.split('/').skip(1);
    text.starts_with('/')
        && !text.starts_with("//")
        && text.bytes().all(plain)
        && !parts.any(|part| matches!(part, "." | ".."))
}

#[cfg(test)]
mod tests {
    use axum::http::{Request, Uri};

    use super::*;

    fn base_of(inner: &str, outer: &str, prefix: &str, set: Option<&str>) -> Base {
        let mut request = Request::get(inner);
        if !prefix.is_empty() {
            request = request.header("x-forwarded-prefix", prefix);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts
            .extensions
            .insert(OriginalUri(outer.parse::<Uri>().unwrap()));
        Base::of(&parts, set, "")
    }

    #[test]
    fn the_base_is_where_the_browser_sees_the_dashboard() {
        for (inner, outer, prefix, expected) in [
            ("/queues", "/queues", "", ""),
            ("/queues", "/verk/queues", "", "/verk"),
            ("/queues/a%2Fb?x=1", "/verk/queues/a%2Fb?x=1", "", "/verk"),
            ("/", "/verk", "", "/verk"),
            ("/", "/verk/", "", "/verk"),
            ("/", "/", "", ""),
            ("/", "/verk", "/ops/", "/ops/verk"),
            // Nothing that leads elsewhere, or out of an attribute.
            ("/", "/verk", "//evil.example", "/verk"),
            ("/", "/verk", "https://evil.example", "/verk"),
            ("/", "/verk", "/\"><b>", "/verk"),
            ("/", "/verk", "/a/../b", "/verk"),
        ] {
            let base = base_of(inner, outer, prefix, None);
            assert_eq!(base.path, expected, "{inner} {outer} {prefix}");
        }
    }

    #[test]
    fn the_overview_is_where_axum_or_the_proxy_has_it() {
        for (inner, outer, prefix, set, root) in [
            ("/queues", "/queues", "", None, "/"),
            ("/queues", "/verk/queues", "", None, "/verk"),
            ("/queues", "/queues", "/ops", None, "/ops/"),
            ("/queues", "/verk/queues", "/ops", None, "/ops/verk"),
            ("/queues", "/queues", "", Some("/ops/"), "/ops/"),
            (
                "/queues",
                "/verk/queues",
                "",
                Some("/ops/verk"),
                "/ops/verk",
            ),
        ] {
            let base = base_of(inner, outer, prefix, set);
            assert_eq!(base.root, root, "{inner} {outer} {prefix} {set:?}");
        }
    }

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(part("mailers-2.low_x~"), "mailers-2.low_x~");
        assert_eq!(part("a/b?c#d%\"<é"), "a%2Fb%3Fc%23d%25%22%3C%C3%A9");
    }

    #[test]
    fn a_name_of_dots_is_a_part_that_browsers_keep() {
        for (name, written) in [
            (".", "~."),
            ("..", "~.."),
            ("~.", "~~."),
            ("~~..", "~~~.."),
            ("...", "..."),
            ("~", "~"),
            ("~a", "~a"),
            ("a..", "a.."),
        ] {
            assert_eq!(part(name), written);
            assert_eq!(Name::from(written.to_owned()).0, name);
        }
        assert_eq!(page("/metrics/", ".").unwrap(), "/metrics/~.");
        assert_eq!(page("/metrics/", &"x".repeat(513)), None);
        // A program that does not shorten paths may write the name itself.
        assert_eq!(Name::from("..".to_owned()).0, "..");
    }
}

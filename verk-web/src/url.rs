//! Addresses: the path under which the dashboard is reached, and names as parts of a path.

use axum::{extract::OriginalUri, http::request::Parts};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// What stays as it is in a part of a path or a value of a query.
const PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'~')
    .remove(b'.');

/// A name as one part of a path, or as a value of a query.
pub(crate) fn part(name: &str) -> String {
    percent_encode(name.as_bytes(), PART).to_string()
}

/// The path of the dashboard as the browser sees it, without a slash at its end.
///
/// That is `set` if the program set it, else the header `X-Forwarded-Prefix` of a proxy and the
/// path that the router is nested at.
pub(crate) fn base(request: &Parts, set: Option<&str>) -> String {
    if let Some(set) = set {
        return set.trim_end_matches('/').to_owned();
    }
    let inner = request.uri.path();
    let outer = match request.extensions.get::<OriginalUri>() {
        Some(OriginalUri(original)) => original.path(),
        None => inner,
    };
    // At the root of a nested router, `/verk` arrives as `/`.
    let nested = outer
        .strip_suffix(inner)
        .or_else(|| (inner == "/").then_some(outer));
    let nested = nested.unwrap_or_default().trim_end_matches('/');
    let prefix = request.headers.get("x-forwarded-prefix");
    let prefix = prefix.and_then(|prefix| prefix.to_str().ok());
    let prefix = prefix.filter(|prefix| is_path(prefix)).unwrap_or_default();
    format!("{}{nested}", prefix.trim_end_matches('/'))
}

/// Whether a text from a header is a plain path, which cannot lead to another host.
fn is_path(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use axum::http::{Request, Uri};

    use super::*;

    fn base_of(inner: &str, outer: &str, prefix: &str) -> String {
        let mut request = Request::get(inner);
        if !prefix.is_empty() {
            request = request.header("x-forwarded-prefix", prefix);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts
            .extensions
            .insert(OriginalUri(outer.parse::<Uri>().unwrap()));
        base(&parts, None)
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
        ] {
            assert_eq!(
                base_of(inner, outer, prefix),
                expected,
                "{inner} {outer} {prefix}"
            );
        }
    }

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(part("mailers-2.low_x~"), "mailers-2.low_x~");
        assert_eq!(part("a/b?c#d%\"<é"), "a%2Fb%3Fc%23d%25%22%3C%C3%A9");
    }
}

//! Whether a request comes from this page, and not from a page of somebody else.

use axum::http::{
    HeaderMap,
    header::{HOST, ORIGIN},
};

/// Whether a request that changes something may be obeyed.
///
/// Browsers say where a request comes from: in `Sec-Fetch-Site`, and older ones, or those on a
/// plain `http` address, in `Origin`, which has to name the host that the request was sent to. A
/// request with neither is no request of a browser's page. It is allowed only if the browser would
/// not add the proof by itself (`ambient`).
pub(crate) fn comes_from_this_page(headers: &HeaderMap, ambient: bool) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
        return matches!((origin, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host));
    }
    !ambient
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn only_this_page_may_change_something() {
        for (sent, ambient, allowed) in [
            (&[("sec-fetch-site", "same-origin")][..], true, true),
            (&[("sec-fetch-site", "none")], true, true),
            (&[("sec-fetch-site", "same-site")], true, false),
            (&[("sec-fetch-site", "cross-site")], false, false),
            // The newer header decides.
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://a"),
                    ("host", "a"),
                ],
                false,
                false,
            ),
            (
                &[("origin", "http://a:7420"), ("host", "a:7420")],
                true,
                true,
            ),
            (&[("origin", "https://b"), ("host", "a")], false, false),
            (&[("origin", "null"), ("host", "a")], true, false),
            (&[("origin", "http://a")], true, false),
            (&[("host", "a")], true, false),
            (&[("host", "a")], false, true),
        ] {
            assert_eq!(
                comes_from_this_page(&headers(sent), ambient),
                allowed,
                "{sent:?}, ambient: {ambient}"
            );
        }
    }
}

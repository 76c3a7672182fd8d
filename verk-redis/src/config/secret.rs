//! Settings that nobody may see.

use std::{fmt, ops::Deref};

use serde::{Deserialize, Serialize, Serializer};
use verk_core::settings::Value;

/// The address of a server, which may have a password. It is shown without it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Url(String);

impl<T: Into<String>> From<T> for Url {
    fn from(url: T) -> Self {
        Self(url.into())
    }
}

impl Deref for Url {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&redacted(self), f)
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&redacted(self))
    }
}

impl Value for Url {
    const IN_VARIABLE: &'static str = "a URL such as redis://127.0.0.1:6379";
    const IN_FILE: &'static str = r#"a URL such as "redis://127.0.0.1:6379""#;
    const SECRET: bool = true;

    fn parse(text: &str) -> Option<Self> {
        Some(text.into())
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl<T: Into<String>> From<T> for Secret {
    fn from(secret: T) -> Self {
        Self(secret.into())
    }
}

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl Value for Secret {
    const IN_VARIABLE: &'static str = String::IN_VARIABLE;
    const IN_FILE: &'static str = String::IN_FILE;
    const SECRET: bool = true;

    fn parse(text: &str) -> Option<Self> {
        Some(text.into())
    }
}

/// `url` without any part that may be a password, also if the text is not quite a URL.
pub(crate) fn redacted(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    // A password may have any character, so the credentials end at the last `@`, unless that is in
    // the query, where a unix socket has its password. Then no part is safe to show.
    let (credentials, rest) = match rest.rsplit_once('@') {
        Some((before, _)) if before.contains('?') => ("***", ""),
        Some((_, rest)) => ("***@", rest),
        None => ("", rest),
    };
    let (place, query) = match rest.split_once(['?', '#']) {
        Some((_, query)) if scheme.ends_with("+cluster://") && is_number_of_cells(query) => {
            (rest, "")
        }
        Some((place, _)) => (place, "?***"),
        None => (rest, ""),
    };
    format!("{scheme}{credentials}{place}{query}")
}

/// Whether a query is the one that a cluster has, which is no secret.
fn is_number_of_cells(query: &str) -> bool {
    let number = query.strip_prefix("cells=").unwrap_or_default();
    (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
}

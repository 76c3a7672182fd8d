//! The style sheet, the script and the icon, which are part of the program.

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::failure::Failure;

/// A file, its type and its content. Its address has [`VERSION`] in the query, so that a browser
/// may keep it.
const FILES: [(&str, &str, &[u8]); 3] = [
    (
        "style.css",
        "text/css; charset=utf-8",
        include_bytes!("../assets/style.css"),
    ),
    (
        "app.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../assets/app.js"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_bytes!("../assets/icon.svg"),
    ),
];

/// Differs whenever a file differs.
pub(crate) const VERSION: u64 = {
    // FNV-1a: it has to be computed at compile time, and only has to change.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut file = 0;
    while file < FILES.len() {
        let content = FILES[file].2;
        let mut at = 0;
        while at < content.len() {
            hash = (hash ^ content[at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        file += 1;
    }
    hash
};

pub(crate) async fn show(Path(name): Path<String>, request: HeaderMap) -> Response {
    let Some((_, kind, content)) = FILES.into_iter().find(|(file, ..)| *file == name) else {
        return Failure::not_found("There is no such file.").into_response();
    };
    let tag = format!("\"{VERSION:x}\"");
    let cache = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "private, max-age=86400".to_owned()),
    ];
    if request
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| *known == *tag)
    {
        return (StatusCode::NOT_MODIFIED, cache).into_response();
    }
    (cache, [(header::CONTENT_TYPE, kind)], content).into_response()
}

//! Files that pages load, embedded in the program: style, scripts and images. The build script has shrunk them.
//!
//! They contain no secret, so they are served without a login and can be compressed by the proxy.

use std::sync::LazyLock;

use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kit::hex;

use crate::response;

#[cfg(test)]
mod shrink;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static str,
}

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($name:literal: $media_type:expr;)*) => {
        const ASSETS: &[Asset] = &[
            $(Asset { name: $name, media_type: $media_type, content: include_str!(concat!(env!("OUT_DIR"), "/assets/", $name)) }),*
        ];
    };
}

assets! {
    "style.css": CSS;
    "app.js": SCRIPT;
    "logs.css": CSS;
    "logs.js": SCRIPT;
    "log_hits.js": SCRIPT;
    "log_queue.js": SCRIPT;
    "log_rows.js": SCRIPT;
    "log_stream.js": SCRIPT;
    "log_view.js": SCRIPT;
    "access.css": CSS;
    "boot.css": CSS;
    "login.js": SCRIPT;
    "processes.css": CSS;
    "processes.js": SCRIPT;
    "icons.svg": SVG;
    "mark.svg": SVG;
    "retry.js": SCRIPT;
    "system.css": CSS;
    "system.js": SCRIPT;
    "vendor/uPlot.iife.min.js": SCRIPT;
    "vendor/uPlot.min.css": CSS;
}

/// First digits of the SHA-256 of each file.
static DIGESTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    ASSETS.iter().map(|asset| hex::sha256(asset.content.as_bytes())[..12].to_owned()).collect()
});

/// Returns the URL of a file, with its digest: browsers keep it until the file changes.
pub fn url(name: &str) -> String {
    let digest = ASSETS.iter().zip(DIGESTS.iter()).find(|(asset, _)| asset.name == name);
    format!("/leonardo/assets/{name}?v={}", digest.map_or("", |(_, digest)| digest))
}

/// `GET /leonardo/assets/NAME`: returns a file. Without its digest in the URL, browsers check for a newer one each time:
/// modules import each other by plain names.
pub async fn asset(Path(name): Path<String>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let Some((asset, digest)) = ASSETS.iter().zip(DIGESTS.iter()).find(|(asset, _)| asset.name == name)
    else {
        return response::text_error(StatusCode::NOT_FOUND, "Page not found.");
    };
    let is_current = query.is_some_and(|query| query.strip_prefix("v=") == Some(digest));
    let cache = match asset.media_type {
        _ if is_current => "public, max-age=31536000, immutable",
        // The style names its pictures without their digests.
        SVG => "public, max-age=3600",
        _ => "no-cache",
    };
    let tag = format!("\"{digest}\"");
    let caching = [
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
        (header::ETAG, HeaderValue::try_from(&tag).unwrap_or(HeaderValue::from_static("\"\""))),
        // The login form on a service's port has an opaque origin, and loads the style all the same.
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        ),
    ];
    // A proxy that compresses the file changes the tag to `"…-gzip"` or marks it as weak.
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    if known.is_some_and(|known| known.contains(digest.as_str())) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, asset.media_type)], asset.content).into_response()
}

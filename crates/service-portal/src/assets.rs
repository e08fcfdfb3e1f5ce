//! Files that pages load, embedded in the program as the build script has made them: joined, minified and compressed.
//!
//! They contain no secret, so they are served without a login, and their compressed size reveals nothing.

use std::sync::LazyLock;

use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kit::hex;

use crate::response;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static [u8],
    compressed: &'static [u8],
}

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($name:literal: $media_type:expr;)*) => {
        const ASSETS: &[Asset] = &[
            $(Asset {
                name: $name,
                media_type: $media_type,
                content: include_bytes!(concat!(env!("OUT_DIR"), "/assets/", $name)),
                compressed: include_bytes!(concat!(env!("OUT_DIR"), "/assets/", $name, ".gz")),
            }),*
        ];
    };
}

assets! {
    "app.js": SCRIPT;
    "icons.svg": SVG;
    "login.js": SCRIPT;
    "mark.svg": SVG;
    "openapi.json": "application/json";
    "retry.js": SCRIPT;
    "style.css": CSS;
    "vendor/uPlot.iife.min.js": SCRIPT;
}

/// First digits of the SHA-256 of each file.
static DIGESTS: LazyLock<Vec<String>> =
    LazyLock::new(|| ASSETS.iter().map(|asset| hex::sha256(asset.content)[..12].to_owned()).collect());

fn digest(name: &str) -> Option<&'static str> {
    let (_, digest) = ASSETS.iter().zip(DIGESTS.iter()).find(|(asset, _)| asset.name == name)?;
    Some(digest)
}

/// Returns the URL of a file, with its digest: browsers keep it until the file changes.
pub fn url(name: &str) -> String {
    format!("/leonardo/assets/{name}?v={}", digest(name).unwrap_or_default())
}

/// `GET /leonardo/assets/NAME`: returns a file. Browsers keep it if the URL has its digest.
pub async fn asset(Path(name): Path<String>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let known = query.as_deref().and_then(|query| query.strip_prefix("v="));
    let is_current = known.is_some() && known == digest(&name);
    let cache = if is_current { "public, max-age=31536000, immutable" } else { "no-cache" };
    // The login form on a service's port has an opaque origin, and loads the style all the same.
    let policy = header::HeaderName::from_static("cross-origin-resource-policy");
    ([(header::CACHE_CONTROL, cache), (policy, "cross-origin")], content(&name, &headers)).into_response()
}

/// Returns a file, compressed if the client accepts that.
pub fn content(name: &str, headers: &HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return response::text_error(StatusCode::NOT_FOUND, "Page not found.");
    };
    let kind = [(header::CONTENT_TYPE, asset.media_type), (header::VARY, "accept-encoding")];
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|accepted| accepted.to_str().ok());
    let is_gzip = |coding: &str| coding.contains("gzip") && !coding.replace(' ', "").ends_with(";q=0");
    if accepted.is_some_and(|accepted| accepted.split(',').any(is_gzip)) {
        (kind, [(header::CONTENT_ENCODING, "gzip")], asset.compressed).into_response()
    } else {
        (kind, asset.content).into_response()
    }
}

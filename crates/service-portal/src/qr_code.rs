//! QR codes as images in a page.

use anyhow::{Context, Result};
use qrcode::QrCode;
use qrcode::render::svg;

/// Returns the code of a URL as an `svg` element.
pub fn svg(url: &str) -> Result<String> {
    let code = QrCode::new(url).context("the URL is too long for a QR code")?;
    let image = code.render::<svg::Color<'_>>().min_dimensions(240, 240).build();
    // The XML declaration before the element is not allowed in HTML.
    let (_, element) = image.split_once("<svg ").context("the QR code is not an SVG image")?;
    Ok(format!("<svg role=\"img\" aria-label=\"QR code\" {element}"))
}

//! Takes the pictures.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use harness::{Browser, Scheme};

use crate::pages::{DEVICES, Page, file_name};
use crate::scene::Showcase;

/// Encodes a PNG as WebP without loss: for pages, that is a fifth of the bytes of a lossy WebP without visible noise.
const ENCODE: [&str; 8] = ["-quiet", "-lossless", "-z", "9", "-metadata", "none", "-o", "/dev/stdout"];

/// Takes pictures of pages, in both schemes and on both devices; returns name and bytes of each.
pub fn take(showcase: &Showcase, pages: &[&Page], directory: &Path) -> Result<Vec<(String, usize)>> {
    let browser = Browser::observed();
    let mut taken = Vec::new();
    let mut is_logged_in = false;
    for page in pages {
        if page.needs_login && !is_logged_in {
            showcase.log_in(&browser);
            is_logged_in = true;
        }
        for device in DEVICES {
            browser.emulate(device);
            for scheme in Scheme::ALL {
                browser.prefer(scheme);
                showcase.open(&browser, page);
                let name = file_name(page, device, scheme);
                let path = directory.join(&name);
                let webp = encode(&browser.picture(device))?;
                fs::write(&path, &webp).with_context(|| format!("cannot write {}", path.display()))?;
                taken.push((name, webp.len()));
            }
        }
    }
    Ok(taken)
}

fn encode(png: &[u8]) -> Result<Vec<u8>> {
    let mut file = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
    file.write_all(png).context("cannot write a temporary file")?;
    let output = Command::new("cwebp")
        .args(ENCODE)
        .arg(file.path())
        .output()
        .context("cannot run cwebp (package webp)")?;
    ensure!(output.status.success(), "cwebp failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

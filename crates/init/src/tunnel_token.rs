//! Token of a named Cloudflare tunnel: a file for cloudflared's account instead of a variable, which every program would
//! inherit.

use std::fs;
use std::path::Path;

use anyhow::Result;
use kit::Secret;
use kit::atomic::{self, WriteOptions};

use crate::accounts;

/// Path of the token; [`crate::runtime_directories`] has removed the one of an earlier start.
const PATH: &str = "/run/cloudflared/token";

/// Writes the token, if there is one.
pub fn write(token: Option<&Secret>) -> Result<()> {
    let Some(token) = token else { return Ok(()) };
    let placement = WriteOptions::volatile(0o640).owned_by(0, accounts::group_id("cloudflared")?);
    atomic::write(Path::new(PATH), token.expose().as_bytes(), placement)
}

/// Returns the token in use.
pub fn current() -> Option<Secret> {
    fs::read_to_string(PATH).ok().and_then(Secret::new)
}

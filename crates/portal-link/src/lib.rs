//! Create a one-time login link for one browser.
//!
//! The link replaces typing the password: it works once, expires soon, and on a terminal is printed as a QR code too.
//! Opening it shows a button, and clicking the button logs in: the preview of a chat program does not use it up.

mod cli;

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use clap::Parser;
use kit::{Env, Exit, Outcome};
use portal_control::{Client, CreateLoginCode, CreatedLoginCode, PublicOrigin, public_origin};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde::Serialize;

pub use cli::command;

/// Public port of the portal.
const PORTAL: u16 = 1111;

/// Output of `--json`.
#[derive(Serialize)]
struct LoginLink<'a> {
    /// Address that logs one browser in.
    url: &'a str,
    /// Expiry, in seconds since the Unix epoch.
    expires: u64,
}

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = cli::Cli::try_parse()?;
    // Before the request: the lifetime is rounded down, and the portal's clock may be a second further.
    let now = kit::unix_time::now();
    let wanted = CreateLoginCode { seconds: cli.expires.as_secs() };
    let CreatedLoginCode { path, expires } =
        Client::new(&cli.socket).request("POST", "/login-codes", &wanted)?;
    let origin = match &cli.portal {
        Some(portal) => PublicOrigin::Known(portal.trim_end_matches('/').to_owned()),
        None => public_origin(&Env::from_process(), PORTAL),
    };
    let url = format!("{}{path}", origin.url());
    let mut out = io::stdout().lock();
    if cli.json {
        writeln!(out, "{}", serde_json::to_string(&LoginLink { url: &url, expires })?)?;
    } else {
        if out.is_terminal() && !cli.no_qr {
            writeln!(out, "{}", render_qr(&url)?)?;
        }
        writeln!(out, "{url}")?;
    }
    if matches!(origin, PublicOrigin::Guessed(_)) {
        log::info!("replace the host and port with those at which you reach the portal, or pass --portal");
    }
    log::info!("valid for one login within {}", kit::duration::words(expires.saturating_sub(now)));
    Ok(Exit::Done)
}

/// Renders a QR code with half blocks: two modules per character, dark on light, with the quiet zone that scanners need.
fn render_qr(url: &str) -> Result<String> {
    let code = QrCode::new(url).context("the link is too long for a QR code")?;
    let (dark, light) = (Dense1x2::Light, Dense1x2::Dark);
    Ok(code.render::<Dense1x2>().dark_color(dark).light_color(light).quiet_zone(true).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qr_code_is_a_square_of_half_blocks() {
        let drawn = render_qr("http://localhost:1111/leonardo/enter?code=abc").unwrap();
        let lines: Vec<&str> = drawn.lines().collect();
        let width = lines[0].chars().count();
        assert!(
            lines.iter().all(|line| line.chars().count() == width) && lines.len() == width.div_ceil(2),
            "{drawn}"
        );
    }
}

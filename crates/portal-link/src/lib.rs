//! Make a link that logs one browser in, once.
//!
//! Nobody has to copy a password: the link works once, soon or never, and is shown as a QR code for a phone where the
//! output is a terminal. Opening it shows a button; the click logs in, so that a chat program which looks at the link
//! beforehand does not use it up.

mod cli;

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use clap::Parser;
use kit::{Env, Exit, Outcome};
use portal_control::{Client, CreateLoginCode, CreatedLoginCode, PublicOrigin, public_origin};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

pub use cli::command;

/// The portal's public port.
const PORTAL: u16 = 1111;

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = cli::Cli::try_parse()?;
    let wanted = CreateLoginCode { seconds: cli.expires.as_secs() };
    let CreatedLoginCode { path } = Client::new(&cli.socket).request("POST", "/login-codes", &wanted)?;
    let origin = match &cli.portal {
        Some(portal) => PublicOrigin::Known(portal.trim_end_matches('/').to_owned()),
        None => public_origin(&Env::from_process(), PORTAL),
    };
    let url = format!("{}{path}", origin.url());
    let mut out = io::stdout().lock();
    if out.is_terminal() && !cli.no_qr {
        writeln!(out, "{}", render_qr(&url)?)?;
    }
    writeln!(out, "{url}")?;
    if matches!(origin, PublicOrigin::Guessed(_)) {
        log::info!("put in the address and port at which you reach the portal, or give it with --portal");
    }
    log::info!("it logs one browser in, within {}", kit::settings::words(cli.expires.as_secs()));
    Ok(Exit::Done)
}

/// Two modules a character, dark on light, with the quiet zone that scanners need.
fn render_qr(url: &str) -> Result<String> {
    let code = QrCode::new(url).context("the link is too long for a QR code")?;
    let (dark, light) = (Dense1x2::Light, Dense1x2::Dark);
    Ok(code.render::<Dense1x2>().dark_color(dark).light_color(light).quiet_zone(true).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_as_a_square_of_half_blocks() {
        let drawn = render_qr("http://localhost:1111/leonardo/enter?code=abc").unwrap();
        let lines: Vec<&str> = drawn.lines().collect();
        let width = lines[0].chars().count();
        assert!(
            lines.iter().all(|line| line.chars().count() == width) && lines.len() == width.div_ceil(2),
            "{drawn}"
        );
    }
}

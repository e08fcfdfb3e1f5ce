//! Command line of `portal-link`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser};

const EPILOGUE: &str = "\
Examples:
  portal-link
  portal-link --expires 1h --portal https://gpu.example.org:1111";

/// Create a one-time login link for one browser.
#[derive(Debug, Parser)]
#[command(name = "portal-link", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Lifetime of the link, at most 24h, such as 90s, 10m or 2h
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = kit::duration::argument)]
    pub expires: Duration,
    /// URL at which you reach the portal, if it cannot be detected
    #[arg(long, value_name = "URL")]
    pub portal: Option<String>,
    /// Do not print a QR code
    #[arg(long)]
    pub no_qr: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Control socket of the portal, for tests
    #[arg(long, value_name = "SOCKET", default_value = portal_control::SOCKET, hide = true)]
    pub socket: PathBuf,
}

/// Returns the command line, for the generator of the manual pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}

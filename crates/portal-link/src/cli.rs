//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser};

/// Make a link that logs one browser in, once.
#[derive(Debug, Parser)]
#[command(name = "portal-link", version, long_about = None)]
pub struct Cli {
    /// How long it may wait to be used, a day at most: a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub expires: Duration,
    /// Scheme, host and port at which you reach the portal, if this container does not know them
    #[arg(long, value_name = "URL")]
    pub portal: Option<String>,
    /// Print the link alone, without a QR code
    #[arg(long)]
    pub no_qr: bool,
    /// Talk with the portal over this socket
    #[arg(long, value_name = "SOCKET", default_value = portal_control::SOCKET, hide = true)]
    pub socket: PathBuf,
}

fn duration(text: &str) -> Result<Duration, String> {
    kit::settings::duration(text).ok_or_else(|| "say a number with s, m, h or d, such as 10m".to_owned())
}

/// The command line as data, for the generator of the manual pages.
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

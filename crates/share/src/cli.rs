//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser};

/// Give somebody one service for a while, without the password.
#[derive(Debug, Parser)]
#[command(name = "share", version, long_about = None)]
pub struct Cli {
    /// The service's name, or its public port
    #[arg(required_unless_present_any = ["list", "revoke"], conflicts_with_all = ["list", "revoke"])]
    pub service: Option<String>,
    /// How long the link lives: a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub expires: Duration,
    /// How many browsers may use it [default: any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_uses: Option<u32>,
    /// Show the links that live
    #[arg(long)]
    pub list: bool,
    /// End a link, and everybody's session that came through it
    #[arg(long, value_name = "ID", conflicts_with = "list")]
    pub revoke: Option<String>,
    /// Print JSON: one object for a new link, one a line for a list
    #[arg(long)]
    pub json: bool,
    /// Talk with the portal over this socket
    #[arg(long, value_name = "SOCKET", default_value = portal_control::SOCKET, hide = true)]
    pub socket: PathBuf,
}

/// Reads `90s`, `15m`, `2h` or `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    kit::settings::duration(text).ok_or_else(|| "say a number with s, m, h or d, such as 2h".to_owned())
}

/// The command line as data, for the generator of the manual pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_service_or_a_question_is_needed_and_never_both() {
        for good in [&["share", "Echo"][..], &["share", "--list"], &["share", "--revoke", "x"]] {
            assert!(Cli::try_parse_from(good).is_ok(), "{good:?}");
        }
        for bad in [&["share"][..], &["share", "Echo", "--list"], &["share", "Echo", "--max-uses", "0"]] {
            assert!(Cli::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }
}

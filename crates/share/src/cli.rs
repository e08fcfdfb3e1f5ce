//! Command line of `share`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser};

const EPILOGUE: &str = "\
Examples:
  share Jupyter --expires 2h
  share 8188 --max-uses 1
  share --revoke 3f9c01ab";

/// Create a temporary link to one service.
#[derive(Debug, Parser)]
#[command(name = "share", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Name or public port of the service
    #[arg(required_unless_present_any = ["list", "revoke"], conflicts_with_all = ["list", "revoke"])]
    pub service: Option<String>,
    /// Time until the link expires, such as 90s, 15m, 2h or 7d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = kit::duration::argument)]
    pub expires: Duration,
    /// Number of browsers that can use it [default: unlimited]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_uses: Option<u32>,
    /// List active links
    #[arg(long)]
    pub list: bool,
    /// Revoke a link and end its sessions
    #[arg(long, value_name = "ID", conflicts_with = "list")]
    pub revoke: Option<String>,
    /// Print one JSON object per line
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
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_service_excludes_list_and_revoke_and_one_of_them_is_required() {
        for good in [&["share", "Echo"][..], &["share", "--list"], &["share", "--revoke", "x"]] {
            assert!(Cli::try_parse_from(good).is_ok(), "{good:?}");
        }
        for bad in [&["share"][..], &["share", "Echo", "--list"], &["share", "Echo", "--max-uses", "0"]] {
            assert!(Cli::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }
}

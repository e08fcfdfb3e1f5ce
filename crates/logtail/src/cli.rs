//! Command line of `logtail`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

use crate::filter::Grep;

const EPILOGUE: &str = "\
Examples:
  logtail caddy sshd -n 100
  logtail --since 10m --grep 'error|warn' --no-follow
  logtail comfyui --since 2d --until 1d

Lines have the form TIME SERVICE | TEXT. A service has the name of its log:
caddy for /var/log/supervisor/caddy.log. \"…\" marks text that continues on
another line. Terminal control sequences are removed.

Reading /var/log/logtail.log requires root or the group leonardo. If it has
no lines of a service named here, or begins later than --since, the service's
own log is shown, with its rotated and compressed files.";

/// Show the logs of all services in one stream.
#[derive(Debug, Parser)]
#[command(name = "logtail", version, long_about = None, after_help = EPILOGUE, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Show only these services
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Show the last N lines first [default: 20; with --since: all]
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// Show lines since this time ago, such as 90s, 10m, 2h or 7d
    #[arg(long, value_name = "DURATION", value_parser = kit::duration::argument)]
    pub since: Option<Duration>,
    /// Show lines until this time ago, and exit
    #[arg(long, value_name = "DURATION", value_parser = kit::duration::argument)]
    pub until: Option<Duration>,
    /// Show only lines that match this regular expression
    #[arg(long, value_name = "RE", value_parser = Grep::new)]
    pub grep: Option<Grep>,
    /// Exit after the existing lines instead of following new ones
    #[arg(long)]
    pub no_follow: bool,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
    /// Directory that contains var, for tests
    #[arg(long, value_name = "DIR", default_value = "/", hide = true, global = true)]
    pub root: PathBuf,
    #[command(subcommand)]
    pub task: Option<Task>,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Collect all logs into the container's output and logtail.log (started by supervisord)
    Follow {
        /// Write to the standard output of the parent process, and continue if it is closed
        #[arg(long)]
        to_parent: bool,
    },
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

//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

const NOTES: &str = "\
A line is TIME SERVICE | TEXT. A service is called like its log: caddy for /var/log/supervisor/caddy.log. Text that goes
on before or after a line has … there. Carriage returns and terminal control sequences are taken out.

LineAssembler come from /var/log/logtail.log, which root and the group leonardo may read. Of a service that is named and has no
line in there any more, its own log is shown, without times.";

/// Show every log of the container in one stream.
#[derive(Debug, Parser)]
#[command(name = "logtail", version, long_about = None, after_help = NOTES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Only these services
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Begin with so many lines of before; 20, or with --since all
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// Only lines that are not older, such as 90s, 10m, 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub since: Option<Duration>,
    /// Only lines whose text matches this regular expression
    #[arg(long, value_name = "RE", value_parser = regex_lite::Regex::new)]
    pub grep: Option<regex_lite::Regex>,
    /// End after the lines of before
    #[arg(long)]
    pub no_follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Where /var is looked for
    #[arg(long, value_name = "DIR", default_value = "/", hide = true, global = true)]
    pub root: PathBuf,
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// What else there is to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Follow every log, print it, and keep logtail.log (what supervisord runs)
    Follow {
        /// Print to the standard output of the process that started this one, and go on when that is closed
        #[arg(long)]
        to_parent: bool,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    kit::settings::duration(text).ok_or_else(|| "not a length of time such as 90s, 10m, 2h or 7d".to_owned())
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

//! Command line of `init`.

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

const EPILOGUE: &str = "\
Examples:
  docker run IMAGE init.sh WEB_USER=ada WORKSPACE=/data/
  docker exec CONTAINER init.sh WEB_USER=ada
  docker run IMAGE bash -c 'init.sh --detach && exec sleep infinity'

In a running container nothing is changed. If a given setting is not in
use, a line names the command that applies it, and the exit code is 1.";

/// Prepare the container at its start, then become supervisord.
#[derive(Debug, Parser)]
#[command(name = "init", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Environment variables; they override those of the container
    #[arg(value_name = "NAME=VALUE")]
    pub parameters: Vec<OsString>,

    /// Start in the background, where another program is the container's
    /// first process
    #[arg(long)]
    pub detach: bool,

    /// Second half of `--detach`
    #[arg(long, hide = true, exclusive = true)]
    pub become_supervisord: bool,
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

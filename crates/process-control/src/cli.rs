//! Command line of `process-control`.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

const EPILOGUE: &str = "\
Examples:
  supervisorctl restart processcontrol
  logtail processcontrol --since 1h

Files:
  /run/process-control/control.sock  socket for the portal's account and root

supervisord starts it. In a terminal, use supervisorctl.";

/// Start, stop and list the programs of supervisord for the portal
#[derive(Debug, Parser)]
#[command(name = "process-control", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Socket, for tests
    #[arg(long, value_name = "SOCKET", hide = true, default_value = crate::SOCKET)]
    pub socket: PathBuf,
    /// Socket of supervisord, for tests
    #[arg(long, value_name = "SOCKET", hide = true, default_value = crate::supervisord::SOCKET)]
    pub supervisord: PathBuf,
    /// Path of the boot journal, which the record of exits is beside, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = journal::PATH)]
    pub journal: PathBuf,
    /// Account that may connect besides root, for tests
    #[arg(long, value_name = "NAME", hide = true, default_value = "portal")]
    pub account: String,
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

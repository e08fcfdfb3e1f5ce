//! Command line of `sshd-run`.

use clap::{CommandFactory, Parser};

const EPILOGUE: &str = "\
Examples:
  sshd-run --keys root
  sudo sshd-run --show";

/// Start the SSH server with key authentication only.
#[derive(Debug, Parser)]
#[command(name = "sshd-run", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Print sshd's effective configuration and exit
    #[arg(long)]
    pub show: bool,
    /// Print the public keys accepted for USER and exit
    #[arg(long, value_name = "USER", conflicts_with = "show")]
    pub keys: Option<String>,
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

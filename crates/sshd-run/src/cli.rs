//! The command line.

use clap::{CommandFactory, Parser};

/// Start the SSH server with keys of its own and without passwords.
#[derive(Debug, Parser)]
#[command(name = "sshd-run", version, long_about = None)]
pub struct Cli {
    /// Print sshd's effective configuration instead of starting it
    #[arg(long)]
    pub show: bool,
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

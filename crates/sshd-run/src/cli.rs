//! The command line.

use clap::{CommandFactory, Parser};

/// Start the SSH server with keys of its own and without passwords.
#[derive(Debug, Parser)]
#[command(name = "sshd-run", version, long_about = None)]
pub struct Cli {
    /// Print sshd's effective configuration instead of starting it
    #[arg(long)]
    pub show: bool,
    /// Print the public keys that log in as USER, as sshd asks for them at each login
    #[arg(long, value_name = "USER", conflicts_with = "show")]
    pub keys: Option<String>,
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

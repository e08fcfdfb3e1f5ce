//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

const NOTES: &str = "\
Without PASSWORD it is asked for, twice; where standard input is no terminal, its first line is the password.
Only root can change the login: sudo set-web-credentials.

The change is in force with the next request, without a restart, and all sessions end. It outlives a restart of the
container, until WEB_USER, WEB_PASSWORD or WEB_TOKEN of the container ask for something else than before.";

/// Change user, password or token of the web services while they run.
// Without Debug, which would show the password.
#[derive(Parser)]
#[command(name = "set-web-credentials", version, long_about = None, after_help = NOTES)]
pub struct Cli {
    /// The user of the web services from now on
    #[arg(value_name = "USER", required_unless_present_any = ["generate", "rotate_token"])]
    pub user: Option<String>,
    /// The password; other programs can see arguments for a moment, so better leave it out
    #[arg(value_name = "PASSWORD", conflicts_with = "generate")]
    pub password: Option<String>,
    /// Make a new password and print it on standard output
    #[arg(long)]
    pub generate: bool,
    /// Make a new token for programs
    #[arg(long)]
    pub rotate_token: bool,
    /// The file of the login, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = web_login::path())]
    pub login: PathBuf,
    /// The environment store, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = env_store::PATH)]
    pub environment: PathBuf,
    /// The lock file, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = "/run/leonardo/web_credentials.lock")]
    pub lock: PathBuf,
    /// The account that the login belongs to, for tests
    #[arg(long, value_name = "NAME", hide = true, default_value = "portal")]
    pub account: String,
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

//! Command line of `set-web-credentials`.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

const EPILOGUE: &str = "\
Examples:
  sudo set-web-credentials ada
  sudo set-web-credentials --generate
  sudo set-web-credentials --rotate-token

Without PASSWORD, the tool prompts for it; if standard input is not a
terminal, its first line is the password.

The change takes effect with the next request and ends all sessions and API
tokens; share links stay. It is kept when the container restarts, unless
WEB_USER, WEB_PASSWORD or WEB_TOKEN are changed.";

/// Change the user, password or token of the web services.
// Not Debug: it would print the password.
#[derive(Parser)]
#[command(name = "set-web-credentials", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// New user name
    #[arg(value_name = "USER", required_unless_present_any = ["generate", "rotate_token"])]
    pub user: Option<String>,
    /// New password; visible to other programs for a moment, so prefer the prompt
    #[arg(value_name = "PASSWORD", conflicts_with = "generate")]
    pub password: Option<String>,
    /// Generate a new password and print it
    #[arg(long)]
    pub generate: bool,
    /// Generate a new token for programs
    #[arg(long)]
    pub rotate_token: bool,
    /// Path of the login, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = web_login::path())]
    pub login: PathBuf,
    /// Path of the environment store, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = env_store::PATH)]
    pub environment: PathBuf,
    /// Path of the lock file, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = "/run/leonardo/web_credentials.lock")]
    pub lock: PathBuf,
    /// Owner of the login, for tests
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

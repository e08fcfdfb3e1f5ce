//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

/// One login for every web service, and a page of links to them.
#[derive(Debug, Parser)]
#[command(name = "service-portal", version, long_about = None)]
pub struct Cli {
    /// Listen on this Unix socket; only the proxy should be able to reach it
    #[arg(long, value_name = "SOCKET", default_value = "/run/portal/portal.sock")]
    pub socket: PathBuf,
    /// Read the login from this file, again whenever it changes
    #[arg(long, value_name = "FILE", default_value = web_login::path())]
    pub credentials: PathBuf,
    /// Listen on this Unix socket for commands inside the container
    #[arg(long, value_name = "SOCKET", default_value = portal_control::SOCKET)]
    pub control: PathBuf,
    /// Keep sessions and share links in this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/lib/portal")]
    pub state: PathBuf,
    /// Show what this file says is wrong with the proxy's configuration
    #[arg(long, value_name = "FILE", default_value = "/opt/caddy/etc/problem.txt")]
    pub proxy_problem: PathBuf,
    /// Read the services from this registry
    #[arg(long, value_name = "DIRECTORY", default_value = ports::PATH)]
    pub registry: PathBuf,
    /// Read from this file what the storage monitor has linked
    #[arg(long, value_name = "FILE", default_value = storage_monitor::STATUS_PATH)]
    pub storage: PathBuf,
    /// Read the state of the boot from this journal
    #[arg(long, value_name = "FILE", default_value = journal::PATH)]
    pub journal: PathBuf,
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

//! Command line of `service-portal`.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

const EPILOGUE: &str = "\
Examples:
  supervisorctl restart serviceportal
  logtail serviceportal --since 1h";

/// Serve the login, the gate and the page of services.
#[derive(Debug, Parser)]
#[command(name = "service-portal", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Socket for Caddy, for tests
    #[arg(long, value_name = "SOCKET", hide = true, default_value = "/run/portal/portal.sock")]
    pub socket: PathBuf,
    /// Path of the login, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = web_login::path())]
    pub credentials: PathBuf,
    /// Socket for commands inside the container, for tests
    #[arg(long, value_name = "SOCKET", hide = true, default_value = portal_control::SOCKET)]
    pub control: PathBuf,
    /// Directory of sessions, share links and API tokens, for tests
    #[arg(long, value_name = "DIRECTORY", hide = true, default_value = "/var/lib/portal")]
    pub state: PathBuf,
    /// Path of the proxy's problem file, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = "/opt/caddy/etc/problem.txt")]
    pub proxy_problem: PathBuf,
    /// Directory of the service registry, for tests
    #[arg(long, value_name = "DIRECTORY", hide = true, default_value = ports::PATH)]
    pub registry: PathBuf,
    /// Path of the storage monitor's status, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = storage_monitor::STATUS_PATH)]
    pub storage: PathBuf,
    /// Directory of the tunnels' status files, for tests
    #[arg(long, value_name = "DIRECTORY", hide = true, default_value = tunnels::DIRECTORY)]
    pub tunnels: PathBuf,
    /// Root directory of the logs, for tests
    #[arg(long, value_name = "DIRECTORY", hide = true, default_value = "/")]
    pub logs: PathBuf,
    /// Socket of the program that starts and stops programs, for tests
    #[arg(long, value_name = "SOCKET", hide = true, default_value = process_control::SOCKET)]
    pub process_control: PathBuf,
    /// Path of the boot journal, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = journal::PATH)]
    pub journal: PathBuf,
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

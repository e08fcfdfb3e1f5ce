//! Command line of `tunnel-run`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

const EPILOGUE: &str = "\
Examples:
  supervisorctl status quicktunnel cloudflared    the two programs
  cfqt-url 8188                                   address of the quick tunnel
  docker run -e CF_QUICK_TUNNELS=false …          no quick tunnels";

/// Open Cloudflare tunnels to the portal and the services, and keep them open.
///
/// supervisord starts it; addresses and failures are in its log.
#[derive(Debug, Parser)]
#[command(name = "tunnel-run", version, after_help = EPILOGUE)]
pub struct Cli {
    /// Directory of the service registry, for tests
    #[arg(long, value_name = "DIRECTORY", hide = true, default_value = ports::PATH)]
    pub registry: PathBuf,
    /// Directory of the status file, for tests
    #[arg(long, value_name = "DIRECTORY", hide = true, default_value = tunnels::DIRECTORY)]
    pub status: PathBuf,
    /// Directory of the logs of quick tunnels, for tests
    #[arg(long, value_name = "DIRECTORY", hide = true, default_value = "/var/log/supervisor")]
    pub logs: PathBuf,
    /// Path of cloudflared, for tests
    #[arg(long, value_name = "FILE", hide = true)]
    pub program: Option<PathBuf>,
    /// Path of cloudflared's configuration, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = "/opt/leonardo/share/cloudflared.yml")]
    pub config: PathBuf,
    /// Path of the file with the token, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = "/run/cloudflared/token")]
    pub token: PathBuf,
    /// Directory of the kernel's tables of sockets, for tests
    #[arg(long, value_name = "DIRECTORY", hide = true, default_value = "/proc/net")]
    pub sockets: PathBuf,
    /// Account of Caddy, for tests
    #[arg(long, value_name = "NAME", hide = true, default_value = "caddy")]
    pub proxy_account: String,
    /// Account of cloudflared, for tests
    #[arg(long, value_name = "NAME", hide = true, default_value = "cloudflared")]
    pub account: String,
    /// Divide all times by this number, for tests
    #[arg(long, value_name = "NUMBER", hide = true, default_value_t = 1)]
    pub time_divisor: u32,
    /// Kind of tunnel
    #[command(subcommand)]
    pub task: Task,
}

/// Kind of tunnel.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Open a tunnel to the portal and one to each service with a login, without an account
    Quick,
    /// Open the tunnel of `CF_TUNNEL_TOKEN`
    Named,
    /// Become cloudflared's account, then this command
    #[command(hide = true)]
    Child {
        /// Process id of the parent
        parent: i32,
        /// The command
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
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

//! Command line of `direct-url`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use tunnels::Kind;

const EPILOGUE: &str = "\
Examples:
  direct-url 8188
  direct-url -p 8888 -l /lab
  cfqt-url --json 8188";

/// Port of the portal.
const PORTAL: u16 = 1111;

/// Print the address at which a port of this container is reached.
#[derive(Debug, Parser)]
#[command(name = "direct-url", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Port in the container [default: 1111, the portal]
    #[arg(value_name = "PORT", value_parser = port)]
    number: Option<u16>,
    /// The same, as an option
    #[arg(short, long, value_name = "PORT", value_parser = port, conflicts_with = "number")]
    port: Option<u16>,
    /// Path behind the address, such as /lab
    #[arg(short = 'l', long, value_parser = path, default_value = "", hide_default_value = true)]
    path: String,
    /// Print the address of the port's tunnel, as cfqt-url (quick) and cfnt-url (named) do
    #[arg(long, value_name = "KIND", value_parser = ["quick", "named"])]
    tunnel: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Directory of the tunnels' status files, for tests
    #[arg(long, value_name = "DIRECTORY", default_value = tunnels::DIRECTORY, hide = true)]
    pub status: PathBuf,
    /// Find the public address of this machine, write it to a file and exit
    #[arg(long, hide = true, conflicts_with_all = ["number", "port", "json"])]
    pub find_wan: bool,
    /// curl, for tests
    #[arg(long, value_name = "PROGRAM", default_value = "/usr/bin/curl", hide = true)]
    pub curl: PathBuf,
    /// File with the address that was found, for tests
    #[arg(long, value_name = "FILE", default_value = cloud::WAN_ADDRESS, hide = true)]
    pub wan_address: PathBuf,
    /// Pause before the second attempt, for tests
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = kit::duration::argument, hide = true)]
    pub retry: Duration,
}

impl Cli {
    /// Returns the kind of tunnel that is asked for, by the option or by the name under which the tool was called.
    pub fn tunnel(&self, called: &str) -> Option<Kind> {
        match (self.tunnel.as_deref(), called) {
            (Some("quick"), _) | (None, "cfqt-url") => Some(Kind::Quick),
            (Some(_), _) | (None, "cfnt-url") => Some(Kind::Named),
            _ => None,
        }
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.number.or(self.port).unwrap_or(PORTAL)
    }

    /// Returns the path behind the address; empty if none was given.
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn port(text: &str) -> Result<u16, String> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|&port| is_number && port != 0);
    port.ok_or_else(|| "expected a port, 1 to 65535".to_owned())
}

/// Accepts what can follow a host without changing it.
fn path(text: &str) -> Result<String, String> {
    let is_path =
        text.starts_with('/') && !text.starts_with("//") && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path || text.is_empty() {
        Ok(text.to_owned())
    } else {
        Err("expected a path such as /lab".to_owned())
    }
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

//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

/// Start Caddy, and keep its configuration in step with the registered services.
#[derive(Debug, Parser)]
#[command(name = "caddy-run", version, long_about = None)]
pub struct Cli {
    /// Take `base_config` and the `service_config` templates from this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/opt/caddy/share")]
    pub share: PathBuf,
    /// Write the generated Caddyfile here
    #[arg(long, value_name = "FILE", default_value = "/opt/caddy/etc/Caddyfile")]
    pub output: PathBuf,
    /// Read the services from this registry
    #[arg(long, value_name = "DIRECTORY", default_value = ports::PATH)]
    pub registry: PathBuf,
    /// Fall back on the templates in this file if those of the directory are of no use
    #[arg(long, value_name = "FILE", default_value = "/opt/leonardo/share/caddy-templates.json")]
    pub shipped: PathBuf,
    /// Print the configuration for the present services, and start nothing
    #[arg(long)]
    pub print: bool,
    /// Ask Caddy about all templates, write them to the file to fall back on, and start nothing
    #[arg(long, conflicts_with = "print")]
    pub check: bool,
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

//! Command line of `caddy-run`.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

const EPILOGUE: &str = "\
Examples:
  caddy-run --print        configuration for the services registered now
  RUN caddy-run --check    last step of an image with templates of its own";

/// Start Caddy and keep its configuration up to date with the registered services.
#[derive(Debug, Parser)]
#[command(name = "caddy-run", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Directory of the templates, for tests
    #[arg(long, value_name = "DIRECTORY", hide = true, default_value = "/opt/caddy/share")]
    pub share: PathBuf,
    /// Path of the generated Caddyfile, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = "/opt/caddy/etc/Caddyfile")]
    pub output: PathBuf,
    /// Directory of the service registry, for tests
    #[arg(long, value_name = "DIRECTORY", hide = true, default_value = ports::PATH)]
    pub registry: PathBuf,
    /// Path of the image's fallback templates, for tests
    #[arg(
        long,
        value_name = "FILE",
        hide = true,
        default_value = "/opt/leonardo/share/caddy-templates.json"
    )]
    pub shipped: PathBuf,
    /// Print the generated configuration and exit
    #[arg(long)]
    pub print: bool,
    /// Validate all templates, save them as the fallback, and exit
    #[arg(long, conflicts_with = "print")]
    pub check: bool,
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

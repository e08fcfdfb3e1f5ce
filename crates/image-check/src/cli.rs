//! Command line of `image-check`.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

const EPILOGUE: &str = "\
Examples:
  RUN image-check       last line of a Dockerfile: a failure ends the build
  docker run --rm IMAGE image-check --json

Each finding has what it breaks and how to correct it. A warning, such as a
cache that was left over, does not change the exit code.";

/// Check an image made from the base image, as the last step of its Dockerfile
#[derive(Debug, Parser)]
#[command(name = "image-check", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Save what the base image has, for the checks of images made from it
    #[arg(long, hide = true, conflicts_with = "json")]
    pub record: bool,
    /// File of the base image's record, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = "/opt/leonardo/share/base-image.json")]
    pub baseline: PathBuf,
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

//! Command line of `selftest`.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

const EPILOGUE: &str = "\
Examples:
  selftest
  sudo selftest gate ports ssh
  sudo selftest --report

Exits with 1 if a check failed; warnings do not count. As the system user,
some checks are skipped: they need root. The self-test changes nothing, and
each check ends after 10 seconds. Names of the checks: selftest --list";

/// Check a running container and name what to do about each fault
#[derive(Debug, Parser)]
#[command(name = "selftest", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Run only these checks
    #[arg(value_name = "CHECK")]
    pub checks: Vec<String>,
    /// List the checks
    #[arg(long)]
    pub list: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "list")]
    pub json: bool,
    /// Write JUnit XML to FILE, or print it
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["list", "json"])]
    #[expect(clippy::option_option, reason = "not given, given without a file, given with a file")]
    pub junit: Option<Option<PathBuf>>,
    /// Write a report for a bug report to a new file, without secrets (FILE "-": stdout)
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["list", "json", "junit"])]
    #[expect(clippy::option_option, reason = "not given, given without a file, given with a file")]
    pub report: Option<Option<PathBuf>>,
    /// Print one section of the report
    #[arg(long, value_name = "SECTION", hide = true, exclusive = true)]
    pub section: Option<String>,
    /// Run one check in this process and print its findings
    #[arg(long, value_name = "CHECK", hide = true, exclusive = true)]
    pub run_check: Option<String>,
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

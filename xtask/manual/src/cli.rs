//! Command line of `manual`.

use std::path::PathBuf;

use clap::Parser;

/// Write the manual pages and the command reference from the tools' command lines
#[derive(Debug, Parser)]
#[command(name = "manual", version, long_about = None)]
pub struct Cli {
    /// Directory in which `commands`, `completion` and `man` are kept
    #[arg(long, value_name = "DIRECTORY")]
    pub output: PathBuf,
    /// Change nothing; fail and name each page that is stale, missing or superfluous
    #[arg(long)]
    pub check: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}

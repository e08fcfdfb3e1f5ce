//! Command line of `faultfs`, and the lines on stdin.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use kit::{Exit, Outcome};

use crate::mount::FaultFs;

/// A fault injector for tests: a FUSE file system that passes everything through and fails on demand
#[derive(Debug, Parser)]
#[command(
    name = "faultfs",
    after_help = "Says `ready` when it is mounted, then takes a fault a line from stdin, or `clear`:\n  \
                  read-error BYTE FILES, write-error BYTE FILES, truncate BYTE FILES, corrupt BYTE FILES,\n  \
                  no-space BYTES, quota BYTES, no-inodes COUNT, claim BYTES INODES, slow MILLISECONDS,\n  \
                  aged SECONDS FILES, sync-error FILES,\n  \
                  read-only, no-owners, no-modes, no-symlinks, no-hard-links, no-attributes,\n  \
                  coarse-times, case-insensitive, no-exchange\n\
                  Unmounts when stdin ends."
)]
struct Cli {
    /// The directory that is shown
    backing: PathBuf,
    /// The directory where it is shown
    at: PathBuf,
}

/// Returns the command line.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Mounts, executes the lines on stdin, and unmounts.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    let disk = FaultFs::mount(&cli.backing, &cli.at)?;
    let mut out = io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        obey(&disk, line.context("cannot read stdin")?.trim())?;
        writeln!(out, "ok")?;
        out.flush()?;
    }
    Ok(Exit::Done)
}

fn obey(disk: &FaultFs, line: &str) -> Result<()> {
    match line {
        "" => {}
        "clear" => disk.clear(),
        fault => disk.inject(fault.parse()?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}

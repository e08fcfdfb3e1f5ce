//! Show the logs of all services in one stream.
//!
//! `logtail follow` runs under supervisord. It follows `/var/log/supervisor/*.log` and the logs of boot, prints each
//! line as `SERVICE | TEXT` to the container's own output, which is what `docker logs` shows, and writes it with its
//! time to `/var/log/logtail.log`, five files of 10 MB at most. `logtail` shows lines from there: the last ones, then
//! those that come.
//!
//! # What is lost or shown twice
//!
//! | event | result |
//! |---|---|
//! | renamed to `x.log.1`, also several times between two scans | every byte once, if the file still has a name at the scan |
//! | copied to `x.log.1` and truncated | every byte once, as above; bytes written between copy and truncation are lost |
//! | truncated, rewritten | unread bytes are lost; the new content is shown, unless it starts with the old bytes, has them at the offset too, and is longer than a copy |
//! | deleted | the rest, and further lines until 10 s pass without one; nothing after a restart |
//! | compressed at once | every byte once: the file is open, or gzip is decompressed; other formats are reported |
//! | moved elsewhere twice between two scans, or truncated without a copy while logtail is stopped | a report that lines may be missing |
//! | renamed to `x.1.log` | every byte once, as lines of `x` |
//! | rotated while its writer keeps it open | every byte once, also after a restart |
//!
//! A file is identified by inode and time of creation, its content by a fingerprint. While the output blocks, nothing is read,
//! but files are opened as they appear, at most eight of a log; dropped bytes are counted and reported. A kill loses nothing
//! that has a name, and repeats the lines of the last second; the line that was being written may be incomplete, and is
//! repeated.
//!
//! # Safety
//!
//! Symbolic links are not followed, neither of directories nor of files; other than regular files are rejected and reported.

mod checkpoint;
mod checkpoint_store;
mod cli;
mod compressed;
mod entry;
mod events;
mod file_reader;
mod filter;
mod fingerprint;
mod follower;
mod line_assembler;
mod log_reader;
mod merged_log;
mod output;
mod output_format;
mod paths;
mod rotation;
mod sinks;
mod viewer;

use std::path::PathBuf;

use clap::Parser;
use kit::{Exit, Outcome};

pub use cli::command;
use cli::{Cli, Task};
use follower::Follower;
use output::Output;
use paths::Paths;

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    match cli.task {
        None => viewer::run(cli),
        Some(Task::Follow { to_parent }) => {
            let output = if to_parent {
                // supervisord would have to copy the output through a pipe, and block without a reader.
                PathBuf::from(format!("/proc/{}/fd/1", nix::unistd::getppid()))
            } else {
                PathBuf::from(output::STDOUT)
            };
            let output = match Output::open(&output) {
                Err(error) if to_parent => {
                    log::warn!("{error:#}; writing to {} only", paths::MERGED_LOG);
                    None
                }
                output => Some(output?),
            };
            let place = Paths(cli.root);
            let _only = place.claim()?;
            Follower::new(&place, output)?.run(to_parent)?;
            Ok(Exit::Done)
        }
    }
}

//! Show the logs of all services in one stream.
//!
//! `logtail follow` runs under supervisord. It follows `/var/log/supervisor/*.log` and the logs of boot, prints each
//! line as `SERVICE | TEXT` to the container's own output, which is what `docker logs` shows, and writes it with its
//! time to `/var/log/logtail.log`, five files of 10 MB at most. `logtail` shows lines from there: the last ones, then
//! those that come.
//!
//! # What is lost or shown twice
//!
//! | what happens to a log | what is shown |
//! |---|---|
//! | renamed to `x.log.1`, also several times between two looks | every byte once, as long as the file still has a name when we look |
//! | copied to `x.log.1` and cut | every byte once, as above; what is written between copy and cut is lost to whoever did that |
//! | cut, written anew | what was not read is lost; the new content is shown, unless it begins with the old bytes, has them at our place too, and is longer than a copy |
//! | deleted | the rest, and what its writer still writes, until 10 s pass without a line; nothing after a restart |
//! | compressed at once | every byte once: the file is open, or gzip files are unpacked; others are reported |
//! | moved elsewhere twice between two looks, or cut without a copy while we are down or stopped | that lines may be missing |
//! | renamed to `x.1.log` | every byte once, as lines of `x` |
//! | written to under a rotated name, by a writer who did not notice | every byte once, also after a restart |
//!
//! A file is known by inode and time of birth, and by its bytes, of which positions keep some: a file that was
//! cut is the same file. While the output takes nothing, nothing is read, but files are opened as they appear, up to
//! eight of a log; what is given up is counted and said. A kill loses nothing that has a name, and repeats what was shown
//! in the second before it; the line that was being written then may be cut and comes again.
//!
//! # Safety
//!
//! No link is followed, neither a directory's nor a file's; what is no regular file is refused and named.

mod checkpoint;
mod checkpoint_store;
mod cli;
mod clock;
mod compressed;
mod entry;
mod events;
mod file_id;
mod file_name;
mod file_reader;
mod filter;
mod fingerprint;
mod follower;
mod level;
mod line_assembler;
mod log_directory;
mod log_reader;
mod merged_log;
mod output;
mod output_format;
mod paths;
mod rotation;
mod safe_text;
mod sinks;
mod viewer;

use std::path::PathBuf;

use clap::Parser;
use kit::{Exit, Outcome};

pub use cli::command;
use cli::{Action, Cli};
use follower::Follower;
use output::Output;
use paths::Paths;

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    match cli.action {
        None => viewer::run(cli),
        Some(Action::Follow { to_parent }) => {
            let output = if to_parent {
                // supervisord would have to copy what it got through a pipe, and stand still when nobody reads.
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

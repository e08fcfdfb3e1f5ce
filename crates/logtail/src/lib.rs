//! Every log of the container in one stream.
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

mod cli;
mod clock;
mod directory;
mod entry;
mod follow;
mod generation;
mod identity;
mod level;
mod lines;
mod mark;
mod names;
mod outlet;
mod packed;
mod place;
mod plan;
mod position;
mod positions;
mod record;
mod safe;
mod show;
mod sinks;
mod stream;
mod wanted;
mod watch;

use std::path::PathBuf;

use clap::Parser;
use kit::{Exit, Outcome};

pub use cli::command;
use cli::{Action, Cli};
use follow::Follower;
use outlet::Outlet;
use place::Place;

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    match cli.action {
        None => show::show(cli),
        Some(Action::Follow { to_parent }) => {
            let output = if to_parent {
                // supervisord would have to copy what it got through a pipe, and stand still when nobody reads.
                PathBuf::from(format!("/proc/{}/fd/1", nix::unistd::getppid()))
            } else {
                PathBuf::from(outlet::OWN)
            };
            let outlet = match Outlet::of(&output) {
                Err(error) if to_parent => {
                    log::warn!("{error:#}; lines go to {} alone", place::RECORD);
                    None
                }
                outlet => Some(outlet?),
            };
            let place = Place(cli.root);
            let _only = place.claim()?;
            Follower::new(&place, outlet)?.run(to_parent)?;
            Ok(Exit::Done)
        }
    }
}

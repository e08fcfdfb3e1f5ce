//! Brings a directory tree into the state of another.

mod capabilities;
mod decide;
mod error;
mod observer;
mod options;
mod pass;
mod replicate;
mod room;
mod survey;

pub use capabilities::{Capabilities, probe};
pub use decide::{Degradation, Refusal, decide};
pub use error::{Error, Result, Trouble};
pub use observer::{Counters, Note, Observer, Unobserved, What};
pub use options::{Check, Options, Pass, default_threads};
pub use pass::pass;
pub use replicate::{Replicated, replicate};
pub use room::{Room, Shortage, fits, room};
pub use survey::{Needs, Survey, survey};

/// Returns when everything that was written to the file system of `directory` is on the disk.
pub fn make_durable(directory: &std::path::Path) -> Result<()> {
    let failed = |cause| Error::target("sync", directory, cause, || None);
    let opened = rustix::fs::open(
        directory,
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(failed)?;
    rustix::fs::syncfs(opened).map_err(failed)
}

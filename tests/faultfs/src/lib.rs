//! A fault injector for tests: a FUSE file system that passes everything through to a directory and fails on demand.
//!
//! ```text
//! let disk = FaultFs::mount(&backing, &at)?;
//! disk.inject(Fault::NoSpace { after: 1_000_000 });   // from now on
//! … run the tool on `at` …
//! disk.clear();                                       // no faults
//! ```
//!
//! Faults can be changed at any time, also while a tool uses the mount; several can be active. Dropping the value unmounts,
//! even if a test panics or a file in it is open. Mounting needs root and `/dev/fuse`, but not libfuse.
//!
//! The program `faultfs BACKING AT` does the same from a terminal: it prints `ready`, then reads one fault per line from stdin
//! (`no-space 1000000`, `read-error 5 *.so`, `clear`), and unmounts when stdin ends.
//!
//! It keeps a descriptor for every entry that the kernel remembers, so trees must stay below the limit on open files
//! (20,000 on usual machines), and everything must be on one file system.

mod attribute_ops;
mod attributes;
mod cli;
mod content;
mod entries;
mod fault;
mod faults;
mod filesystem;
mod handles;
mod mount;
mod nodes;
mod passthrough;
mod pattern;

pub use cli::{command, run};
pub use fault::Fault;
pub use mount::FaultFs;
pub use pattern::Pattern;

/// Result of an operation.
type Answer<T> = Result<T, rustix::io::Errno>;

//! The real binary, with a cleared environment, on a real file system.

// Helpers of tests are tests to a reader, but not to the lint.
#![allow(clippy::unwrap_used)]

mod awkward;
mod follow;
mod mapping;
mod once;
mod volume;
mod world;

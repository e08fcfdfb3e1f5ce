//! The real binary, with a cleared environment, on a real file system.

// Helpers of tests are tests to a reader, but not to the lint.
#![allow(clippy::unwrap_used)]

mod commands;
mod edge_cases;
mod fixture;
mod follow;
mod mapping;
mod shared_volume;

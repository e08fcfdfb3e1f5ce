//! The real binary, with a cleared environment, on a real file system.

mod awkward;
mod follow;
mod once;
mod world;

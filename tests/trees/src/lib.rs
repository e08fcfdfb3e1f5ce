//! Trees for tests and benchmarks: created and changed from a seed, compared in full.
//!
//! * [`build`] makes a tree of a [`Shape`], such as a Python environment of 63,000 files; the same shape and seed give
//!   the same tree on every machine: names, content, modes, times.
//! * [`edge_cases`] makes a small tree of all edge cases for a copier. It needs root.
//! * [`mutate`] changes a tree as busy programs do, and returns a list of the changes.
//! * [`difference`] returns all differences between two trees, one per line. It is simple, shares no code with any copier,
//!   and never follows a link.
//!
//! Content is pseudo-random, so that holes, compression and deduplication do not make a copy look faster than it is.

mod aspect;
mod build;
mod content;
mod difference;
mod edge_cases;
mod entry;
mod mutate;
mod plan;
mod random;
mod shape;

pub use aspect::Aspect;
pub use build::build;
pub use difference::{difference, difference_except};
pub use edge_cases::edge_cases;
pub use mutate::mutate;
pub use random::Random;
pub use shape::Shape;

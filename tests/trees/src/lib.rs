//! Trees for tests and figures: made from a seed, changed from a seed, compared in full.
//!
//! * [`build`] makes a tree of a [`Shape`], such as a Python environment of 63,000 files; the same shape and seed give
//!   the same tree on every machine: names, content, modes, times.
//! * [`edge_cases`] makes a small tree of everything that a copier may stumble over. It needs root.
//! * [`mutate`] changes a tree as busy programs do, and returns a list of the changes.
//! * [`difference`] is the judge: every way in which two trees differ, a line each. It is written to be plainly right,
//!   shares no code with any copier, and never follows a link.
//!
//! Nothing here is quick at the price of being real: content is pseudo-random, so that neither holes nor compression
//! nor deduplication make a copy of it look quicker than it is.

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

//! Brings a directory tree into the state of another.

mod attributes;
mod capabilities;
mod compare;
mod content;
mod copier;
mod decide;
mod digest;
mod direct;
mod directory;
mod durable;
mod error;
mod file;
mod folder;
mod links;
mod make;
mod meta;
mod observer;
mod options;
mod pass;
mod priority;
mod queue;
mod remove;
mod replicate;
mod room;
mod survey;
mod temporary;
mod walk;

pub use capabilities::{Capabilities, probe};
pub use decide::{Degradation, Refusal, decide};
pub use durable::make_durable;
pub use error::{Error, Result, Trouble};
pub use observer::{Counters, Note, Observer, Unobserved, What};
pub use options::{Check, Options, Pass, default_threads};
pub use pass::pass;
pub use replicate::{Replicated, replicate};
pub use room::{Room, Shortage, fits, room};
pub use survey::{Needs, Survey, survey};


//! The reference of JSON formats, from the types that the tools serialize.

mod formats;
mod page;
mod rows;
mod sources;

pub use page::{PAGE, page};
pub use sources::Sources;

//! The repository's pages and the commands that they print, for the tests that parse and run them.
//!
//! A block marked `sh` is run by a test; one marked `sh no-test: REASON` is only parsed, as are commands in `dockerfile`
//! and `ini` blocks, in examples of `--help`, and in prose. A line with a [placeholder](has_placeholder) is never run.

mod block;
mod command;
mod command_line;
mod page;

pub use block::{Block, blocks};
pub use command::{PrintedCommand, commands, has_placeholder};
pub use command_line::error;
pub use page::{pages, prose, root};

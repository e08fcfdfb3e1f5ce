//! Recognizes secrets in files, variables and command lines of an image.
//!
//! `image-check` looks at the files of an image with it, `cargo xtask images lint` at those of each layer. Both decide by the
//! path first, so that few files are read, and nothing here prints a value.

mod file;
mod variable;

pub use file::{MAX_BYTES, Suspect, suspect};
pub use variable::{find_in_line, is_secret};

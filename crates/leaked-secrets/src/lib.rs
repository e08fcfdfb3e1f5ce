//! Recognizes secrets in files, variables and command lines of an image.
//!
//! `image-check` looks at the files of an image with it, `cargo xtask images lint` at those of each layer. A file is read if its
//! path or its size makes it a candidate ([`suspect`]), and then its content decides. Nothing here prints a value.

mod assignment;
mod command_line;
mod file;
mod private_key;
mod token;
mod url_password;
mod variable;

pub use command_line::find_in_line;
pub use file::{MAX_BYTES, Suspect, suspect};
pub use variable::is_secret;

//! A container as users have it, with a service that works, one that is starting and one that failed, and pictures of
//! the portal's pages in it. `cargo xtask screenshots` takes them for `docs/images`.

pub mod cli;
mod content;
pub mod pages;
mod pictures;
mod scene;

pub use cli::run;
pub use pages::{PAGES, Page};
pub use scene::{PASSWORD, Showcase, USER};

//! Containers under test: the only code of the tests that calls docker.
//!
//! One container a test, removed when the test ends, its ports on loopback. What a test needs and does not find (an
//! engine, an image, a browser) makes it fail: nothing is skipped. `cargo xtask e2e` sets everything up.

pub mod browser;
pub mod container;
pub mod control_socket;
pub mod output;
pub mod ssh;
pub mod volume;
pub mod web;

pub use browser::{Browser, Device, Scheme};
pub use container::{Container, Image, RunOptions};
pub use output::Output;
pub use ssh::KeyPair;
pub use volume::Volume;
pub use web::{HttpClient, Response};

//! The tasks of `cargo xtask`, one module a task, and what they share.
//!
//! A task is a public module with an `Args` and a `run`; `main.rs` has one line for each.

pub mod bake;
pub mod checkout;
pub mod down;
pub mod engine;
pub mod fingerprint;
pub mod image;
pub mod probe;
pub mod shown;
pub mod up;

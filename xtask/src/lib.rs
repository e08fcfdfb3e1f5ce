//! Tasks of `cargo xtask`, one module per task, and shared modules.
//!
//! A task is a public module with an `Args` and a `run`; `main.rs` has one line for each.

pub mod bake;
pub mod base;
pub mod bench;
pub mod cargo;
pub mod cargo_tools;
pub mod check;
pub mod checkout;
mod deny;
pub mod docs;
pub mod down;
pub mod e2e;
pub mod engine;
pub mod health;
pub mod image;
pub mod images;
mod lint;
mod nextest;
mod python_tools;
pub mod release;
mod repository;
pub mod screenshots;
pub mod step;
mod system_packages;
pub mod test;
pub mod timed_command;
pub mod up;
mod variants_page;

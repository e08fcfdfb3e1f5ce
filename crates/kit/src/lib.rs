//! What every tool of the image shares, one job a module.
//!
//! A tool's `main` is one line, `kit::main(tool::run)`; `run` returns an [`Exit`] or an error, and this crate
//! is the only place that turns either into a process exit code and a line on stderr.

pub mod atomic;
pub mod clock;
pub mod cmd;
pub mod container;
pub mod exec_limit;
pub mod exit;
pub mod input;
pub mod instance;
pub mod invisible;
pub mod lean;
pub mod lock;
pub mod logging;
pub mod open_files;
pub mod privileges;
pub mod quote;
pub mod secret;
pub mod settings;
pub mod units;
pub mod variables;
pub mod wait;
pub mod windows_text;

pub use exit::{Exit, HintExt, Outcome, Usage, main};
pub use input::Input;
pub use secret::Secret;
pub use settings::{Env, Problem, Reader};

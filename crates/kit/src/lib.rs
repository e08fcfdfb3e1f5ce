//! Code that every tool of the image shares, one job per module.
//!
//! A tool's `main` is one line, `kit::main(tool::run)`; `run` returns an [`Exit`] or an error. This crate alone turns
//! either into a process exit code and a line on stderr.

pub mod account_db;
pub mod atomic;
pub mod capabilities;
pub mod cmd;
pub mod container_id;
pub mod duration;
mod env;
pub mod env_scrub;
pub mod exec_limit;
pub mod exit;
pub mod hex;
pub mod invisible;
pub mod listening_port;
pub mod lock;
pub mod logging;
mod missing;
pub mod mounts;
pub mod open_files;
pub mod privileges;
pub mod process;
pub mod process_limit;
pub mod quote;
pub mod rfc3339;
pub mod rotating_log;
pub mod secret;
pub mod settings;
pub mod start_id;
pub mod system_account;
pub mod threads;
pub mod units;
pub mod unix_time;
pub mod untrusted_file;
pub mod variables;
pub mod wait;
pub mod windows_text;

pub use env::Env;
pub use exit::{Exit, HintExt, Outcome, UsageError, main};
pub use missing::{missing_ok, remove_file};
pub use secret::Secret;
pub use settings::{Problem, SettingsReader};
pub use untrusted_file::ReadPolicy;

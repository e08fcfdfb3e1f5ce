//! The real binary, a server that does everything wrong, scripts that do everything wrong, and a killer.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod background_processes;
mod connection_errors;
mod fetch_responses;
mod fixture;
mod full_disk;
mod kills;
mod output;
mod script_runs;
mod server;
mod tls;

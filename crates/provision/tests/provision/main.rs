//! The real binary, a server that does everything wrong, scripts that do everything wrong, and a killer.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod ending;
mod fetching;
mod killing;
mod machine;
mod output;
mod reaching;
mod rooms;
mod running;
mod server;
mod trust;

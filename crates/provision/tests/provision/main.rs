//! The real binary, a server that does everything wrong, scripts that do everything wrong, and a killer.

#![allow(clippy::unwrap_used)]

mod fetching;
mod killing;
mod machine;
mod rooms;
mod running;
mod server;
mod trust;

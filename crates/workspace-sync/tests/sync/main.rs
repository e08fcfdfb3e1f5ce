//! The real binary on real file systems.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod accidents;
mod claims;
mod faults;
mod first;
mod generations;
mod kills;
mod site;
mod verify;
mod writers;

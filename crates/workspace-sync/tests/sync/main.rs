//! The real binary on real file systems.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod changes;
mod claims;
mod conflicts;
mod copy_command;
mod delta_sync;
mod faults;
mod first_copy;
mod first_seconds;
mod fixture;
mod generations;
mod hidden_processes;
mod kills;
mod kills_after_switch;
mod provisioning_gate;
mod recreated_container;
mod retry;
mod status;
mod tree_mounts;
mod unreadable_source;
mod verify;
mod writers;

//! The real binary on real file systems.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod accidents;
mod beginnings;
mod changes;
mod claims;
mod copying;
mod faults;
mod first;
mod gate;
mod generations;
mod hidden;
mod kills;
mod later_kills;
mod mounted;
mod recreated;
mod retrying;
mod settling;
mod site;
mod sources;
mod stages;
mod verify;
mod writers;

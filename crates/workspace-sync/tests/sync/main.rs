//! The real binary on real file systems.

mod accidents;
mod first;
mod generations;
mod kills;
mod site;
mod writers;

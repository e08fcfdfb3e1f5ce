//! Whole passes over real trees. The owners, device files and small file systems of these tests need root.

#![allow(clippy::unwrap_used, reason = "tests")]

mod attributes;
mod changes;
mod crash;
mod entries;
mod errors;
mod file_systems;
mod fixture;
mod random;
mod replicate;
mod survey;

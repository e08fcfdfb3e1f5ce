//! Whole passes over real trees. The owners, device files and small file systems of these tests need root.

#![allow(clippy::unwrap_used, reason = "tests")]

mod attributes;
mod changes;
mod crash;
mod entries;
mod faults;
mod mounted;
mod random;
mod replicating;
mod surveying;
mod tree;

//! The checks, one module each: what was read, then a pure decision about it.

#![allow(clippy::unnecessary_wraps, reason = "all checks have one signature")]

pub mod boot;
pub mod environment;
pub mod gate;
pub mod gpu;
pub mod identity;
pub mod login;
pub mod logs;
pub mod permissions;
pub mod programs;
pub mod provisioning;
pub mod proxy;
pub mod public_ports;
pub mod resources;
pub mod secret_files;
pub mod services;
pub mod settings;
pub mod ssh;
pub mod storage;
pub mod sync;
pub mod tunnels;
pub mod versions;
pub mod volume;

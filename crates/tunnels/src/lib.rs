//! Cloudflare tunnels of this container: their status files and the texts about them.
//!
//! `tunnel-run quick` and `tunnel-run named` each replace one file in [`DIRECTORY`] while they run, and remove it when they
//! stop. The portal, `boot report` and `cfqt-url` read both as [`Tunnels`].

mod cause;
mod status;
mod tunnel_list;

pub use cause::Cause;
pub use status::{Kind, State, Status, Tunnel};
pub use tunnel_list::{NoTunnel, Tunnels};

/// Directory of the status files.
pub const DIRECTORY: &str = "/run/leonardo";
/// Maximum number of quick tunnels.
pub const MAX_QUICK: usize = 16;

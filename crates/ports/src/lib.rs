//! The registry of web services: which port is proxied to which.
//!
//! A service is one JSON file in `/run/http_ports`, named after the port on which the world reaches it. Any
//! member of group `leonardo` may write there, so nothing in such a file is believed before [`Service::parse`]
//! has looked at it, and one bad file never affects another.

mod registry;
mod service;
mod status;

pub use registry::{Claim, Registry, RejectedFile};
pub use service::Service;
pub use status::{Instance, Phase, Status};

/// Path of the registry.
pub const PATH: &str = "/run/http_ports";

/// Public port of the portal, which no service can have.
pub const PORTAL: u16 = 1111;

/// Port fixed by rclone's OAuth configuration, published on loopback; no service can have it.
pub const RCLONE: u16 = 53682;

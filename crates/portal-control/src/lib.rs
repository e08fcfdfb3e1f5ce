//! Control API of the service portal, for commands inside the container.
//!
//! The portal listens on a second Unix socket that members of group `leonardo` can use. Requests and responses are JSON
//! over HTTP, so `curl --unix-socket` can do what `share` and `portal-link` do.

mod client;
mod public_origin;

use serde::{Deserialize, Serialize};

pub use client::Client;
pub use public_origin::{PublicOrigin, public_origin};

/// Path of the control socket.
pub const SOCKET: &str = "/run/portal-control/control.sock";

/// Share link to one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Public identifier, which gives no access.
    pub id: String,
    /// Name of the service when the link was created.
    pub service: String,
    /// Public port of the service.
    pub port: u16,
    /// Time of creation, in seconds since the Unix epoch.
    pub created: u64,
    /// Expiry, in seconds since the Unix epoch.
    pub expires: u64,
    /// Maximum number of uses; `None` means unlimited.
    pub max_uses: Option<u32>,
    /// Number of uses so far.
    pub uses: u32,
}

/// Body of `POST /shares`.
#[derive(Debug, Serialize, Deserialize)]
pub struct CreateShare {
    /// Name or public port of the service.
    pub service: String,
    /// Lifetime of the link, in seconds.
    pub seconds: u64,
    /// Maximum number of uses; `None` means unlimited.
    pub max_uses: Option<u32>,
}

/// Response to [`CreateShare`].
#[derive(Debug, Serialize, Deserialize)]
pub struct CreatedShare {
    /// The new link.
    pub share: Share,
    /// Path and query of the link's URL, on the public port of the service.
    pub path: String,
}

/// Body of `POST /login-codes`.
#[derive(Debug, Serialize, Deserialize)]
pub struct CreateLoginCode {
    /// Lifetime of the link, in seconds; at most a day.
    pub seconds: u64,
}

/// Response to [`CreateLoginCode`].
#[derive(Debug, Serialize, Deserialize)]
pub struct CreatedLoginCode {
    /// Path and query of the link's URL, on the portal's port.
    pub path: String,
    /// Expiry, in seconds since the Unix epoch.
    pub expires: u64,
}

/// Response to every `DELETE`.
#[derive(Debug, Serialize, Deserialize)]
pub struct RevokedCount {
    /// Number of links or sessions that were ended.
    pub ended: usize,
}

/// Body of an error response.
#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Message for people.
    pub error: String,
}

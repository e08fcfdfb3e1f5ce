//! How commands inside the container talk with the service portal.
//!
//! The portal answers on a second Unix socket that members of group `leonardo` may use. Requests and answers are JSON
//! over HTTP, so `curl --unix-socket` can do what `share` and `portal-link` do.

mod client;
mod public_origin;

use serde::{Deserialize, Serialize};

pub use client::Client;
pub use public_origin::{PublicOrigin, public_origin};

/// Where the portal listens for commands.
pub const SOCKET: &str = "/run/portal-control/control.sock";

/// A link to one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// What people and commands call it; opens nothing.
    pub id: String,
    /// The service's name when the link was made.
    pub service: String,
    /// The service's public port.
    pub port: u16,
    /// When it was made, in seconds since the Unix epoch.
    pub created: u64,
    /// When it ends, in seconds since the Unix epoch.
    pub expires: u64,
    /// How often it may be used; nothing means as often as one likes.
    pub max_uses: Option<u32>,
    /// How often it was used.
    pub uses: u32,
}

/// Asks for a link: `POST /shares`.
#[derive(Debug, Serialize, Deserialize)]
pub struct CreateShare {
    /// The service's name or its public port.
    pub service: String,
    /// How long the link lives, in seconds.
    pub seconds: u64,
    /// How often it may be used.
    pub max_uses: Option<u32>,
}

/// The answer to [`CreateShare`].
#[derive(Debug, Serialize, Deserialize)]
pub struct CreatedShare {
    /// The link's description.
    pub share: Share,
    /// Path and query that the link opens on the service's public port.
    pub path: String,
}

/// Asks for a one-time login link: `POST /login-codes`.
#[derive(Debug, Serialize, Deserialize)]
pub struct CreateLoginCode {
    /// How long it may wait to be used, in seconds.
    pub seconds: u64,
}

/// The answer to [`CreateLoginCode`].
#[derive(Debug, Serialize, Deserialize)]
pub struct CreatedLoginCode {
    /// Path and query that the link opens on the portal's port.
    pub path: String,
}

/// How many of what was asked for there were: the answer to every `DELETE`.
#[derive(Debug, Serialize, Deserialize)]
pub struct RevokedCount {
    /// The number.
    pub ended: usize,
}

/// What went wrong, in words.
#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The words.
    pub error: String,
}

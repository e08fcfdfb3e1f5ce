//! The gate's verdict about a request.

use crate::api_tokens::TokenScope;

/// Reason to allow or refuse a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No login is required, for this service or with `WEB_ENABLE_AUTH=false`.
    Open,
    /// An active session of the owner.
    Session,
    /// A program with the token or the password.
    Program,
    /// A session from a share link to this service.
    Guest,
    /// A program with an API token, which only the API itself lets in ([`crate::api`]); everything else refuses it.
    ApiToken(TokenScope),
    /// No valid login.
    Refused,
    /// A page of another origin made the browser send the request.
    CrossOrigin,
    /// No login is required, and the host name may belong to a page that rebound it to this address (DNS rebinding).
    UnknownHost,
    /// A CORS preflight: a browser asks whether a page of another origin can send a request.
    Preflight,
    /// Too many failed attempts; the value is the seconds to wait.
    Wait(u64),
}

impl Verdict {
    /// True if the request is forwarded to the service.
    pub fn is_allowed(self) -> bool {
        self.is_owner() || self == Self::Guest
    }

    /// True if the visitor can see and change everything in the portal.
    pub fn is_owner(self) -> bool {
        matches!(self, Self::Open | Self::Session | Self::Program)
    }
}

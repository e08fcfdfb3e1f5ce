//! Outcomes of the gate's decision about a request.

/// Why a request is let through, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No login is asked for: authentication was turned off by name, or for this service.
    Open,
    /// A living session.
    Session,
    /// A program with token or password.
    Program,
    /// Somebody with a share link to this service, and nothing else.
    Guest,
    /// Nobody we know.
    Refused,
    /// Somebody we know or need not know, but another site's page made the browser ask.
    CrossOrigin,
    /// A name that any page could have given this container's address; without a login, the name is all we know.
    UnknownHost,
    /// A browser asks whether a page elsewhere may send a request.
    Preflight,
    /// Too many wrong passwords or tokens from there: how many seconds to wait.
    Wait(u64),
}

impl Verdict {
    /// Whether the request goes on to the application.
    pub fn is_allowed(self) -> bool {
        self.is_owner() || self == Self::Guest
    }

    /// Whether the visitor may see and change what belongs to the whole container.
    pub fn is_owner(self) -> bool {
        matches!(self, Self::Open | Self::Session | Self::Program)
    }
}

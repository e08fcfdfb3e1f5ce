//! Causes for which a tunnel is not usable, with the message and the remedy that users read.

use serde::{Deserialize, Serialize};

use crate::{Kind, MAX_QUICK};

/// Cause for which a tunnel is not open, or is open and of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Cloudflare answered 429.
    RateLimited,
    /// Cloudflare answered 5xx, or not as documented.
    ServiceDown,
    /// The name of Cloudflare's interface could not be resolved.
    NoDns,
    /// No connection to Cloudflare's interface.
    ApiUnreachable,
    /// Another certificate than Cloudflare's.
    ApiCertificate,
    /// The addresses of Cloudflare's edge could not be looked up.
    EdgeDns,
    /// Neither UDP nor TCP reaches Cloudflare's edge.
    EdgeBlocked,
    /// Cloudflare does not know the tunnel, or refuses its secret.
    Unauthorized,
    /// The value of `CF_TUNNEL_TOKEN` is not a token.
    BadToken,
    /// The file with the token is missing or unreadable.
    NoTokenFile,
    /// An option or subcommand is unknown to this cloudflared; detail: its message.
    TooOld,
    /// Another program has the port for the metrics.
    PortTaken,
    /// Caddy does not listen on the port in the container.
    GateDown,
    /// The connection to Cloudflare was lost.
    Lost,
    /// The metrics server of a running cloudflared does not answer.
    Hung,
    /// No connection within a minute, without any other cause.
    NotConnected,
    /// cloudflared exited; detail: `exited with status 1: LAST LINE`.
    Exited,
    /// cloudflared could not be executed; detail: path and reason.
    CannotRun,
    /// cloudflared is not installed.
    Missing,
    /// There are more services than quick tunnels.
    Limit,
    /// The service asks for no login.
    NoLogin,
    /// Another program than Caddy listens on the public port.
    PortHeld,
    /// A hostname of the named tunnel leads past the gate; detail: `https://HOST leads to port 18188`.
    RawPort,
}

impl Cause {
    /// Returns a clause without a full stop.
    #[must_use]
    pub fn message(self, kind: Kind, detail: Option<&str>) -> String {
        let detail = detail.unwrap_or_default();
        let text = match self {
            Self::RateLimited => {
                "Cloudflare accepts no more new quick tunnels from this address for now (429)"
            }
            Self::ServiceDown => "Cloudflare's quick tunnel service failed",
            Self::NoDns => "the container cannot resolve api.trycloudflare.com",
            Self::ApiUnreachable => "api.trycloudflare.com does not answer",
            Self::ApiCertificate => "a proxy on the way replaces Cloudflare's certificate",
            Self::EdgeDns => "the DNS server has no SRV records of Cloudflare's edge",
            Self::EdgeBlocked => "outgoing TCP and UDP to port 7844 are blocked",
            Self::Unauthorized if kind == Kind::Quick => "Cloudflare has ended this tunnel",
            Self::Unauthorized => "Cloudflare does not accept the tunnel token",
            Self::BadToken => "CF_TUNNEL_TOKEN is not a tunnel token",
            Self::NoTokenFile => "cloudflared cannot read its token",
            Self::TooOld if detail.is_empty() => "this cloudflared is too old",
            Self::TooOld => return format!("this cloudflared is too old: {detail}"),
            Self::PortTaken => "another program has the port of cloudflared's metrics",
            Self::GateDown => "the port does not answer in the container",
            Self::Lost => "the connection to Cloudflare was lost",
            Self::Hung => "cloudflared does not answer",
            Self::NotConnected => "cloudflared did not connect within a minute",
            Self::Exited => return format!("cloudflared {detail}"),
            Self::CannotRun => return format!("cannot run {detail}"),
            Self::Missing => "cloudflared is not in this image",
            Self::Limit => return format!("only {MAX_QUICK} quick tunnels are opened"),
            Self::NoLogin => "the service has no login",
            Self::PortHeld => "another program listens on the port, so that visitors would need no login",
            Self::RawPort => return format!("{detail}, which has no login"),
        };
        text.to_owned()
    }

    /// Returns what the user can do, or what is done without the user; `port` is the public port of the tunnel.
    #[must_use]
    pub fn remedy(self, kind: Kind, port: u16) -> Option<String> {
        let text = match self {
            Self::RateLimited => {
                "it is tried again; others may share the address; CF_TUNNEL_TOKEN has no such limit"
            }
            Self::ServiceDown => "it is tried again; see cloudflarestatus.com",
            Self::NoDns => "check its DNS: docker run --dns 1.1.1.1",
            Self::ApiUnreachable => "allow outgoing TCP to port 443",
            Self::ApiCertificate => "exempt *.trycloudflare.com and *.argotunnel.com from it",
            Self::EdgeDns => "use another one: docker run --dns 1.1.1.1",
            Self::EdgeBlocked => "allow one of them, or use a published port or an SSH tunnel",
            Self::Unauthorized if kind == Kind::Quick => "a new one is opened",
            Self::Unauthorized => "create a new token, and a new container with it",
            Self::BadToken => "copy only the word that begins with eyJ from the install command",
            Self::NoTokenFile => "restart the container",
            Self::TooOld => "install 2026.5.0 or newer",
            Self::GateDown => "run: supervisorctl status caddy",
            Self::PortHeld => "let it listen on the service's listen_port",
            Self::Lost => "cloudflared reconnects",
            Self::Hung => "it is restarted",
            Self::NotConnected | Self::Exited => "see its log in /var/log/supervisor",
            Self::Missing => "run cloudflared in the container to see how to add it",
            Self::NoLogin => "keep the login and create a link with share, or use a named tunnel",
            Self::RawPort => {
                return Some(format!("point it to http://localhost:{port} in Cloudflare's dashboard"));
            }
            Self::Limit | Self::PortTaken | Self::CannotRun => return None,
        };
        Some(text.to_owned())
    }
}

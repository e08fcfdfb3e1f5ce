//! All tunnels of the container, as their readers need them.

use std::path::Path;

use kit::{Problem, duration, unix_time};

use crate::{Cause, Kind, State, Status, Tunnel};

/// The tunnels of both programs.
#[derive(Debug, Clone, Default)]
pub struct Tunnels {
    quick: Option<Status>,
    named: Option<Status>,
}

/// Reason why there is no usable tunnel to a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoTunnel {
    /// A clause without a full stop.
    pub reason: String,
    /// The next step of the user.
    pub hint: Option<String>,
}

impl Tunnels {
    /// Reads the status files in `directory`; a missing or damaged file has no tunnels.
    #[must_use]
    pub fn read(directory: &Path) -> Self {
        let read = |kind| Status::read(kind, directory);
        Self { quick: read(Kind::Quick), named: read(Kind::Named) }
    }

    /// Returns the address of an open tunnel to a public port; a named one comes first.
    #[must_use]
    pub fn url(&self, port: u16) -> Option<&str> {
        self.named_url(port).or_else(|_| self.quick_url(port)).ok()
    }

    /// Returns the state of the best tunnel to a public port.
    #[must_use]
    pub fn state(&self, port: u16) -> Option<State> {
        if self.url(port).is_some() {
            return Some(State::Open);
        }
        self.all().find(|(_, tunnel)| tunnel.port == port).map(|(_, tunnel)| tunnel.state)
    }

    /// Returns the address of the quick tunnel to a public port.
    pub fn quick_url(&self, port: u16) -> Result<&str, NoTunnel> {
        url(self.quick.as_ref(), Kind::Quick, port)
    }

    /// Returns the address of the first hostname of the named tunnel that leads to a public port.
    pub fn named_url(&self, port: u16) -> Result<&str, NoTunnel> {
        url(self.named.as_ref(), Kind::Named, port)
    }

    /// Returns the tunnel of a kind to a public port: an open one, otherwise the first.
    #[must_use]
    pub fn tunnel(&self, kind: Kind, port: u16) -> Option<&Tunnel> {
        let all = || self.all().filter(|(of, tunnel)| *of == kind && tunnel.port == port);
        let open = all().find(|(_, tunnel)| tunnel.state == State::Open);
        open.or_else(|| all().next()).map(|(_, tunnel)| tunnel)
    }

    /// Returns the public port to which a tunnel with this hostname leads.
    #[must_use]
    pub fn port_of(&self, host: &str) -> Option<u16> {
        let is_host =
            |url: &str| url.strip_prefix("https://").is_some_and(|own| own.eq_ignore_ascii_case(host));
        self.all()
            .find(|(_, tunnel)| tunnel.url.as_deref().is_some_and(is_host))
            .map(|(_, tunnel)| tunnel.port)
    }

    /// Returns a sentence for the portal if quick tunnels cannot exist, which is no problem of the user's.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let missing = self.quick.as_ref().is_some_and(|status| status.cause == Some(Cause::Missing));
        let sentence =
            |remedy| format!("No tunnels: {}; {remedy}", Cause::Missing.message(Kind::Quick, None));
        missing.then(|| Cause::Missing.remedy(Kind::Quick, 0).map(sentence))?
    }

    /// Returns one problem for each cause, with all ports that have it; a tunnel that is opened for the first time has none.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (kind, status) in self.statuses() {
            let cause = status.cause.filter(|&cause| kind == Kind::Named || cause != Cause::Missing);
            let setting = if kind == Kind::Named { "CF_TUNNEL_TOKEN" } else { "tunnels" };
            problems.extend(
                cause.map(|cause| Problem::new(setting, text(cause, kind, status.detail.as_deref(), 0))),
            );
        }
        let mut groups: Vec<(String, Vec<u16>)> = Vec::new();
        for (kind, tunnel) in self.all() {
            let Some(cause) = tunnel.cause.filter(|&cause| cause != Cause::NoLogin) else { continue };
            let text = text(cause, kind, tunnel.detail.as_deref(), tunnel.port);
            match groups.iter_mut().find(|(known, _)| *known == text) {
                Some((_, ports)) => ports.push(tunnel.port),
                None => groups.push((text, vec![tunnel.port])),
            }
        }
        problems.extend(groups.into_iter().map(|(text, mut ports)| {
            ports.dedup();
            let list: Vec<String> = ports.iter().map(u16::to_string).collect();
            let noun = if ports.len() == 1 { "tunnel to port" } else { "tunnels to ports" };
            Problem::new(format!("{noun} {}", list.join(", ")), text)
        }));
        problems
    }

    fn statuses(&self) -> impl Iterator<Item = (Kind, &Status)> {
        let named = self.named.iter().map(|status| (Kind::Named, status));
        named.chain(self.quick.iter().map(|status| (Kind::Quick, status)))
    }

    fn all(&self) -> impl Iterator<Item = (Kind, &Tunnel)> {
        self.statuses().flat_map(|(kind, status)| status.tunnels.iter().map(move |tunnel| (kind, tunnel)))
    }
}

/// Returns message and remedy as one text.
fn text(cause: Cause, kind: Kind, detail: Option<&str>, port: u16) -> String {
    let message = cause.message(kind, detail);
    cause.remedy(kind, port).map_or_else(|| message.clone(), |remedy| format!("{message}; {remedy}"))
}

fn url(status: Option<&Status>, kind: Kind, port: u16) -> Result<&str, NoTunnel> {
    let no = |reason: &str, hint: Option<&str>| NoTunnel {
        reason: reason.to_owned(),
        hint: hint.map(ToOwned::to_owned),
    };
    let failed = |cause: Cause, detail: &Option<String>, retry_at: Option<u64>| {
        let wait = retry_at.and_then(|at| at.checked_sub(unix_time::now()));
        let next = wait.map(|wait| format!("; next attempt in {}", duration::words(wait)));
        let reason = cause.message(kind, detail.as_deref()) + &next.unwrap_or_default();
        NoTunnel { reason, hint: cause.remedy(kind, port) }
    };
    let program = kind.program();
    let Some(status) = status else {
        let setting = match kind {
            Kind::Quick => "it is off with CF_QUICK_TUNNELS=false or WEB_ENABLE_AUTH=false",
            Kind::Named => "it needs CF_TUNNEL_TOKEN",
        };
        let hint = format!("{setting}; else run: supervisorctl status {program}");
        return Err(no(&format!("the program {program} is not running"), Some(&hint)));
    };
    let mut tunnels = status.tunnels.iter().filter(|tunnel| tunnel.port == port);
    let open = tunnels.clone().find(|tunnel| tunnel.state == State::Open);
    if let Some(url) = open.and_then(|tunnel| tunnel.url.as_deref()) {
        return Ok(url);
    }
    Err(match (tunnels.next(), status.cause) {
        (Some(Tunnel { cause: Some(cause), detail, retry_at, .. }), _) => failed(*cause, detail, *retry_at),
        (_, Some(cause)) => failed(cause, &status.detail, None),
        (tunnel, None) if tunnel.is_some() || status.is_opening => {
            no("it is being opened", Some("it takes about ten seconds"))
        }
        _ if kind == Kind::Quick => no("no service is registered at this port", None),
        _ => no("no hostname of the tunnel leads there", None),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tunnel(port: u16, state: State, host: Option<&str>, cause: Option<Cause>) -> Tunnel {
        let url = host.map(|host| format!("https://{host}"));
        Tunnel { port, state, url, cause, detail: None, retry_at: None }
    }

    fn status(tunnels: Vec<Tunnel>) -> Status {
        Status { tunnels, ..Status::default() }
    }

    fn texts(tunnels: &Tunnels) -> Vec<String> {
        tunnels.problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_format_of_a_file_is_fixed_and_a_damaged_one_has_no_tunnels() {
        let dir = tempfile::tempdir().unwrap();
        let status = status(vec![tunnel(8188, State::Open, Some("a-b.trycloudflare.com"), None)]);
        status.write(Kind::Quick, dir.path()).unwrap();
        let file = dir.path().join("quicktunnel.json");
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "{\"is_opening\":false,\"cause\":null,\"detail\":null,\"tunnels\":[{\"port\":8188,\
             \"state\":\"open\",\"url\":\"https://a-b.trycloudflare.com\",\"cause\":null,\"detail\":null,\
             \"retry_at\":null}]}\n"
        );
        assert_eq!(Status::read(Kind::Quick, dir.path()), Some(status));
        assert_eq!(Tunnels::read(dir.path()).url(8188), Some("https://a-b.trycloudflare.com"));
        fs::write(&file, "{\"is_opening\":").unwrap();
        let no = |reason: &str, hint: &str| Err(NoTunnel { reason: reason.into(), hint: Some(hint.into()) });
        let off = "it is off with CF_QUICK_TUNNELS=false or WEB_ENABLE_AUTH=false";
        let hint = format!("{off}; else run: supervisorctl status quicktunnel");
        let tunnels = Tunnels::read(dir.path());
        assert_eq!(tunnels.quick_url(8188), no("the program quicktunnel is not running", &hint));
        let hint = "it needs CF_TUNNEL_TOKEN; else run: supervisorctl status cloudflared";
        assert_eq!(tunnels.named_url(8188), no("the program cloudflared is not running", hint));
    }

    #[test]
    fn only_an_open_tunnel_has_an_address_and_a_named_one_comes_first() {
        let quick = status(vec![
            tunnel(1111, State::Open, Some("a.trycloudflare.com"), None),
            tunnel(3000, State::Lost, Some("b.trycloudflare.com"), Some(Cause::Lost)),
            tunnel(5000, State::Opening, None, None),
            tunnel(6000, State::Off, None, Some(Cause::NoLogin)),
        ]);
        let named = status(vec![
            tunnel(1111, State::Open, Some("portal.example.com"), None),
            tunnel(8188, State::Off, Some("raw.example.com"), Some(Cause::RawPort)),
        ]);
        let tunnels = Tunnels { quick: Some(quick), named: Some(named) };
        let reason = |found: Result<&str, NoTunnel>| found.map(ToOwned::to_owned).map_err(|no| no.reason);
        assert_eq!(tunnels.url(1111), Some("https://portal.example.com"));
        assert_eq!(tunnels.quick_url(1111), Ok("https://a.trycloudflare.com"));
        assert_eq!(reason(tunnels.quick_url(3000)).unwrap_err(), "the connection to Cloudflare was lost");
        for (port, expected) in [
            (5000, "it is being opened"),
            (6000, "the service has no login"),
            (7000, "no service is registered at this port"),
        ] {
            assert_eq!(reason(tunnels.quick_url(port)), Err(expected.to_owned()));
        }
        assert_eq!(reason(tunnels.named_url(3000)), Err("no hostname of the tunnel leads there".to_owned()));
        let opening = Status { is_opening: true, ..Status::default() };
        let opening = Tunnels { quick: None, named: Some(opening) };
        assert_eq!(reason(opening.named_url(3000)), Err("it is being opened".to_owned()));
        let states = [1111, 3000, 5000, 6000, 7000, 8188].map(|port| {
            tunnels.state(port).map_or("none".into(), |state| format!("{state:?}").to_lowercase())
        });

        assert_eq!(states, ["open", "lost", "opening", "off", "none", "off"]);
        let state = |kind, port| tunnels.tunnel(kind, port).map(|tunnel| tunnel.state);
        assert_eq!(state(Kind::Quick, 1111), Some(State::Open));
        assert_eq!((state(Kind::Named, 8188), state(Kind::Quick, 8188)), (Some(State::Off), None));
        let ports = ["PORTAL.example.com", "b.trycloudflare.com", "trycloudflare.com", ""]
            .map(|host| tunnels.port_of(host));
        assert_eq!(ports, [Some(1111), Some(3000), None, None]);
    }

    #[test]
    fn a_cause_is_one_problem_with_all_its_ports() {
        let blocked = Some(Cause::EdgeBlocked);
        let mut raw = tunnel(8188, State::Off, Some("c.example.com"), Some(Cause::RawPort));
        raw.detail = Some("https://c.example.com leads to port 18188".into());
        let mut exited = tunnel(3000, State::Waiting, None, Some(Cause::Exited));
        exited.detail = Some("exited with status 1: boom".into());
        let quick = status(vec![
            tunnel(1111, State::Waiting, None, blocked),
            exited,
            tunnel(5000, State::Opening, None, None),
            tunnel(6000, State::Off, None, Some(Cause::NoLogin)),
            tunnel(8188, State::Opening, None, blocked),
        ]);
        let named = Status { cause: Some(Cause::Missing), ..status(vec![raw]) };
        assert_eq!(
            texts(&Tunnels { quick: Some(quick), named: Some(named) }),
            [
                "CF_TUNNEL_TOKEN: cloudflared is not in this image; run cloudflared in the container to see how to add it",
                "tunnel to port 8188: https://c.example.com leads to port 18188, which has no login; point it to \
                 http://localhost:8188 in Cloudflare's dashboard",
                "tunnels to ports 1111, 8188: outgoing TCP and UDP to port 7844 are blocked; allow one of them, or use a \
                 published port or an SSH tunnel",
                "tunnel to port 3000: cloudflared exited with status 1: boom; see its log in /var/log/supervisor",
            ]
        );
    }

    #[test]
    fn every_cause_has_its_text_in_report_and_portal() {
        let unknown = serde_json::from_str::<Cause>("\"?\"").unwrap_err().to_string();
        // The error lists all names, in the order of the enumeration.
        let names = unknown.split('`').skip(3).step_by(2);
        let texts: Vec<String> = names
            .map(|name| {
                let mut tunnel =
                    tunnel(8188, State::Waiting, None, serde_json::from_value(name.into()).unwrap());
                tunnel.detail = Some("DETAIL".into());
                let tunnels = Tunnels { quick: Some(status(vec![tunnel])), named: None };
                texts(&tunnels).pop().map_or_else(
                    || format!("{name}: none"),
                    |text| text.strip_prefix("tunnel to port 8188: ").unwrap().to_owned(),
                )
            })
            .collect();
        assert_eq!(texts, include_str!("../tests/texts.txt").lines().collect::<Vec<_>>());
    }

    #[test]
    fn the_next_attempt_is_in_the_reason() {
        let mut limited = tunnel(8188, State::Waiting, None, Some(Cause::RateLimited));
        limited.retry_at = Some(unix_time::now() + 150);
        let tunnels = Tunnels { quick: Some(status(vec![limited])), named: None };
        let reason = tunnels.quick_url(8188).unwrap_err().reason;
        assert!(reason.contains(" for now (429); next attempt in 2 min"), "{reason}");
    }

    #[test]
    fn an_image_without_cloudflared_has_a_note_and_no_problem() {
        let quick = Status { cause: Some(Cause::Missing), ..Status::default() };
        let tunnels = Tunnels { quick: Some(quick), named: None };
        assert_eq!(texts(&tunnels), Vec::<String>::new());
        assert_eq!(
            tunnels.note().as_deref(),
            Some(
                "No tunnels: cloudflared is not in this image; run cloudflared in the container to see how to add it"
            )
        );
        assert_eq!(tunnels.quick_url(1111).unwrap_err().reason, "cloudflared is not in this image");
        assert_eq!(Tunnels::default().note(), None);
    }
}

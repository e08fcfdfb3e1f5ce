//! Meaning of cloudflared's log lines. The texts are those of 2026.8.2 and have to be reviewed with each new pin.

use std::time::Instant;

use tunnels::Cause;

/// Beginning of the message of `tunnel-run child` about a program that cannot be executed.
const CANNOT_RUN: &str = "tunnel-run: error: cannot run ";
/// Beginning of the message about each connection to the edge.
const REGISTERED: &str = "Registered tunnel connection";
/// Beginning of the fields of a line without a message, about a visitor's request.
const GATE_DOWN: &str = "error=\"Unable to reach the origin service";
/// Each cause follows from a message that begins with the first text, in a line that contains the second. Lines about
/// requests contain text of visitors, but not at their beginning.
const TEXTS: [(&str, &str, Cause); 24] = [
    ("Error unmarshaling QuickTunnel response", "status_code=\"429", Cause::RateLimited),
    ("error code: 1015", "", Cause::RateLimited),
    ("Error unmarshaling QuickTunnel response", "status_code=\"5", Cause::ServiceDown),
    ("failed to unmarshal quick Tunnel", "", Cause::ServiceDown),
    ("failed to parse quick Tunnel ID", "", Cause::ServiceDown),
    // As 2026.9.1 puts it.
    ("quick tunnel provisioning failed", "status 429", Cause::RateLimited),
    ("quick tunnel provisioning failed", "", Cause::ServiceDown),
    ("failed to read quick-tunnel response", "", Cause::ApiUnreachable),
    // Before the time-outs: a look-up can time out too.
    ("failed to request quick Tunnel", "lookup api.trycloudflare.com", Cause::NoDns),
    ("failed to request quick Tunnel", "x509:", Cause::ApiCertificate),
    ("failed to request quick Tunnel", "deadline exceeded", Cause::ApiUnreachable),
    ("failed to request quick Tunnel", "i/o timeout", Cause::ApiUnreachable),
    ("failed to request quick Tunnel", "refused", Cause::ApiUnreachable),
    ("failed to request quick Tunnel", "unreachable", Cause::ApiUnreachable),
    ("Could not lookup srv records", "", Cause::EdgeDns),
    ("edge discovery: error", "", Cause::EdgeDns),
    ("Unable to establish connection with Cloudflare edge", "", Cause::EdgeBlocked),
    ("Register tunnel error from server side", "error=\"Unauthorized: ", Cause::Unauthorized),
    ("Provided Tunnel token is not valid", "", Cause::BadToken),
    ("Failed to read token file", "", Cause::NoTokenFile),
    ("\"cloudflared tunnel run\" requires the ID or name of the tunnel", "", Cause::TooOld),
    ("Incorrect Usage: flag provided but not defined", "", Cause::TooOld),
    ("flag provided but not defined", "", Cause::TooOld),
    ("Error opening metrics server listener", "", Cause::PortTaken),
];

/// Findings in the log of one process.
#[derive(Debug, Clone, Default)]
pub struct Diagnosis {
    /// First cause since the last connection: later lines often are its consequences.
    pub cause: Option<Cause>,
    /// Text for the cause's message.
    pub detail: Option<String>,
    /// True if the last connection uses HTTP/2.
    pub uses_http2: bool,
    /// Time of the last connection that the origin has refused.
    pub gate_down: Option<Instant>,
    /// Last line that is not empty.
    pub last_line: String,
}

impl Diagnosis {
    /// Takes a line without its end.
    pub fn read(&mut self, line: &str, now: Instant) {
        if line.trim().is_empty() {
            return;
        }
        line.clone_into(&mut self.last_line);
        let message = message(line);
        if message.starts_with(REGISTERED) {
            self.uses_http2 = line.contains("protocol=http2");
            self.clear();
        } else if message.starts_with(GATE_DOWN) {
            self.gate_down = Some(now);
        } else if self.cause.is_none() {
            let (cause, detail) = cause(line).unzip();
            (self.cause, self.detail) = (cause, detail.filter(|detail| !detail.is_empty()));
        }
    }

    /// Forgets the cause, because the tunnel is connected.
    pub fn clear(&mut self) {
        (self.cause, self.detail) = (None, None);
    }
}

/// Returns the rest of a line after `TIME LVL `; the whole line if it does not begin so.
fn message(line: &str) -> &str {
    let mut words = line.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(time), Some("DBG" | "INF" | "WRN" | "ERR" | "FTL"), Some(rest)) if time.ends_with('Z') => {
            rest.trim_start()
        }
        _ => line,
    }
}

/// Returns the cause that a line shows, and the text for its message if it has one.
fn cause(line: &str) -> Option<(Cause, String)> {
    if let Some(detail) = line.strip_prefix(CANNOT_RUN) {
        return Some((Cause::CannotRun, detail.to_owned()));
    }
    let is_meant =
        |(start, text, _): &&(&str, &str, Cause)| message(line).starts_with(start) && line.contains(text);
    let (_, _, cause) = TEXTS.iter().find(is_meant)?;
    let detail = if *cause == Cause::TooOld { line.trim_start_matches("Incorrect Usage: ") } else { "" };
    Some((*cause, detail.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_of_cloudflared_has_its_cause() {
        // A cause, a tab, and a line that shows it; `-` for lines that show none.
        let mut count = 0;
        for line in include_str!("../tests/lines.txt").lines() {
            let (expected, text) = line.split_once('\t').unwrap();
            let found = cause(text).map(|(cause, _)| serde_json::to_string(&cause).unwrap());
            let found = found.as_deref().map_or("-", |name| name.trim_matches('"'));
            assert_eq!(found, expected, "{text}");
            count += 1;
        }
        assert!(count > 30);
    }

    #[test]
    fn no_text_of_a_visitor_selects_a_cause() {
        for (start, text, _) in TEXTS {
            for line in [
                format!("ERR Request failed error=\"EOF\" dest=https://HOST/{start}{text} event=0 type=http"),
                format!("ERR  error=\"{start} {text}\" connIndex=0 originService=http://127.0.0.1:1111"),
            ] {
                assert_eq!(cause(&format!("2026-05-29T09:25:34Z {line}")), None, "{line}");
            }
        }
    }

    #[test]
    fn the_first_cause_counts_until_a_connection() {
        let mut diagnosis = Diagnosis::default();
        let now = Instant::now();
        diagnosis.read(
            "2026-05-29T09:25:34Z ERR Error unmarshaling QuickTunnel response: x status_code=\"429 Too Many Requests\"",
            now,
        );
        diagnosis.read("failed to unmarshal quick Tunnel: invalid character 'e'", now);
        diagnosis.read("", now);
        assert_eq!(diagnosis.cause, Some(Cause::RateLimited));
        assert_eq!(diagnosis.last_line, "failed to unmarshal quick Tunnel: invalid character 'e'");
        diagnosis
            .read("2026-05-29T09:25:34Z INF Registered tunnel connection connIndex=0 protocol=http2", now);
        assert_eq!((diagnosis.cause, diagnosis.uses_http2), (None, true));
        diagnosis.read(
            "2026-05-29T09:25:34Z ERR  error=\"Unable to reach the origin service. The service may be down\"",
            now,
        );
        assert_eq!((diagnosis.cause, diagnosis.gate_down), (None, Some(now)));
        let visit = "2026-05-29T09:25:34Z ERR Request failed error=\"EOF\" dest=https://x.trycloudflare.com/";
        diagnosis.read(&format!("{visit}{REGISTERED} protocol=http2"), now);
        let later = now + std::time::Duration::from_secs(1);
        diagnosis.read(&format!("{visit}{GATE_DOWN}"), later);
        assert_eq!((diagnosis.uses_http2, diagnosis.gate_down), (true, Some(now)));
        diagnosis.read("tunnel-run: error: cannot run /x: Permission denied (os error 13)", now);
        let expected = (Some(Cause::CannotRun), Some("/x: Permission denied (os error 13)".to_owned()));
        assert_eq!((diagnosis.cause, diagnosis.detail), expected);
    }
}

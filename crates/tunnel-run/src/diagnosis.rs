//! Meaning of cloudflared's log lines. The texts are those of 2026.8.2 and have to be reviewed with each new pin.

use std::time::Instant;

use tunnels::Cause;

/// Beginning of the message of `tunnel-run child` about a program that cannot be executed.
const CANNOT_RUN: &str = "tunnel-run: error: cannot run ";
/// Part of a line that is written for each connection to the edge.
const REGISTERED: &str = "Registered tunnel connection";
/// Each cause follows from a line that contains both texts.
const TEXTS: [(&str, &str, Cause); 24] = [
    ("status_code=\"429", "", Cause::RateLimited),
    ("error code: 1015", "", Cause::RateLimited),
    ("status_code=\"5", "", Cause::ServiceDown),
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
    ("precheck complete", "hard_fail=true", Cause::EdgeBlocked),
    ("Unauthorized:", "", Cause::Unauthorized),
    ("Provided Tunnel token is not valid", "", Cause::BadToken),
    ("Failed to read token file", "", Cause::NoTokenFile),
    ("requires the ID or name of the tunnel", "", Cause::TooOld),
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
    /// True if the first connection uses HTTP/2.
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
        if line.contains(REGISTERED) {
            self.uses_http2 = line.contains("protocol=http2");
            (self.cause, self.detail) = (None, None);
        } else if line.contains("Unable to reach the origin service") {
            self.gate_down = Some(now);
        } else if self.cause.is_none() {
            let (cause, detail) = cause(line).unzip();
            (self.cause, self.detail) = (cause, detail.filter(|detail| !detail.is_empty()));
        }
    }
}

/// Returns the cause that a line shows, and the text for its message if it has one.
fn cause(line: &str) -> Option<(Cause, String)> {
    if let Some(detail) = line.strip_prefix(CANNOT_RUN) {
        return Some((Cause::CannotRun, detail.to_owned()));
    }
    let has = |text: &str| line.contains(text);
    let (_, _, cause) = TEXTS.iter().find(|(one, other, _)| has(one) && has(other))?;
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
    fn the_first_cause_counts_until_a_connection() {
        let mut diagnosis = Diagnosis::default();
        let now = Instant::now();
        diagnosis.read(
            "ERR Error unmarshaling QuickTunnel response: x status_code=\"429 Too Many Requests\"",
            now,
        );
        diagnosis.read("failed to unmarshal quick Tunnel: invalid character 'e'", now);
        diagnosis.read("", now);
        assert_eq!(diagnosis.cause, Some(Cause::RateLimited));
        assert_eq!(diagnosis.last_line, "failed to unmarshal quick Tunnel: invalid character 'e'");
        diagnosis.read("INF Registered tunnel connection connIndex=0 protocol=http2", now);
        assert_eq!((diagnosis.cause, diagnosis.uses_http2), (None, true));
        diagnosis.read("ERR  error=\"Unable to reach the origin service. The service may be down\"", now);
        assert_eq!((diagnosis.cause, diagnosis.gate_down), (None, Some(now)));
        diagnosis.read("tunnel-run: error: cannot run /x: Permission denied (os error 13)", now);
        let expected = (Some(Cause::CannotRun), Some("/x: Permission denied (os error 13)".to_owned()));
        assert_eq!((diagnosis.cause, diagnosis.detail), expected);
    }
}

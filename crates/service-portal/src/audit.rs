//! Log of login attempts: user, address, method and outcome, but no secrets.
//!
//! Anyone can cause failed attempts, so after the first few of a minute they are only counted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::throttle::client_prefix;

/// Maximum number of failed attempts a minute that are logged one by one.
const MAX_LINES: u32 = 10;
const MINUTE: Duration = Duration::from_mins(1);
/// Maximum number of addresses counted separately.
const MAX_ADDRESSES: usize = 1_000;

/// Outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Logged in.
    Accepted,
    /// Wrong, expired or used up.
    Refused,
    /// Not checked, after too many failures.
    Slowed,
}

/// Failed attempts within a minute of the first.
#[derive(Debug)]
struct Burst {
    started: Option<Instant>,
    /// Number of attempts with a line.
    lines: u32,
    /// Number of attempts without a line, by method and outcome.
    counts: BTreeMap<(&'static str, Outcome), u64>,
    /// Number of attempts without a line, by address.
    addresses: BTreeMap<IpAddr, u64>,
}

static BURST: Mutex<Burst> = Mutex::new(Burst::new());

/// Logs or counts an attempt. `who` is the configured user name or a fixed word, not what was typed: visitors type
/// passwords into the field of the name.
pub fn log_attempt(client: Client<'_>, method: &'static str, who: &str, outcome: Outcome) {
    let line = line(client, method, who, outcome);
    if outcome == Outcome::Accepted {
        return log::info!("{line}");
    }
    let now = Instant::now();
    let mut burst = burst();
    let ended = burst.end(now);
    let own = burst.has_line(method, outcome, client.address(), now).then_some(line);
    ended.into_iter().chain(own).for_each(|line| log::warn!("{line}"));
}

/// Logs the number of attempts without a line, if their minute is over or `at_once` is set.
pub fn flush(at_once: bool) {
    let mut burst = burst();
    let line = if at_once { burst.take() } else { burst.end(Instant::now()) };
    line.into_iter().for_each(|line| log::warn!("{line}"));
}

fn burst() -> MutexGuard<'static, Burst> {
    BURST.lock().unwrap_or_else(PoisonError::into_inner)
}

fn line(client: Client<'_>, method: &str, who: &str, outcome: Outcome) -> String {
    format!(
        "login {} way={method} who={who:?} from={} agent=\"{}\"",
        outcome.word(),
        client.address(),
        client.user_agent()
    )
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Slowed => "slowed",
        }
    }
}

impl Burst {
    const fn new() -> Self {
        Self { started: None, lines: 0, counts: BTreeMap::new(), addresses: BTreeMap::new() }
    }

    /// Returns true if a failed attempt gets its own line; otherwise counts it.
    fn has_line(&mut self, method: &'static str, outcome: Outcome, address: IpAddr, now: Instant) -> bool {
        self.started.get_or_insert(now);
        if self.lines < MAX_LINES {
            self.lines += 1;
            return true;
        }
        *self.counts.entry((method, outcome)).or_default() += 1;
        let address = client_prefix(address);
        if self.addresses.len() < MAX_ADDRESSES || self.addresses.contains_key(&address) {
            *self.addresses.entry(address).or_default() += 1;
        }
        false
    }

    /// Starts a new minute if the current one is over; returns the line with the counts.
    fn end(&mut self, now: Instant) -> Option<String> {
        if now.duration_since(self.started?) < MINUTE { None } else { self.take() }
    }

    /// Starts a new minute; returns the line with the counts, if any attempt had no line.
    fn take(&mut self) -> Option<String> {
        let Self { counts, addresses, .. } = std::mem::replace(self, Self::new());
        let (busiest, most) = addresses.iter().max_by_key(|(_, count)| **count)?;
        let total: u64 = counts.values().sum();
        let counts: Vec<String> = counts
            .iter()
            .map(|((method, outcome), count)| format!("{method} {} {count}", outcome.word()))
            .collect();
        let least = if addresses.len() < MAX_ADDRESSES { "" } else { "at least " };
        let (counts, number) = (counts.join(", "), addresses.len());
        Some(format!(
            "login {total} more failed within a minute: {counts}; addresses {least}{number}, busiest {busiest} with {most}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::headers;
    use crate::log_limit::tests::{keep_lines, logged_lines};

    #[test]
    fn a_user_agent_cannot_forge_fields_or_lines() {
        let headers = headers(&[("x-forwarded-for", "192.0.2.1"), ("user-agent", "x\" outcome=accepted\t")]);
        assert_eq!(
            line(Client(&headers), "form", "unknown", Outcome::Refused),
            r#"login refused way=form who="unknown" from=192.0.2.1 agent="x outcome=accepted""#
        );
        let words = [Outcome::Accepted, Outcome::Slowed].map(Outcome::word);
        assert_eq!(words, ["accepted", "slowed"]);
    }
    fn slowed(burst: &mut Burst, number: u32, now: Instant) -> bool {
        burst.has_line("form", Outcome::Slowed, IpAddr::V4((0xc000_0200 + number).into()), now)
    }

    #[test]
    fn the_first_failures_of_a_minute_are_logged_and_the_rest_is_counted() {
        let (mut burst, now) = (Burst::new(), Instant::now());
        let lines = (0..500).filter(|number| slowed(&mut burst, number % 7, now)).count();
        assert_eq!(lines, 10);
        let address = IpAddr::from([192, 0, 2, 3]);
        assert!(!burst.has_line("header", Outcome::Refused, address, now));
        let (late, over) = (now + Duration::from_secs(59), now + MINUTE);
        assert_eq!(burst.end(late), None);
        assert!(!burst.has_line("form", Outcome::Refused, address, late), "the minute began with the first");
        let line = "login 492 more failed within a minute: form refused 1, form slowed 490, header refused 1; \
                    addresses 7, busiest 192.0.2.3 with 72";
        assert_eq!(burst.end(over).as_deref(), Some(line));
        assert_eq!(burst.end(over + MINUTE), None, "written once");
        assert!((0..10).all(|number| slowed(&mut burst, number, over)), "a new minute");
        assert_eq!(burst.end(over + MINUTE), None, "every attempt was logged");
        assert!(slowed(&mut burst, 1, over + MINUTE));
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_counts() {
        let (mut burst, now) = (Burst::new(), Instant::now());
        (0..3_010).for_each(|number| assert_eq!(slowed(&mut burst, number, now), number < 10));
        slowed(&mut burst, 15, now);
        assert_eq!(burst.addresses.len(), MAX_ADDRESSES);
        let line = "login 3001 more failed within a minute: form slowed 3001; \
                    addresses at least 1000, busiest 192.0.2.15 with 2";
        assert_eq!(burst.take().as_deref(), Some(line));
        (0..10).for_each(|number| assert!(slowed(&mut burst, number, now)));
        for address in ["2001:db8::1", "2001:db8::2"] {
            burst.has_line("form", Outcome::Slowed, address.parse().unwrap(), now);
        }
        assert!(
            burst.take().unwrap().ends_with("; addresses 1, busiest 2001:db8:: with 2"),
            "a /64 counts as one"
        );
    }

    #[test]
    fn accepted_attempts_are_always_logged_and_pending_counts_at_the_end() {
        keep_lines();
        // Starts a new minute without the attempts of other tests.
        flush(true);
        logged_lines();
        let headers = headers(&[("x-forwarded-for", "192.0.2.1")]);
        // Tests that run at the same time may use some of this minute's lines.
        for outcome in [Outcome::Accepted, Outcome::Slowed] {
            (0..30).for_each(|_| log_attempt(Client(&headers), "test", "unknown", outcome));
        }
        flush(false);
        let lines = logged_lines();
        let begin = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
        assert_eq!(begin("INFO login accepted way=test"), 30);
        let single = begin("WARN login slowed way=test");
        assert!(single <= 10 && single + 30 == lines.len(), "{lines:?}");
        flush(true);
        let lines = logged_lines();
        assert!(lines.len() == 1 && lines[0].contains(&format!("test slowed {}", 30 - single)), "{lines:?}");
    }
}

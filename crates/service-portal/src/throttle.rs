//! The brake on guessing: after a few failures one has to wait, and longer each time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Typing mistakes that cost nothing.
const FREE: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Short enough that nobody can lock the owner out for long.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Failures older than this are forgotten.
const MEMORY: Duration = Duration::from_mins(15);
/// Guessers remembered at most; beyond it the oldest make room.
const MOST: usize = 10_000;
/// Failures of all strangers together that cost nothing; one of them is forgotten each second.
const FREE_OVERALL: f64 = 100.0;

/// How somebody tried: a script with an old token must not slow down its owner at the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// The login form.
    Form,
    /// An `Authorization` header.
    Header,
    /// A token in an address.
    Link,
}

/// Whose failures are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Guesser {
    /// A browser that has logged in before, by the way it tries: others at its address cannot slow it down.
    Device(Way, String),
    /// Everybody else at an address, by the way they try.
    Stranger(Way, IpAddr),
}

impl Guesser {
    /// A stranger; one household has one IPv4 address but 2^64 IPv6 addresses.
    pub fn stranger(way: Way, address: IpAddr) -> Self {
        let address = match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
            address @ IpAddr::V4(_) => address,
        };
        Self::Stranger(way, address)
    }
}

/// Failed attempts, by guesser and of all strangers together.
#[derive(Debug, Default)]
pub struct Throttle {
    by_guesser: HashMap<Guesser, Failures>,
    overall: f64,
    overall_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Throttle {
    /// How long this guesser has to wait before its next attempt is looked at.
    pub fn wait(&self, guesser: &Guesser, now: Instant) -> Option<Duration> {
        self.own_wait(guesser, now).or_else(|| self.wait_of_strangers(guesser, now))
    }

    /// The same for its own failures alone, without those of other strangers.
    pub fn own_wait(&self, guesser: &Guesser, now: Instant) -> Option<Duration> {
        let failures = self.by_guesser.get(guesser)?;
        let since = now.duration_since(failures.last);
        (since < MEMORY).then(|| failures.delay().saturating_sub(since)).filter(|left| !left.is_zero())
    }

    /// Many addresses that guess together are as slow as one: a guess a second, from whomever it comes.
    fn wait_of_strangers(&self, guesser: &Guesser, now: Instant) -> Option<Duration> {
        let stranger = matches!(guesser, Guesser::Stranger(..));
        (stranger && self.level(now) > FREE_OVERALL).then_some(FIRST_WAIT)
    }

    /// Notes a failed attempt.
    pub fn failed(&mut self, guesser: Guesser, now: Instant) {
        self.make_room(now);
        if matches!(guesser, Guesser::Stranger(..)) {
            self.overall = self.level(now) + 1.0;
            self.overall_at = Some(now);
        }
        let failures = self.by_guesser.entry(guesser).or_insert(Failures { count: 0, last: now });
        if now.duration_since(failures.last) >= MEMORY {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// Forgets a guesser who has logged in.
    pub fn succeeded(&mut self, guesser: &Guesser) {
        self.by_guesser.remove(guesser);
    }

    fn level(&self, now: Instant) -> f64 {
        let since = self.overall_at.map_or(0.0, |at| now.duration_since(at).as_secs_f64());
        (self.overall - since).max(0.0)
    }

    /// Forgets what is old; where that is not enough, the older half, so that a flood does not pay for each entry.
    fn make_room(&mut self, now: Instant) {
        if self.by_guesser.len() < MOST {
            return;
        }
        self.by_guesser.retain(|_, failures| now.duration_since(failures.last) < MEMORY);
        if self.by_guesser.len() >= MOST {
            let mut times: Vec<Instant> = self.by_guesser.values().map(|failures| failures.last).collect();
            let (_, middle, _) = times.select_nth_unstable(MOST / 2);
            let middle = *middle;
            self.by_guesser.retain(|_, failures| failures.last > middle);
        }
    }
}

impl Failures {
    fn delay(&self) -> Duration {
        match self.count.checked_sub(FREE) {
            None | Some(0) => Duration::ZERO,
            Some(more) => FIRST_WAIT.saturating_mul(1 << (more - 1).min(16)).min(LONGEST_WAIT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> Guesser {
        Guesser::stranger(Way::Form, IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn guessing_gets_slower_and_others_are_not_affected() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..14 {
            throttle.failed(at(1), now);
            waits.push(throttle.wait(&at(1), now).map_or(0, |wait| wait.as_secs()));
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(throttle.wait(&at(2), now), None);
        let header = Guesser::stranger(Way::Header, IpAddr::from([192, 0, 2, 1]));
        assert_eq!(throttle.wait(&header, now), None, "the other way is a brake of its own");
        assert_eq!(throttle.wait(&Guesser::Device(Way::Form, "known".into()), now), None);
        assert_eq!(throttle.wait(&at(1), now + LONGEST_WAIT), None, "the longest wait is a minute");
    }

    #[test]
    fn a_login_and_time_forgive() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        (0..20).for_each(|_| throttle.failed(at(1), now));
        throttle.failed(at(1), now + MEMORY);
        assert_eq!(throttle.wait(&at(1), now + MEMORY), None);
        (0..20).for_each(|_| throttle.failed(at(1), now));
        throttle.succeeded(&at(1));
        assert_eq!(throttle.wait(&at(1), now), None);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let at = |network: u16, last: u16| {
            Guesser::stranger(Way::Form, IpAddr::V6([0x2001, 0xdb8, 0, network, 0, 0, 0, last].into()))
        };
        (0..20).for_each(|last| throttle.failed(at(1, last), now));
        assert!(throttle.wait(&at(1, 99), now).is_some() && throttle.wait(&at(2, 0), now).is_none());
    }

    #[test]
    fn many_addresses_together_are_slowed_down_and_known_devices_are_not() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        (0..=u8::MAX).for_each(|last| throttle.failed(at(last), now));
        let fresh = Guesser::stranger(Way::Form, IpAddr::from([198, 51, 100, 1]));
        assert_eq!(throttle.wait(&fresh, now), Some(FIRST_WAIT));
        assert_eq!(throttle.wait(&Guesser::Device(Way::Form, "known".into()), now), None);
        assert_eq!(throttle.wait(&fresh, now + Duration::from_mins(5)), None);
    }

    #[test]
    fn a_flood_is_not_remembered_without_bound() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..u32::try_from(MOST).unwrap() + 100 {
            let now = now + Duration::from_millis(number.into());
            throttle.failed(Guesser::stranger(Way::Form, IpAddr::V4(number.into())), now);
        }
        assert!((MOST / 2..=MOST).contains(&throttle.by_guesser.len()), "{}", throttle.by_guesser.len());
    }
}

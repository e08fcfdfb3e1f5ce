//! The brake on guessing: after a few failures an address has to wait, and longer each time.

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
/// Addresses remembered at most; beyond it the oldest make room.
const MOST: usize = 10_000;

/// How somebody tried: a script with an old token must not slow down its owner at the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// The login form.
    Form,
    /// An `Authorization` header.
    Header,
}

/// Failed attempts by way and address.
#[derive(Debug, Default)]
pub struct Throttle(HashMap<(Way, IpAddr), Failures>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Throttle {
    /// How long this address has to wait before its next attempt is looked at.
    pub fn wait(&self, way: Way, address: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.0.get(&(way, neighbourhood(address)))?;
        let since = now.duration_since(failures.last);
        (since < MEMORY).then(|| failures.delay().saturating_sub(since)).filter(|left| !left.is_zero())
    }

    /// Notes a failed attempt.
    pub fn failed(&mut self, way: Way, address: IpAddr, now: Instant) {
        self.make_room(now);
        let failures =
            self.0.entry((way, neighbourhood(address))).or_insert(Failures { count: 0, last: now });
        if now.duration_since(failures.last) >= MEMORY {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// Forgets an address that has logged in.
    pub fn succeeded(&mut self, way: Way, address: IpAddr) {
        self.0.remove(&(way, neighbourhood(address)));
    }

    fn make_room(&mut self, now: Instant) {
        if self.0.len() < MOST {
            return;
        }
        self.0.retain(|_, failures| now.duration_since(failures.last) < MEMORY);
        if self.0.len() >= MOST
            && let Some(oldest) = self.0.iter().min_by_key(|(_, failures)| failures.last).map(|(&key, _)| key)
        {
            self.0.remove(&oldest);
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

/// One household has one IPv4 address but 2^64 IPv6 addresses.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const ADA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn guessing_gets_slower_and_others_are_not_affected() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..14 {
            throttle.failed(Way::Form, EVE, now);
            waits.push(throttle.wait(Way::Form, EVE, now).map_or(0, |wait| wait.as_secs()));
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(throttle.wait(Way::Form, ADA, now), None);
        assert_eq!(throttle.wait(Way::Header, EVE, now), None, "the other way is a brake of its own");
        assert_eq!(throttle.wait(Way::Form, EVE, now + LONGEST_WAIT), None, "the longest wait is a minute");
    }

    #[test]
    fn a_login_and_time_forgive() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        (0..20).for_each(|_| throttle.failed(Way::Form, EVE, now));
        throttle.failed(Way::Form, EVE, now + MEMORY);
        assert_eq!(throttle.wait(Way::Form, EVE, now + MEMORY), None);
        (0..20).for_each(|_| throttle.failed(Way::Form, EVE, now));
        throttle.succeeded(Way::Form, EVE);
        assert_eq!(throttle.wait(Way::Form, EVE, now), None);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for last in 0..20_u16 {
            throttle.failed(Way::Form, IpAddr::V6([0x2001, 0xdb8, 0, 1, 0, 0, 0, last].into()), now);
        }
        assert!(
            throttle.wait(Way::Form, IpAddr::V6([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9].into()), now).is_some()
        );
        assert!(
            throttle.wait(Way::Form, IpAddr::V6([0x2001, 0xdb8, 0, 2, 0, 0, 0, 0].into()), now).is_none()
        );
    }
}

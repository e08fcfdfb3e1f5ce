//! Rate limit for failed logins: after a few failures, each further one doubles the wait.
//!
//! Attacks from many addresses are limited per network and in total. There, attempts are admitted at random, so that an
//! attack cannot lock the owner out completely.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::leaky_bucket::{Bucket, Limit};

/// Number of failures without a wait.
const FREE_ATTEMPTS: u32 = 5;
/// Wait after the first failure that is not free.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Maximum wait, short enough that an attack cannot lock the owner out for long.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// Time after which failures are forgotten.
const FORGET_AFTER: Duration = Duration::from_mins(15);
/// Maximum number of remembered guessers, and of networks.
const MAX_ENTRIES: usize = 10_000;
/// Limit for the strangers of one /24 (IPv6: /48).
const NETWORK_LIMIT: Limit = Limit { free: 20.0, drain: 0.1 };
/// Limit for all strangers.
const TOTAL_LIMIT: Limit = Limit { free: 100.0, drain: 1.0 };
/// Time for which an address is known after a successful login.
const KNOWN_FOR: Duration = Duration::from_hours(24);
/// Maximum number of known addresses.
const MAX_KNOWN: usize = 1_000;

/// Kind of attempt; each is limited separately, so that a script with an old token does not slow down its owner at the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptKind {
    /// The login form.
    Form,
    /// An `Authorization` header.
    Header,
    /// A token in a URL.
    Link,
}

/// Source of attempts whose failures are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Guesser {
    /// A browser that has logged in before; others at its address do not slow it down.
    Device(AttemptKind, String),
    /// All other clients at an address.
    Stranger(AttemptKind, IpAddr),
}

impl Guesser {
    /// Returns the guesser for a client without a device cookie.
    pub fn stranger(kind: AttemptKind, address: IpAddr) -> Self {
        Self::Stranger(kind, client_prefix(address))
    }
}

/// Returns the network of one client: a household has one IPv4 address, but 2^64 IPv6 addresses.
pub fn client_prefix(address: IpAddr) -> IpAddr {
    cloud::network_of(address, 32, 64)
}

/// Failed attempts by guesser, by network and in total.
pub struct Throttle {
    /// Failures of each guesser.
    own: HashMap<Guesser, Failures>,
    /// Failures of the strangers of each network.
    networks: HashMap<IpAddr, Bucket>,
    /// Failures of all strangers.
    strangers: Bucket,
    /// Addresses of successful logins, with the time of the last one.
    known: HashMap<IpAddr, Instant>,
    /// Returns a number from 0 to below 1.
    random: Box<dyn FnMut() -> f64 + Send>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Default for Throttle {
    fn default() -> Self {
        // Without random numbers, full buckets admit nothing.
        Self::with_random(|| getrandom::u32().map_or(1.0, |number| f64::from(number) / 2_f64.powi(32)))
    }
}

impl Throttle {
    /// Creates an empty throttle; `random` returns numbers from 0 to below 1.
    pub fn with_random(random: impl FnMut() -> f64 + Send + 'static) -> Self {
        Self {
            own: HashMap::new(),
            networks: HashMap::new(),
            strangers: Bucket::new(&TOTAL_LIMIT, Instant::now()),
            known: HashMap::new(),
            random: Box::new(random),
        }
    }

    /// Counts an attempt; returns the time to wait, or `None` if the attempt must be checked.
    ///
    /// An attempt that is refused at random counts as a failure of its guesser, and of its network unless the network's bucket
    /// refused it. Otherwise, a guesser with a thousand attempts a second would be admitted a thousand times as often as one
    /// with a single attempt.
    pub fn admit(&mut self, guesser: &Guesser, now: Instant) -> Option<Duration> {
        if let Some(wait) = self.own_delay(guesser, now) {
            return Some(wait);
        }
        let address = self.stranger(guesser, now)?;
        if self.admits_at_random(address, now) {
            return None;
        }
        self.count(guesser.clone(), now);
        Some(self.own_delay(guesser, now).unwrap_or_default())
    }

    /// Returns the time to wait for the guesser's own failures, without those of other strangers.
    pub fn own_delay(&self, guesser: &Guesser, now: Instant) -> Option<Duration> {
        let failures = self.own.get(guesser)?;
        let since = now.duration_since(failures.last);
        Some(failures.delay().saturating_sub(since)).filter(|left| !left.is_zero())
    }

    /// Records a failed attempt.
    pub fn record_failure(&mut self, guesser: Guesser, now: Instant) {
        if let Some(address) = self.stranger(&guesser, now) {
            self.network(address, now).add_failure(now);
            self.strangers.add_failure(now);
        }
        self.count(guesser, now);
    }

    /// Forgets the failures of a guesser that has logged in.
    pub fn record_success(&mut self, guesser: &Guesser) {
        self.own.remove(guesser);
    }

    /// Records a successful login from an address, which other strangers do not slow down for a day.
    pub fn mark_known(&mut self, address: IpAddr, now: Instant) {
        drop_half_if_full(&mut self.known, MAX_KNOWN, |at| *at);
        self.known.insert(client_prefix(address), now);
    }

    /// Returns the address of a guesser, unless it is a known device or at a known address.
    fn stranger(&self, guesser: &Guesser, now: Instant) -> Option<IpAddr> {
        let Guesser::Stranger(_, address) = guesser else { return None };
        let known = self.known.get(address).is_some_and(|at| now.duration_since(*at) < KNOWN_FOR);
        (!known).then_some(*address)
    }

    /// Counts an attempt in the buckets of its network and of all strangers; returns true if both admit it.
    fn admits_at_random(&mut self, address: IpAddr, now: Instant) -> bool {
        let of_network = self.network(address, now).admission_probability(now);
        if (self.random)() >= of_network {
            return false;
        }
        let of_strangers = self.strangers.admission_probability(now);
        let admitted = (self.random)() < of_strangers;
        if !admitted {
            self.network(address, now).add_failure(now);
        }
        admitted
    }

    fn network(&mut self, address: IpAddr, now: Instant) -> &mut Bucket {
        drop_half_if_full(&mut self.networks, MAX_ENTRIES, Bucket::drained_at);
        self.networks
            .entry(cloud::network_of(address, 24, 48))
            .or_insert_with(|| Bucket::new(&NETWORK_LIMIT, now))
    }

    fn count(&mut self, guesser: Guesser, now: Instant) {
        drop_half_if_full(&mut self.own, MAX_ENTRIES, |failures| failures.last + failures.delay());
        let failures = self.own.entry(guesser).or_insert(Failures { count: 0, last: now });
        if now.duration_since(failures.last) >= FORGET_AFTER {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }
}

/// Removes the half of a full table that expires first: seldom enough to be cheap in a flood, and the longest waits stay.
fn drop_half_if_full<K: Eq + Hash, V>(table: &mut HashMap<K, V>, most: usize, end: impl Fn(&V) -> Instant) {
    if table.len() < most {
        return;
    }
    let mut ends: Vec<Instant> = table.values().map(&end).collect();
    let (_, middle, _) = ends.select_nth_unstable(most / 2);
    let middle = *middle;
    table.retain(|_, value| end(value) > middle);
}

impl Failures {
    fn delay(&self) -> Duration {
        match self.count.checked_sub(FREE_ATTEMPTS) {
            None | Some(0) => Duration::ZERO,
            Some(more) => FIRST_WAIT.saturating_mul(1 << (more - 1).min(16)).min(MAX_WAIT),
        }
    }
}

#[cfg(test)]
mod attack_simulation;
#[cfg(test)]
mod tests;

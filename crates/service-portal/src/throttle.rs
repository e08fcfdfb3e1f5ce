//! The brake on guessing: after a few failures one has to wait, and longer each time.
//!
//! Many addresses that guess together are slowed down together, by the network and all in all. There, attempts are
//! admitted at random: a guesser without end takes the place of others, but never all of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::leaky_bucket::{Bucket, Limit};

/// Typing mistakes that cost nothing.
const FREE: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Short enough that nobody can lock the owner out for long.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Failures older than this are forgotten.
const MEMORY: Duration = Duration::from_mins(15);
/// Guessers and networks remembered at most, each.
const MOST: usize = 10_000;
/// Strangers of one /24 (IPv6: /48) together.
const NETWORK: Limit = Limit { free: 20.0, drain: 0.1 };
/// Strangers all together.
const STRANGERS: Limit = Limit { free: 100.0, drain: 1.0 };
/// An address is known for that long after a right login.
const KNOWN: Duration = Duration::from_hours(24);
/// Known addresses at most.
const MOST_KNOWN: usize = 1_000;

/// How somebody tried: a script with an old token must not slow down its owner at the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptKind {
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
    Device(AttemptKind, String),
    /// Everybody else at an address, by the way they try.
    Stranger(AttemptKind, IpAddr),
}

impl Guesser {
    /// A guesser without the mark of a device.
    pub fn stranger(way: AttemptKind, address: IpAddr) -> Self {
        Self::Stranger(way, client_prefix(address))
    }
}

/// Returns the network that counts as one address: one household has one IPv4 address but 2^64 IPv6 addresses.
pub fn client_prefix(address: IpAddr) -> IpAddr {
    network(address, 32, 64)
}

/// Returns the network of an address: that many bits of it, if it is IPv4 or IPv6.
fn network(address: IpAddr, v4: u32, v6: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) >> (32 - v4) << (32 - v4)).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> (128 - v6) << (128 - v6)).into()),
    }
}

/// Failed attempts: by guesser, by network, and of all strangers together.
pub struct Throttle {
    own: HashMap<Guesser, Failures>,
    networks: HashMap<IpAddr, Bucket>,
    strangers: Bucket,
    /// Addresses of right logins, with the time of the last.
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
        // Without random numbers, nothing is admitted that depends on them.
        Self::with_random(|| getrandom::u32().map_or(1.0, |number| f64::from(number) / 2_f64.powi(32)))
    }
}

impl Throttle {
    /// Nothing failed yet; `random` returns numbers from 0 to below 1.
    pub fn with_random(random: impl FnMut() -> f64 + Send + 'static) -> Self {
        Self {
            own: HashMap::new(),
            networks: HashMap::new(),
            strangers: Bucket::new(&STRANGERS, Instant::now()),
            known: HashMap::new(),
            random: Box::new(random),
        }
    }

    /// Returns how long this guesser has to wait; nothing if the attempt that it makes now is to be looked at.
    ///
    /// An attempt that is refused at random counts like a failure for its guesser, and for its network where the refusal
    /// is not the network's. Otherwise, one that asks a thousand times a second would be admitted a thousand times as
    /// often as one that asks once.
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

    /// Returns the same for its own failures alone, without those of other strangers.
    pub fn own_delay(&self, guesser: &Guesser, now: Instant) -> Option<Duration> {
        let failures = self.own.get(guesser)?;
        let since = now.duration_since(failures.last);
        Some(failures.delay().saturating_sub(since)).filter(|left| !left.is_zero())
    }

    /// Notes a failed attempt.
    pub fn record_failure(&mut self, guesser: Guesser, now: Instant) {
        if let Some(address) = self.stranger(&guesser, now) {
            self.network(address, now).add_failure(now);
            self.strangers.add_failure(now);
        }
        self.count(guesser, now);
    }

    /// Forgets a guesser who has logged in.
    pub fn record_success(&mut self, guesser: &Guesser) {
        self.own.remove(guesser);
    }

    /// Notes a right login from an address: for a day, other strangers do not slow it down.
    pub fn mark_known(&mut self, address: IpAddr, now: Instant) {
        make_room(&mut self.known, MOST_KNOWN, |at| *at);
        self.known.insert(client_prefix(address), now);
    }

    /// Returns the address of a guesser that is neither a known device nor at a known address.
    fn stranger(&self, guesser: &Guesser, now: Instant) -> Option<IpAddr> {
        let Guesser::Stranger(_, address) = guesser else { return None };
        let known = self.known.get(address).is_some_and(|at| now.duration_since(*at) < KNOWN);
        (!known).then_some(*address)
    }

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
        make_room(&mut self.networks, MOST, Bucket::drained_at);
        self.networks.entry(network(address, 24, 48)).or_insert_with(|| Bucket::new(&NETWORK, now))
    }

    fn count(&mut self, guesser: Guesser, now: Instant) {
        make_room(&mut self.own, MOST, |failures| failures.last + failures.delay());
        let failures = self.own.entry(guesser).or_insert(Failures { count: 0, last: now });
        if now.duration_since(failures.last) >= MEMORY {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }
}

/// Removes the half of a full table that ends first, so that a flood does not pay for each entry, and does not push out
/// the waits of those who guess most.
fn make_room<K: Eq + Hash, V>(table: &mut HashMap<K, V>, most: usize, end: impl Fn(&V) -> Instant) {
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
        match self.count.checked_sub(FREE) {
            None | Some(0) => Duration::ZERO,
            Some(more) => FIRST_WAIT.saturating_mul(1 << (more - 1).min(16)).min(LONGEST_WAIT),
        }
    }
}

#[cfg(test)]
mod attack_simulation;
#[cfg(test)]
mod tests;

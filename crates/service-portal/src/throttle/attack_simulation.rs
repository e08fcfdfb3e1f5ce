//! Simulated attacks: measures the owner's chance to log in and the number of guesses that are checked.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// Duration of an attack, in seconds.
const DURATION: u32 = 600;

/// Function from the numbers of an attacker and an attempt to an address.
type Address = fn(u32, u32) -> IpAddr;

/// One address in each of many /24s.
const SCATTERED: Address = |number, _| IpAddr::V4((0x0a00_0001 + (number << 8)).into());
/// The /64s of one /48.
const OF_ONE_48: Address = |number, _| IpAddr::V6((0x2001_0db8 << 96 | u128::from(number) << 64).into());
/// Many /48s, with a new /64 for each attempt.
const WHOLE_48S: Address = |number, attempt| {
    IpAddr::V6((0x2001_0db8 << 96 | u128::from(number) << 80 | u128::from(attempt % 65_536) << 64).into())
};
/// Addresses of one /24.
const OF_ONE_24: Address = |number, _| IpAddr::V4((0xc000_0200 + number).into());

/// Owner in a /24 without attackers.
const ELSEWHERE: fn(u32) -> IpAddr = |number| IpAddr::V4((0x6440_0001 + (number << 8)).into());
/// Owner in the /24 of the attackers.
const OF_THE_24: fn(u32) -> IpAddr = |number| IpAddr::V4((0xc000_0280 + number).into());

/// Result of an attack.
struct Outcome {
    /// Number of guesses checked in the worst minute after the first.
    most: u32,
    /// Number of tries until an attempt of each owner was checked.
    tries: Vec<u32>,
    throttle: Throttle,
    end: Instant,
}

/// Simulates attackers with `rate` guesses a second each. In the second half, an owner without a device cookie arrives every
/// five seconds and tries once a second.
fn attack(attackers: u32, address: Address, rate: f64, owner: fn(u32) -> IpAddr) -> Outcome {
    // xorshift32 (Marsaglia 2003)
    let mut state = 2_463_534_242_u32;
    let mut throttle = Throttle::with_random(move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f64::from(state) / 2_f64.powi(32)
    });
    let start = Instant::now();
    let (mut most, mut checked, mut due, mut attempt) = (0, 0, 0.0, 0);
    let (mut trying, mut tries): (Vec<(u32, u32)>, Vec<u32>) = (Vec::new(), Vec::new());
    for second in 0..DURATION {
        let now = start + SECOND * second;
        if second % 60 == 0 {
            most = most.max(if second > 60 { checked } else { 0 });
            checked = 0;
        }
        due += rate * f64::from(attackers);
        while due >= 1.0 {
            due -= 1.0;
            attempt += 1;
            let guesser =
                Guesser::stranger(AttemptKind::Form, address(attempt % attackers, attempt / attackers));
            if throttle.admit(&guesser, now).is_none() {
                checked += 1;
                throttle.record_failure(guesser, now);
            }
        }
        if second >= DURATION / 2 && second % 5 == 0 {
            trying.push((second / 5, 0));
        }
        trying.retain_mut(|(number, needed)| {
            *needed += 1;
            let refused =
                throttle.admit(&Guesser::stranger(AttemptKind::Form, owner(*number)), now).is_some();
            if !refused {
                tries.push(*needed);
            }
            refused
        });
    }
    tries.extend(trying.iter().map(|_| u32::MAX));
    Outcome { most, tries, throttle, end: start + SECOND * DURATION }
}

#[test]
fn an_owner_can_log_in_during_an_attack_and_guessing_stays_slow() {
    // Attackers, owner; maximum of guesses checked in a minute; percentage of owners who log in within 1, 5 and 10 tries.
    for (attackers, address, owner, most, shares) in [
        (60, SCATTERED, ELSEWHERE, 70, [95, 100, 100]),
        (60, OF_ONE_48, ELSEWHERE, 15, [100, 100, 100]),
        // Every /48 has the same chance: the owner is one of 61.
        (60, WHOLE_48S, ELSEWHERE, 80, [10, 35, 55]),
        (1_000, SCATTERED, ELSEWHERE, 70, [20, 35, 50]),
        (1, OF_ONE_24, OF_THE_24, 5, [100, 100, 100]),
        (10, OF_ONE_24, OF_THE_24, 15, [70, 80, 90]),
    ] {
        for rate in [0.05, 1.0, 5.0] {
            let Outcome { most: seen, tries, mut throttle, end } = attack(attackers, address, rate, owner);
            let context = format!("{attackers} like {} at {rate} a second", address(0, 0));
            assert!(seen <= most, "{context}: {seen} guesses checked");
            let within = |most| 100 * tries.iter().filter(|needed| **needed <= most).count() / tries.len();
            let seen = [1, 5, 10].map(within);
            assert!(seen.iter().zip(shares).all(|(seen, share)| *seen >= share), "{context}: {seen:?}");

            throttle.random = Box::new(|| 0.999_999);
            let known = Guesser::stranger(AttemptKind::Form, owner(100));
            throttle.mark_known(owner(100), end);
            assert_eq!(throttle.admit(&known, end), None, "{context}: a known address is no stranger");
            let later = end + Duration::from_mins(1);
            let neighbour = Guesser::stranger(AttemptKind::Form, owner(101));
            assert_eq!(
                throttle.admit(&neighbour, later),
                None,
                "{context}: a minute later, there is no limit"
            );
        }
    }
}

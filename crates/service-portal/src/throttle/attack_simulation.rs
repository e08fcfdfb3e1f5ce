//! Simulated attacks: the chance that is left for an owner, and the number of guesses that are looked at.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// Seconds of an attack.
const LENGTH: u32 = 600;

/// The address from which an attacker of a number makes an attempt of a number.
type Address = fn(u32, u32) -> IpAddr;

/// One address in each of many /24s.
const SCATTERED: Address = |number, _| IpAddr::V4((0x0a00_0001 + (number << 8)).into());
/// The /64s of one /48.
const OF_ONE_48: Address = |number, _| IpAddr::V6((0x2001_0db8 << 96 | u128::from(number) << 64).into());
/// Many /48s, with another /64 for each attempt.
const WHOLE_48S: Address = |number, attempt| {
    IpAddr::V6((0x2001_0db8 << 96 | u128::from(number) << 80 | u128::from(attempt % 65_536) << 64).into())
};
/// Addresses of one /24.
const OF_ONE_24: Address = |number, _| IpAddr::V4((0xc000_0200 + number).into());

/// An owner in a /24 of its own, or in the attackers'.
const ELSEWHERE: fn(u32) -> IpAddr = |number| IpAddr::V4((0x6440_0001 + (number << 8)).into());
const OF_THE_24: fn(u32) -> IpAddr = |number| IpAddr::V4((0xc000_0280 + number).into());

/// Result of an attack.
struct Outcome {
    /// Guesses looked at in the minute with the most, after the first minute.
    most: u32,
    /// Number of tries until each owner's attempt was looked at.
    tries: Vec<u32>,
    throttle: Throttle,
    end: Instant,
}

/// Simulates attackers that guess `rate` times a second each. In the second half, an owner comes every five seconds, without the
/// mark of a device, and tries once a second.
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
    let (mut most, mut looked_at, mut due, mut attempt) = (0, 0, 0.0, 0);
    let (mut trying, mut tries): (Vec<(u32, u32)>, Vec<u32>) = (Vec::new(), Vec::new());
    for second in 0..LENGTH {
        let now = start + SECOND * second;
        if second % 60 == 0 {
            most = most.max(if second > 60 { looked_at } else { 0 });
            looked_at = 0;
        }
        due += rate * f64::from(attackers);
        while due >= 1.0 {
            due -= 1.0;
            attempt += 1;
            let guesser =
                Guesser::stranger(AttemptKind::Form, address(attempt % attackers, attempt / attackers));
            if throttle.admit(&guesser, now).is_none() {
                looked_at += 1;
                throttle.record_failure(guesser, now);
            }
        }
        if second >= LENGTH / 2 && second % 5 == 0 {
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
    Outcome { most, tries, throttle, end: start + SECOND * LENGTH }
}

#[test]
fn an_owner_gets_a_try_while_others_guess_without_end_and_guessing_stays_slow() {
    // Attackers, owner; guesses looked at in a minute; share of owners who get in with the first try, the first five, ten.
    for (attackers, address, owner, most, shares) in [
        (60, SCATTERED, ELSEWHERE, 70, [95, 100, 100]),
        (60, OF_ONE_48, ELSEWHERE, 15, [100, 100, 100]),
        // Each /48 gets as far as the others: an owner is one of 61.
        (60, WHOLE_48S, ELSEWHERE, 80, [10, 35, 55]),
        (1_000, SCATTERED, ELSEWHERE, 70, [20, 35, 50]),
        (1, OF_ONE_24, OF_THE_24, 5, [100, 100, 100]),
        (10, OF_ONE_24, OF_THE_24, 15, [70, 80, 90]),
    ] {
        for rate in [0.05, 1.0, 5.0] {
            let Outcome { most: seen, tries, mut throttle, end } = attack(attackers, address, rate, owner);
            let context = format!("{attackers} like {} at {rate} a second", address(0, 0));
            assert!(seen <= most, "{context}: {seen} guesses looked at");
            let within = |most| 100 * tries.iter().filter(|needed| **needed <= most).count() / tries.len();
            let seen = [1, 5, 10].map(within);
            assert!(seen.iter().zip(shares).all(|(seen, share)| *seen >= share), "{context}: {seen:?}");

            throttle.random = Box::new(|| 0.999_999);
            let known = Guesser::stranger(AttemptKind::Form, owner(100));
            throttle.mark_known(owner(100), end);
            assert_eq!(throttle.admit(&known, end), None, "{context}: a known address is no stranger");
            let later = end + Duration::from_mins(1);
            let neighbour = Guesser::stranger(AttemptKind::Form, owner(101));
            assert_eq!(throttle.admit(&neighbour, later), None, "{context}: a minute after, all is normal");
        }
    }
}

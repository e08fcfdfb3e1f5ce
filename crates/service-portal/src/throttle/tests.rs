//! Tests of the rate limit for failed logins.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Creates a throttle that never admits an attempt at random.
fn unlucky() -> Throttle {
    Throttle::with_random(|| 0.999_999)
}

fn v4(address: [u8; 4]) -> Guesser {
    Guesser::stranger(AttemptKind::Form, IpAddr::from(address))
}

fn v6(address: [u16; 8]) -> Guesser {
    Guesser::stranger(AttemptKind::Form, IpAddr::from(address))
}

fn at(last: u8) -> Guesser {
    v4([192, 0, 2, last])
}

#[test]
fn guessing_gets_slower_and_others_are_not_affected() {
    let (mut throttle, now) = (unlucky(), Instant::now());
    let mut waits = Vec::new();
    for _ in 0..14 {
        throttle.record_failure(at(1), now);
        waits.push(throttle.own_delay(&at(1), now).map_or(0, |wait| wait.as_secs()));
    }
    assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert_eq!(throttle.admit(&at(1), now), Some(MAX_WAIT));
    assert_eq!(throttle.admit(&at(2), now), None);
    let header = Guesser::stranger(AttemptKind::Header, IpAddr::from([192, 0, 2, 1]));
    assert_eq!(throttle.admit(&header, now), None, "each kind of attempt has its own limit");
    assert_eq!(throttle.admit(&Guesser::Device(AttemptKind::Form, "known".into()), now), None);
    assert_eq!(throttle.admit(&at(1), now + MAX_WAIT), None, "the longest wait is a minute");
}

#[test]
fn a_login_or_time_clears_failures() {
    let (mut throttle, now) = (unlucky(), Instant::now());
    (0..19).for_each(|_| throttle.record_failure(at(1), now));
    throttle.record_failure(at(1), now + FORGET_AFTER);
    assert_eq!(throttle.own_delay(&at(1), now + FORGET_AFTER), None);
    (0..20).for_each(|_| throttle.record_failure(at(1), now));
    throttle.record_success(&at(1));
    assert_eq!(throttle.own_delay(&at(1), now), None);
}

#[test]
fn failures_are_remembered_for_fifteen_minutes() {
    let (mut throttle, now) = (unlucky(), Instant::now());
    (0..6).for_each(|_| throttle.record_failure(at(1), now));
    let later = now + Duration::from_secs(15 * 60 - 1);
    throttle.record_failure(at(1), later);
    assert_eq!(throttle.own_delay(&at(1), later), Some(2 * SECOND), "still the seventh");
}

#[test]
fn an_ipv6_network_counts_as_one_address() {
    let (mut throttle, now) = (unlucky(), Instant::now());
    let at = |network: u16, last: u16| v6([0x2001, 0xdb8, 0, network, 0, 0, 0, last]);
    (0..10).for_each(|last| throttle.record_failure(at(1, last), now));
    assert!(throttle.admit(&at(1, 99), now).is_some() && throttle.admit(&at(2, 0), now).is_none());
    let mapped = Guesser::stranger(AttemptKind::Form, "::ffff:192.0.2.1".parse().unwrap());
    assert_eq!(mapped, self::at(1));
}

#[test]
fn only_the_guessing_network_is_slowed_down() {
    for (inside, neighbour, elsewhere) in [
        (
            (0..20).map(|number| v4([192, 0, 2, number])).collect::<Vec<_>>(),
            v4([192, 0, 2, 255]),
            v4([192, 0, 3, 1]),
        ),
        (
            (0..20).map(|number| v6([0x2001, 0xdb8, 7, number, 0, 0, 0, 1])).collect(),
            v6([0x2001, 0xdb8, 7, 0xffff, 0, 0, 0, 1]),
            v6([0x2001, 0xdb8, 8, 1, 0, 0, 0, 1]),
        ),
    ] {
        let (mut throttle, now) = (unlucky(), Instant::now());
        for guesser in &inside {
            assert_eq!(throttle.admit(guesser, now), None, "20 are free");
            throttle.record_failure(guesser.clone(), now);
        }
        assert_eq!(throttle.admit(&neighbour, now), Some(Duration::ZERO), "its own wait has not begun");
        assert_eq!(throttle.admit(&elsewhere, now), None);
        assert_eq!(throttle.admit(&neighbour, now + 10 * SECOND), None, "one failure has drained");
    }
}

#[test]
fn strangers_have_a_total_limit_that_known_browsers_and_addresses_do_not_share() {
    let (mut throttle, now) = (unlucky(), Instant::now());
    throttle.mark_known(IpAddr::from([203, 0, 113, 9]), now);
    for number in 0..100 {
        assert_eq!(throttle.admit(&v4([10, number, 0, 1]), now), None, "100 are free");
        throttle.record_failure(v4([10, number, 0, 1]), now);
    }
    let (fresh, known) = (v4([198, 51, 100, 1]), v4([203, 0, 113, 9]));
    assert_eq!(throttle.admit(&fresh, now), Some(Duration::ZERO));
    assert_eq!(throttle.admit(&Guesser::Device(AttemptKind::Form, "known".into()), now), None);
    assert_eq!(throttle.admit(&known, now), None);
    assert_eq!(throttle.admit(&fresh, now + 2 * SECOND), None, "two failures have drained");
}

#[test]
fn known_browsers_and_addresses_wait_for_their_own_failures_only() {
    let (mut throttle, now) = (unlucky(), Instant::now());
    throttle.mark_known(IpAddr::from([192, 0, 2, 1]), now);
    for guesser in [at(1), Guesser::Device(AttemptKind::Form, "known".into())] {
        (0..200).for_each(|_| throttle.record_failure(guesser.clone(), now));
        assert_eq!(throttle.admit(&guesser, now), Some(MAX_WAIT));
    }
    assert_eq!(throttle.admit(&at(2), now), None, "in the same network");
    assert_eq!(throttle.admit(&v4([198, 51, 100, 1]), now), None, "in another network");
}

#[test]
fn an_address_is_known_for_a_day() {
    let (mut throttle, now) = (unlucky(), Instant::now());
    throttle.mark_known("2001:db8::1".parse().unwrap(), now);
    let there = v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]);
    assert_eq!(throttle.stranger(&there, now + SECOND * (24 * 3_600 - 1)), None);
    assert_eq!(throttle.stranger(&there, now + KNOWN_FOR), Some("2001:db8::".parse().unwrap()));
}

#[test]
fn an_attempt_refused_at_random_counts_as_a_failure() {
    let (mut throttle, now) = (unlucky(), Instant::now());
    for number in 0..200 {
        throttle.admit(&v4([10, number, 0, 1]), now);
        throttle.record_failure(v4([10, number, 0, 1]), now);
    }
    let waits: Vec<u64> = (0..8).map(|_| throttle.admit(&at(1), now).unwrap().as_secs()).collect();
    assert_eq!(waits, [0, 0, 0, 0, 0, 1, 1, 1]);
}

#[test]
fn tables_are_bounded_in_a_flood() {
    let (mut throttle, start) = (unlucky(), Instant::now());
    for number in 0..30_000_u32 {
        let now = start + Duration::from_millis(number.into());
        let address = IpAddr::V4((number << 8).into());
        throttle.record_failure(Guesser::stranger(AttemptKind::Form, address), now);
        throttle.admit(&Guesser::stranger(AttemptKind::Link, address), now);
        throttle.mark_known(address, now);
        assert!(
            throttle.own.len() <= MAX_ENTRIES
                && throttle.networks.len() <= MAX_ENTRIES
                && throttle.known.len() <= MAX_KNOWN
        );
    }
    let sizes = [throttle.own.len(), throttle.networks.len(), throttle.known.len()];
    assert!(
        sizes.iter().zip([MAX_ENTRIES, MAX_ENTRIES, MAX_KNOWN]).all(|(size, most)| *size >= most / 4),
        "{sizes:?}"
    );
}

#[test]
fn a_full_table_loses_the_half_that_expires_first() {
    let start = Instant::now();
    let mut table: HashMap<u32, Instant> = (0..100).map(|number| (number, start + SECOND * number)).collect();
    drop_half_if_full(&mut table, 101, |at| *at);
    assert_eq!(table.len(), 100);
    drop_half_if_full(&mut table, 100, |at| *at);
    assert_eq!(table.len(), 49, "not one entry a request");
    assert!(table.keys().all(|number| *number > 50));
}

#[test]
fn a_flood_of_addresses_does_not_clear_a_long_wait() {
    let (mut throttle, start) = (unlucky(), Instant::now());
    (0..20).for_each(|_| throttle.record_failure(at(1), start));
    for number in 0..30_000_u32 {
        let now = start + Duration::from_millis(number.into());
        throttle.record_failure(Guesser::stranger(AttemptKind::Form, IpAddr::V4(number.into())), now);
    }
    assert_eq!(throttle.own_delay(&at(1), start + 30 * SECOND), Some(30 * SECOND));
}

#[test]
fn the_kernels_random_numbers_are_between_0_and_1() {
    let mut throttle = Throttle::default();
    let numbers: Vec<f64> = (0..1_000).map(|_| (throttle.random)()).collect();
    assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
    let mean = numbers.iter().sum::<f64>() / 1_000.0;
    assert!((0.3..0.7).contains(&mean), "{mean}");
}

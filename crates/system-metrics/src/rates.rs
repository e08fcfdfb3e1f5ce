//! Rates from counters of two samples.

use std::time::Duration;

use crate::kernel_files::scale;
use crate::sample::Sample;

/// Fills in the rates of `now`, which was taken `elapsed` after `before`.
///
/// A counter that is smaller than before began anew (a device or interface was replaced): its rate is unknown.
pub fn fill(now: &mut Sample, before: &Sample, elapsed: Duration) {
    let seconds = elapsed.as_secs_f64();
    if seconds <= 0.0 {
        return;
    }
    let rate = |now: Option<u64>, before: Option<u64>| Some(scale(now?.checked_sub(before?)?, seconds));
    let used = now.cpu.seconds.zip(before.cpu.seconds).map(|(now, before)| (now - before) / seconds);
    now.cpu.used_cores = used.filter(|used| *used >= 0.0);
    let periods = now.cpu.periods.zip(before.cpu.periods).and_then(|(now, before)| {
        let (all, throttled) = (now.0.checked_sub(before.0)?, now.1.checked_sub(before.1)?);
        Some(if all == 0 { 0.0 } else { scale(throttled, scale(all, 1.0)) })
    });
    now.cpu.throttled_ratio = periods;
    now.io.read_rate = rate(now.io.read, before.io.read);
    now.io.written_rate = rate(now.io.written, before.io.written);
    now.network.received_rate = rate(now.network.received, before.network.received);
    now.network.sent_rate = rate(now.network.sent, before.network.sent);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::sample;

    #[test]
    fn counters_become_rates_and_one_that_began_anew_has_none() {
        let mut before = sample();
        before.cpu.seconds = Some(10.0);
        before.cpu.periods = Some((100, 10));
        (before.io.read, before.io.written) = (Some(1000), Some(500));
        (before.network.received, before.network.sent) = (Some(0), None);
        let mut now = before.clone();
        now.cpu.seconds = Some(12.5);
        now.cpu.periods = Some((150, 35));
        (now.io.read, now.io.written) = (Some(6000), Some(499));
        (now.network.received, now.network.sent) = (Some(u64::MAX), Some(7));
        fill(&mut now, &before, Duration::from_secs(5));
        assert_eq!((now.cpu.used_cores, now.cpu.throttled_ratio), (Some(0.5), Some(0.5)));
        assert_eq!((now.io.read_rate, now.io.written_rate), (Some(1000.0), None));
        assert!(now.network.received_rate.unwrap() > 1e18 && now.network.sent_rate.is_none());
        let mut same = before.clone();
        fill(&mut same, &before, Duration::ZERO);
        assert_eq!(same, before, "no time has passed");
    }
}

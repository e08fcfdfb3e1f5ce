//! Life of one tunnel, as a pure function of what was seen.

use std::time::{Duration, Instant};

use tunnels::{Cause, Kind, State};

use crate::backoff::Pause;
use crate::times::{CONNECT, HUNG, RELIABLE, REPLACE, SETTLE, STOP, Times, WITHDRAW};

/// Attempts with another port for the metrics that follow without a pause.
const PORT_ATTEMPTS: u32 = 2;

/// State of a tunnel and of its cloudflared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No process.
    Idle,
    /// A process without a published address.
    Starting { since: Instant, ready_since: Option<Instant> },
    /// The address is published.
    Open { since: Instant, unready_since: Option<Instant> },
    /// The address is withdrawn.
    Lost { since: Instant, has_answered: bool, ready_since: Option<Instant> },
    /// A process that was sent SIGTERM.
    Stopping { since: Instant, is_killed: bool },
}

/// Answer of the metrics server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Health {
    /// The tunnel is connected, and its hostname is known.
    Ready,
    /// It is not, or not yet.
    NotReady,
    /// There is no answer.
    #[default]
    Silent,
}

/// Observations since the last tick.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// True if the tunnel should exist.
    pub is_wanted: bool,
    /// True if a process may be started now.
    pub may_start: bool,
    /// True if the process has exited.
    pub has_exited: bool,
    /// Answer of the metrics server.
    pub health: Health,
    /// Cause in the log of this process.
    pub cause: Option<Cause>,
    /// Change of a pause in thousandths, from [`backoff::jitter`](crate::backoff::jitter).
    pub jitter: i64,
}

/// Effect of a tick, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Start cloudflared.
    Start,
    /// Show the address.
    Publish,
    /// Withdraw the address, because the connection was lost.
    Withdraw,
    /// Report a failure, with the pause before the next attempt; `None` for causes that concern all tunnels.
    Fail(Cause, Option<Duration>),
    /// Send SIGTERM.
    Terminate,
    /// Send SIGKILL.
    Kill,
}

/// A tunnel's life.
#[derive(Debug)]
pub struct Lifecycle {
    times: Times,
    kind: Kind,
    phase: Phase,
    /// Earliest time of the next start.
    not_before: Instant,
    /// Failures in a row.
    failures: u32,
    ports_taken: u32,
    /// Cause of the last failure, until the tunnel is open.
    cause: Option<Cause>,
}

impl Lifecycle {
    /// Returns a tunnel without a process.
    pub fn new(kind: Kind, times: Times, now: Instant) -> Self {
        let phase = Phase::Idle;
        Self { times, kind, phase, not_before: now, failures: 0, ports_taken: 0, cause: None }
    }

    /// True if there is no process, so that the tunnel can be forgotten.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Returns the state for the status file, and the cause of the last failure.
    pub fn state(&self, now: Instant) -> (State, Option<Cause>) {
        let state = match self.phase {
            Phase::Open { .. } => State::Open,
            Phase::Lost { .. } => return (State::Lost, Some(Cause::Lost)),
            Phase::Idle | Phase::Stopping { .. } if self.not_before > now => State::Waiting,
            _ => State::Opening,
        };
        (state, self.cause)
    }

    /// Advances by what was seen; the caller executes the steps.
    pub fn advance(&mut self, seen: &Seen, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        self.phase = match self.phase {
            Phase::Idle if seen.is_wanted && seen.may_start && now >= self.not_before => {
                steps.push(Step::Start);
                Phase::Starting { since: now, ready_since: None }
            }
            Phase::Idle => Phase::Idle,
            Phase::Stopping { .. } if seen.has_exited => Phase::Idle,
            Phase::Stopping { since, is_killed: false } if self.times.have_passed(STOP, since, now) => {
                steps.push(Step::Kill);
                Phase::Stopping { since, is_killed: true }
            }
            stopping @ Phase::Stopping { .. } => stopping,
            running => self.advance_running(running, seen, now, &mut steps),
        };
        if steps.contains(&Step::Publish) {
            self.cause = None;
        }
        steps
    }

    fn advance_running(&mut self, phase: Phase, seen: &Seen, now: Instant, steps: &mut Vec<Step>) -> Phase {
        let stopping = Phase::Stopping { since: now, is_killed: false };
        if seen.has_exited {
            if seen.is_wanted {
                steps.extend(self.fail(seen.cause.unwrap_or(Cause::Exited), seen.jitter, now));
            }
            return Phase::Idle;
        }
        if !seen.is_wanted {
            steps.push(Step::Terminate);
            return stopping;
        }
        let is_lost = matches!(phase, Phase::Lost { .. }) && seen.health != Health::Ready;
        let failure = match seen.cause {
            // A new tunnel may be unknown for a moment; cloudflared tries again.
            Some(Cause::Unauthorized) if is_lost => Cause::Unauthorized,
            _ => match self.step(phase, seen, now, steps) {
                Ok(next) => return next,
                Err(cause) => cause,
            },
        };
        steps.extend(self.fail(failure, seen.jitter, now));
        steps.push(Step::Terminate);
        stopping
    }

    /// Returns the next phase of a running cloudflared, or the cause for which it is stopped.
    fn step(
        &mut self,
        phase: Phase,
        seen: &Seen,
        now: Instant,
        steps: &mut Vec<Step>,
    ) -> Result<Phase, Cause> {
        let times = self.times;
        let passed = |since, seconds| times.have_passed(seconds, since, now);
        let is_ready = seen.health == Health::Ready;
        let ready = |since: Option<Instant>| is_ready.then(|| since.unwrap_or(now));
        let open = Phase::Open { since: now, unready_since: None };
        match phase {
            Phase::Starting { since, ready_since } => {
                let ready_since = ready(ready_since);
                if ready_since.is_some_and(|ready| passed(ready, SETTLE)) {
                    steps.push(Step::Publish);
                    return Ok(open);
                }
                let without = if seen.health == Health::Silent { Cause::Hung } else { Cause::NotConnected };
                if passed(since, CONNECT) && !is_ready {
                    return Err(seen.cause.unwrap_or(without));
                }
                Ok(Phase::Starting { since, ready_since })
            }
            Phase::Open { since, unready_since } => {
                if passed(since, RELIABLE) {
                    self.failures = 0;
                }
                let unready_since = (!is_ready).then(|| unready_since.unwrap_or(now));
                match unready_since {
                    Some(lost) if passed(lost, WITHDRAW) => {
                        steps.push(Step::Withdraw);
                        let has_answered = seen.health == Health::NotReady;
                        Ok(Phase::Lost { since: lost, has_answered, ready_since: None })
                    }
                    _ => Ok(Phase::Open { since, unready_since }),
                }
            }
            Phase::Lost { since, has_answered, ready_since } => {
                let has_answered = has_answered || seen.health != Health::Silent;
                let ready_since = ready(ready_since);
                if ready_since.is_some_and(|ready| passed(ready, SETTLE)) {
                    steps.push(Step::Publish);
                    Ok(open)
                } else if !has_answered && passed(since, HUNG) {
                    Err(Cause::Hung)
                } else if !is_ready && passed(since, REPLACE) {
                    Err(seen.cause.unwrap_or(Cause::Lost))
                } else {
                    Ok(Phase::Lost { since, has_answered, ready_since })
                }
            }
            other => Ok(other),
        }
    }

    /// Sets the pause before the next attempt; returns nothing for a failure that is not reported.
    fn fail(&mut self, cause: Cause, jitter: i64, now: Instant) -> Option<Step> {
        if cause == Cause::PortTaken && self.ports_taken < PORT_ATTEMPTS {
            // The next port is another one.
            self.ports_taken += 1;
            return None;
        }
        self.ports_taken = 0;
        self.cause = Some(cause);
        let pause = match Pause::after(cause, self.kind) {
            Pause::Shared => None,
            pause => Some(self.times.of(pause.seconds(self.failures, jitter))),
        };
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause.unwrap_or_default();
        Some(Step::Fail(cause, pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tunnel, and seconds since its creation.
    struct Trial {
        life: Lifecycle,
        start: Instant,
    }

    impl Trial {
        fn new(kind: Kind) -> Self {
            let start = Instant::now();
            Self { life: Lifecycle::new(kind, Times(1), start), start }
        }

        fn at(&mut self, second: u64, seen: &Seen) -> Vec<Step> {
            self.life.advance(seen, self.start + Duration::from_secs(second))
        }

        fn state(&self, second: u64) -> (State, Option<Cause>) {
            self.life.state(self.start + Duration::from_secs(second))
        }

        /// Returns a tunnel that was opened at second 5.
        fn open(kind: Kind) -> Self {
            let mut trial = Self::new(kind);
            assert_eq!(trial.at(0, &seen(Health::Silent)), [Step::Start]);
            assert_eq!(trial.at(1, &seen(Health::Ready)), []);
            assert_eq!(trial.at(6, &seen(Health::Ready)), [Step::Publish]);
            trial
        }
    }

    fn seen(health: Health) -> Seen {
        Seen { is_wanted: true, may_start: true, health, ..Seen::default() }
    }

    fn logged(health: Health, cause: Cause) -> Seen {
        Seen { cause: Some(cause), ..seen(health) }
    }

    fn exited(cause: Option<Cause>) -> Seen {
        Seen { has_exited: true, cause, ..seen(Health::Silent) }
    }

    fn failed(cause: Cause, seconds: u64) -> Step {
        Step::Fail(cause, Some(Duration::from_secs(seconds)))
    }

    #[test]
    fn an_address_is_published_after_five_connected_seconds() {
        let mut trial = Trial::new(Kind::Quick);
        let waiting = Seen { may_start: false, ..seen(Health::Silent) };
        assert_eq!(trial.at(0, &waiting), []);
        assert_eq!(trial.at(0, &seen(Health::Silent)), [Step::Start]);
        assert_eq!(trial.state(0), (State::Opening, None));
        for (second, health) in
            [(1, Health::Ready), (5, Health::NotReady), (6, Health::Ready), (10, Health::Ready)]
        {
            assert_eq!(trial.at(second, &seen(health)), []);
        }
        assert_eq!(trial.at(11, &seen(Health::Ready)), [Step::Publish]);
        assert_eq!(trial.state(11), (State::Open, None));
    }

    #[test]
    fn a_start_that_does_not_connect_fails_after_a_minute_with_what_is_known() {
        for (health, cause, expected, pause) in [
            (Health::Silent, None, Cause::Hung, 5),
            (Health::NotReady, None, Cause::NotConnected, 5),
            (Health::NotReady, Some(Cause::EdgeBlocked), Cause::EdgeBlocked, 60),
            (Health::NotReady, Some(Cause::Unauthorized), Cause::Unauthorized, 5),
        ] {
            let mut trial = Trial::new(Kind::Quick);
            let seen = Seen { cause, ..seen(health) };
            assert_eq!(trial.at(0, &seen), [Step::Start]);
            assert_eq!(trial.at(59, &seen), []);
            assert_eq!(trial.at(60, &seen), [failed(expected, pause), Step::Terminate]);
            assert_eq!(trial.state(60), (State::Waiting, Some(expected)));
            assert_eq!(trial.at(62, &seen), [Step::Kill], "it ignores SIGTERM");
            assert_eq!(trial.at(63, &exited(None)), []);
            assert_eq!(trial.at(60 + pause, &seen), [Step::Start]);
            assert_eq!(
                trial.state(60 + pause),
                (State::Opening, Some(expected)),
                "the cause stays until it is open"
            );
        }
    }

    #[test]
    fn an_exit_is_tried_again_with_longer_and_longer_pauses() {
        let mut trial = Trial::new(Kind::Quick);
        let mut second = 0;
        for pause in [5, 10, 20] {
            assert_eq!(trial.at(second, &seen(Health::Silent)), [Step::Start]);
            assert_eq!(trial.at(second, &exited(None)), [failed(Cause::Exited, pause)]);
            assert_eq!(trial.at(second + pause - 1, &seen(Health::Silent)), []);
            second += pause;
        }
        assert_eq!(trial.at(second, &seen(Health::Silent)), [Step::Start]);
        trial.at(second, &seen(Health::Ready));
        assert_eq!(trial.at(second + 5, &seen(Health::Ready)), [Step::Publish]);
        let late = second + 5 + RELIABLE;
        trial.at(late, &seen(Health::Ready));
        assert_eq!(trial.at(late + 1, &exited(None)), [failed(Cause::Exited, 5)], "after ten open minutes");
    }

    #[test]
    fn the_next_failure_of_a_tunnel_that_was_open_for_ten_minutes_is_its_first() {
        for (open, pause) in [(RELIABLE - 20, 10), (RELIABLE, 5)] {
            let mut trial = Trial::new(Kind::Quick);
            trial.at(0, &seen(Health::Silent));
            assert_eq!(trial.at(0, &exited(None)), [failed(Cause::Exited, 5)]);
            trial.at(5, &seen(Health::Silent));
            trial.at(5, &seen(Health::Ready));
            assert_eq!(trial.at(10, &seen(Health::Ready)), [Step::Publish]);
            trial.at(10 + open, &seen(Health::NotReady));
            assert_eq!(trial.at(20 + open, &seen(Health::NotReady)), [Step::Withdraw]);
            let replaced = [failed(Cause::Lost, pause), Step::Terminate];
            assert_eq!(trial.at(130 + open, &seen(Health::NotReady)), replaced);
        }
    }

    #[test]
    fn a_rate_limit_has_no_pause_of_its_own() {
        let mut trial = Trial::new(Kind::Quick);
        trial.at(0, &seen(Health::Silent));
        let limited = exited(Some(Cause::RateLimited));
        assert_eq!(trial.at(1, &limited), [Step::Fail(Cause::RateLimited, None)]);
    }

    #[test]
    fn a_lost_connection_is_withdrawn_and_comes_back_or_is_replaced() {
        let mut trial = Trial::open(Kind::Quick);
        assert_eq!(trial.at(10, &seen(Health::NotReady)), []);
        assert_eq!(trial.at(19, &seen(Health::NotReady)), []);
        assert_eq!(trial.at(20, &seen(Health::NotReady)), [Step::Withdraw]);
        assert_eq!(trial.state(20), (State::Lost, Some(Cause::Lost)));
        assert_eq!(trial.at(40, &seen(Health::Ready)), []);
        assert_eq!(trial.at(45, &seen(Health::Ready)), [Step::Publish]);
        trial.at(50, &seen(Health::NotReady));
        assert_eq!(trial.at(60, &seen(Health::NotReady)), [Step::Withdraw]);
        assert_eq!(trial.at(169, &seen(Health::NotReady)), []);
        let replaced = [failed(Cause::Lost, 5), Step::Terminate];
        assert_eq!(trial.at(170, &seen(Health::NotReady)), replaced);
    }

    #[test]
    fn an_open_tunnel_whose_process_hangs_or_that_is_ended_is_replaced() {
        let mut trial = Trial::open(Kind::Quick);
        trial.at(10, &seen(Health::Silent));
        assert_eq!(trial.at(20, &seen(Health::Silent)), [Step::Withdraw]);
        assert_eq!(trial.at(70, &seen(Health::Silent)), [failed(Cause::Hung, 5), Step::Terminate]);
        for (kind, pause) in [(Kind::Quick, 5), (Kind::Named, 60)] {
            let mut trial = Trial::open(kind);
            assert_eq!(
                trial.at(10, &logged(Health::Ready, Cause::Unauthorized)),
                [],
                "another connection is open"
            );
            let refused = logged(Health::NotReady, Cause::Unauthorized);
            trial.at(10, &refused);
            assert_eq!(trial.at(20, &refused), [Step::Withdraw]);
            assert_eq!(trial.at(21, &refused), [failed(Cause::Unauthorized, pause), Step::Terminate]);
        }
    }

    #[test]
    fn a_taken_port_is_followed_by_another_one_and_the_third_is_reported() {
        let mut trial = Trial::new(Kind::Quick);
        let taken = exited(Some(Cause::PortTaken));
        for _ in 0..2 {
            assert_eq!(trial.at(0, &seen(Health::Silent)), [Step::Start]);
            assert_eq!(trial.at(0, &taken), []);
        }
        assert_eq!(trial.at(0, &seen(Health::Silent)), [Step::Start]);
        assert_eq!(trial.at(0, &taken), [failed(Cause::PortTaken, 5)]);
    }

    #[test]
    fn a_tunnel_that_is_no_longer_wanted_is_stopped_without_a_report() {
        let mut trial = Trial::open(Kind::Quick);
        let unwanted = Seen { is_wanted: false, ..seen(Health::Ready) };
        assert_eq!(trial.at(7, &unwanted), [Step::Terminate]);
        assert!(!trial.life.is_idle());
        assert_eq!(trial.at(8, &Seen { has_exited: true, ..unwanted.clone() }), []);
        assert!(trial.life.is_idle());
        assert_eq!(trial.at(9, &unwanted), []);
    }
}

//! Fetching a script: what is tried again, and how often, until when.

use std::thread;
use std::time::{Duration, Instant};

use kit::Env;

use crate::address::Address;
use crate::failure::Failure;
use crate::request::{self, Answer, Trouble};

/// How often an answer that may be a better one the next time is asked for.
const TRIES: u32 = 4;

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Looking up a name, and again being connected with the host, TLS included.
    pub connect: Duration,
    /// The next byte of an answer.
    pub stall: Duration,
    /// All of it, other tries included.
    pub total: Duration,
    /// Before the second try; doubled before each later one.
    pub pause: Duration,
    /// The longest wait that a host may ask for.
    pub longest_pause: Duration,
}

impl Patience {
    /// As documented, divided by `hurry`, which is more than 1 in tests only.
    pub fn new(hurry: u32) -> Self {
        let seconds = |number| Duration::from_secs(number) / hurry.max(1);
        Self {
            connect: seconds(10),
            stall: seconds(30),
            total: seconds(120),
            pause: seconds(1),
            longest_pause: seconds(30),
        }
    }
}

/// Fetches; `tell` hears about redirects and further tries.
pub fn fetch(
    address: &Address,
    env: &Env,
    patience: &Patience,
    mut tell: impl FnMut(&str),
) -> Result<Answer, Failure> {
    let deadline = Instant::now() + patience.total;
    let mut pause = patience.pause;
    let mut tried = 1;
    let mut earlier: Option<Failure> = None;
    loop {
        let trouble = match request::request(address, env, patience, deadline, &mut tell) {
            Ok(answer) => return Ok(answer),
            Err(trouble) => trouble,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        // That the time is over says less than what it was spent on.
        let failure = earlier.filter(|_| left.is_zero()).unwrap_or_else(|| trouble.failure.clone());
        match next(&trouble, tried, pause, left, patience) {
            Some(pause) => {
                tell(&format!("{}; trying again in {} s", failure.cause, pause.as_secs_f64().ceil()));
                // Nothing to wait for: the point is to leave the host alone for a while.
                thread::sleep(pause);
            }
            None if tried > 1 => {
                let cause = format!("{} (tried {tried} times)", failure.cause);
                return Err(Failure { cause, ..failure });
            }
            None => return Err(failure),
        }
        earlier = Some(failure);
        tried += 1;
        pause *= 2;
    }
}

/// How long to wait before the next try; nothing if there is none.
fn next(
    trouble: &Trouble,
    tried: u32,
    pause: Duration,
    left: Duration,
    patience: &Patience,
) -> Option<Duration> {
    if !trouble.may_pass || tried >= TRIES {
        return None;
    }
    let pause = trouble.not_before.map_or(pause, |asked| asked.max(pause).min(patience.longest_pause));
    (pause < left).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again_and_never_past_the_limits() {
        let patience = Patience::new(1);
        let failure = Failure::unreachable("x", "y");
        let seconds = Duration::from_secs;
        let after = |may_pass, not_before, tried, left| {
            let trouble = Trouble { failure: failure.clone(), may_pass, not_before };
            next(&trouble, tried, seconds(2), seconds(left), &patience)
        };
        assert_eq!(after(false, None, 1, 100), None);
        assert_eq!(after(true, None, 3, 100), Some(seconds(2)));
        assert_eq!(after(true, None, 4, 100), None);
        assert_eq!(after(true, None, 1, 2), None, "no time is left for another try");
        assert_eq!(after(true, Some(seconds(7)), 1, 100), Some(seconds(7)));
        assert_eq!(after(true, Some(seconds(0)), 1, 100), Some(seconds(2)), "nobody may hurry us");
        assert_eq!(after(true, Some(seconds(3_600)), 1, 100), Some(seconds(30)));
    }
}

//! A limit on errors in the log that requests cause: strangers decide how many requests there are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::Level;

/// Time for which a text is not written again.
const PAUSE: Duration = Duration::from_mins(1);
/// Texts remembered at most.
const MOST: usize = 100;

/// Texts that were written lately, with the time.
struct Lately(BTreeMap<String, Instant>);

static LATELY: Mutex<Lately> = Mutex::new(Lately(BTreeMap::new()));

/// Logs an error that a request met, unless the same was logged within a minute.
pub fn error(error: &anyhow::Error) {
    write(Level::Error, error);
}

/// Logs a reason that is no error, in the same way.
pub fn info(reason: &anyhow::Error) {
    write(Level::Info, reason);
}

fn write(level: Level, reason: &anyhow::Error) {
    let text = format!("{reason:#}");
    if LATELY.lock().unwrap_or_else(PoisonError::into_inner).is_new(&text, Instant::now()) {
        log::log!(level, "{text}");
    }
}

impl Lately {
    /// Returns whether a text is to be written now.
    fn is_new(&mut self, text: &str, now: Instant) -> bool {
        self.0.retain(|_, at| now.duration_since(*at) < PAUSE);
        if self.0.len() >= MOST || self.0.contains_key(text) {
            return false;
        }
        self.0.insert(text.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_written_once_a_minute_and_few_texts_in_all() {
        let (mut lately, now) = (Lately(BTreeMap::new()), Instant::now());
        assert!(lately.is_new("one", now) && !lately.is_new("one", now) && lately.is_new("two", now));
        assert!(!lately.is_new("one", now + Duration::from_secs(59)));
        assert!(lately.is_new("one", now + PAUSE) && !lately.is_new("one", now + PAUSE));
        let flood = (0..1_000).filter(|number| lately.is_new(&number.to_string(), now + PAUSE)).count();
        assert_eq!(flood, MOST - 1);
    }
}

//! Rate limit for log messages that requests cause, because anyone can send requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::Level;

/// Time during which a message is not repeated.
const INTERVAL: Duration = Duration::from_mins(1);
/// Maximum number of messages within that time.
const MAX_MESSAGES: usize = 100;

/// Messages of the last minute, with the time of each.
struct RecentMessages(BTreeMap<String, Instant>);

static RECENT: Mutex<RecentMessages> = Mutex::new(RecentMessages(BTreeMap::new()));

/// Logs an error, unless the same message was logged within the last minute.
pub fn error(error: &anyhow::Error) {
    write(Level::Error, error);
}

/// Logs a message at level info in the same way.
pub fn info(reason: &anyhow::Error) {
    write(Level::Info, reason);
}

fn write(level: Level, reason: &anyhow::Error) {
    let text = format!("{reason:#}");
    if RECENT.lock().unwrap_or_else(PoisonError::into_inner).is_new(&text, Instant::now()) {
        log::log!(level, "{text}");
    }
}

impl RecentMessages {
    /// True if a message must be logged now.
    fn is_new(&mut self, text: &str, now: Instant) -> bool {
        self.0.retain(|_, at| now.duration_since(*at) < INTERVAL);
        if self.0.len() >= MAX_MESSAGES || self.0.contains_key(text) {
            return false;
        }
        self.0.insert(text.to_owned(), now);
        true
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        static WRITTEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    /// Logger that stores the lines of each thread.
    struct ThreadLogger;

    impl log::Log for ThreadLogger {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            WRITTEN.with_borrow_mut(|lines| lines.push(format!("{} {}", record.level(), record.args())));
        }

        fn flush(&self) {}
    }

    /// Starts to store lines, for all threads.
    pub fn keep_lines() {
        // Another test may have done this.
        let _ = log::set_logger(&ThreadLogger);
        log::set_max_level(log::LevelFilter::Info);
    }

    /// Returns the lines that this thread has logged since the last call.
    pub fn logged_lines() -> Vec<String> {
        WRITTEN.with_borrow_mut(std::mem::take)
    }

    #[test]
    fn a_repeated_error_is_logged_once() {
        keep_lines();
        let failed = anyhow::anyhow!("permission denied").context("cannot read a file of a test");
        (0..100).for_each(|_| error(&failed));
        (0..100).for_each(|_| info(&anyhow::anyhow!("a test has no log")));
        let lines = ["ERROR cannot read a file of a test: permission denied", "INFO a test has no log"];
        assert_eq!(logged_lines(), lines);
    }

    #[test]
    fn a_message_is_logged_once_a_minute_and_the_total_is_limited() {
        let (mut recent, now) = (RecentMessages(BTreeMap::new()), Instant::now());
        assert!(recent.is_new("one", now) && !recent.is_new("one", now) && recent.is_new("two", now));
        assert!(!recent.is_new("one", now + Duration::from_secs(59)));
        assert!(recent.is_new("one", now + INTERVAL) && !recent.is_new("one", now + INTERVAL));
        let flood = (0..1_000).filter(|number| recent.is_new(&number.to_string(), now + INTERVAL)).count();
        assert_eq!(flood, MAX_MESSAGES - 1);
    }
}

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
struct RecentMessages(BTreeMap<String, Instant>);

static LATELY: Mutex<RecentMessages> = Mutex::new(RecentMessages(BTreeMap::new()));

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

impl RecentMessages {
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
pub(crate) mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        static WRITTEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    /// Keeps the lines of each thread.
    struct Kept;

    impl log::Log for Kept {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            WRITTEN.with_borrow_mut(|lines| lines.push(format!("{} {}", record.level(), record.args())));
        }

        fn flush(&self) {}
    }

    /// Begins to keep lines, for all threads.
    pub fn keep_lines() {
        // Another test may have begun.
        let _ = log::set_logger(&Kept);
        log::set_max_level(log::LevelFilter::Info);
    }

    /// Returns what this thread has logged since it was last asked.
    pub fn written() -> Vec<String> {
        WRITTEN.with_borrow_mut(std::mem::take)
    }

    #[test]
    fn a_request_that_fails_again_and_again_writes_one_line() {
        keep_lines();
        let failed = anyhow::anyhow!("permission denied").context("cannot read a file of a test");
        (0..100).for_each(|_| error(&failed));
        (0..100).for_each(|_| info(&anyhow::anyhow!("a test has no log")));
        let lines = ["ERROR cannot read a file of a test: permission denied", "INFO a test has no log"];
        assert_eq!(written(), lines);
    }

    #[test]
    fn the_same_text_is_written_once_a_minute_and_few_texts_in_all() {
        let (mut lately, now) = (RecentMessages(BTreeMap::new()), Instant::now());
        assert!(lately.is_new("one", now) && !lately.is_new("one", now) && lately.is_new("two", now));
        assert!(!lately.is_new("one", now + Duration::from_secs(59)));
        assert!(lately.is_new("one", now + PAUSE) && !lately.is_new("one", now + PAUSE));
        let flood = (0..1_000).filter(|number| lately.is_new(&number.to_string(), now + PAUSE)).count();
        assert_eq!(flood, MOST - 1);
    }
}

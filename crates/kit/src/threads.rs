//! Work in several threads, which the limit of processes may refuse: what can be done without them is done.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};

use anyhow::{Context, Result};

use crate::process_limit;

/// Starts a thread that is not waited for.
pub fn start(work: impl FnOnce() + Send + 'static) -> Result<()> {
    Builder::new().spawn(work).map(drop).map_err(process_limit::explain).context("cannot start a thread")
}

/// Runs `other` in a thread of its own while `own` runs in this one. Where no thread can be started, `other` runs first. The
/// result of `other` is an error if its thread panicked.
pub fn beside<A: Send, B>(
    other: impl FnOnce() -> A + Send,
    own: impl FnOnce() -> B,
) -> (thread::Result<A>, B) {
    beside_in(Builder::new(), other, own)
}

fn beside_in<A: Send, B>(
    builder: Builder,
    other: impl FnOnce() -> A + Send,
    own: impl FnOnce() -> B,
) -> (thread::Result<A>, B) {
    // A thread that cannot be started takes its work with it.
    let waiting = Mutex::new(Some(other));
    let run = || lock(&waiting).take().map(|other| other());
    let lost = || -> Box<dyn std::any::Any + Send> { Box::new("it was taken twice") };
    thread::scope(|scope| match builder.spawn_scoped(scope, run) {
        Ok(running) => {
            let own = own();
            (running.join().and_then(|done| done.ok_or_else(lost)), own)
        }
        Err(error) => {
            log::warn!("cannot start a thread, so that one thing is done after the other: {error}");
            (run().ok_or_else(lost), own())
        }
    })
}

/// Calls `work` with each item, in up to `threads` threads with the calling one, and returns the results in the order of the
/// items. Where a thread cannot be started, the others do its work.
pub fn map<T: Send, R: Send>(items: Vec<T>, threads: usize, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    map_in(Builder::new, items, threads, work)
}

fn map_in<T: Send, R: Send>(
    builder: impl Fn() -> Builder,
    items: Vec<T>,
    threads: usize,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let results: Mutex<Vec<Option<R>>> = Mutex::new(items.iter().map(|_| None).collect());
    let waiting = Mutex::new(items.into_iter().enumerate());
    let next = || lock(&waiting).next();
    let run = || {
        while let Some((place, item)) = next() {
            let result = work(item);
            if let Some(slot) = lock(&results).get_mut(place) {
                *slot = Some(result);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            let _ = builder().spawn_scoped(scope, run);
        }
        run();
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A builder whose threads cannot be started: no address space has such a stack.
    fn refused() -> Builder {
        Builder::new().stack_size(1 << 60)
    }

    #[test]
    fn work_is_done_with_and_without_other_threads() {
        for (builder, is_refused) in [(Builder::new as fn() -> Builder, false), (refused, true)] {
            let own = thread::current().id();
            let (other, this) = beside_in(builder(), || thread::current().id(), || thread::current().id());
            assert_eq!((other.unwrap() == own, this), (is_refused, own));
            let doubled = map_in(builder, (0..100).collect(), 4, |number| number * 2);
            assert_eq!(doubled, (0..200).step_by(2).collect::<Vec<_>>());
        }
        assert_eq!(map(Vec::<u8>::new(), 4, |number| number), []);
    }
}

//! Tasks for several threads, last in, first out.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct State<T> {
    waiting: Vec<T>,
    /// Number of waiting and running tasks; at 0 no task can be added any more.
    unfinished: usize,
    closed: bool,
}

/// Tasks that wait for a worker.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Queue<T> {
    pub fn new(first: T) -> Self {
        let state = State { waiting: vec![first], unfinished: 1, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds tasks; the last one is taken first.
    pub fn add(&self, tasks: impl IntoIterator<Item = T>) {
        let mut state = self.state();
        let before = state.waiting.len();
        state.waiting.extend(tasks);
        let added = state.waiting.len() - before;
        state.unfinished += added;
        drop(state);
        match added {
            0 => {}
            1 => self.changed.notify_one(),
            _ => self.changed.notify_all(),
        }
    }

    /// Waits for a task; `None` when all are done or the queue was closed. Each must be reported with [`Queue::done`].
    pub fn take(&self) -> Option<T> {
        let mut state = self.state();
        loop {
            if state.closed || state.unfinished == 0 {
                return None;
            }
            if let Some(task) = state.waiting.pop() {
                return Some(task);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Marks a taken task as done.
    pub fn done(&self) {
        let mut state = self.state();
        state.unfinished -= 1;
        if state.unfinished == 0 {
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Ends all threads.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    #[test]
    fn workers_end_when_tasks_that_made_tasks_are_done() {
        let queue = Queue::new(10_u32);
        let done = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(task) = queue.take() {
                        if task > 0 {
                            queue.add([task - 1, task - 1]);
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                        queue.done();
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 2_u32.pow(11) - 1);
    }

    #[test]
    fn a_closed_queue_gives_nothing_and_wakes_a_waiting_thread() {
        let queue = Queue::new(1);
        thread::scope(|scope| {
            assert_eq!(queue.take(), Some(1));
            let waiting = scope.spawn(|| queue.take());
            queue.close();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }
}

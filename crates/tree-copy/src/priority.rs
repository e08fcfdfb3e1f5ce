//! Copying in the background.

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;

/// The weakest nice value but one step above "idle" that still maps to the lowest best-effort priority of the disk:
/// without an explicit class, `ioprio_set(2)` derives the level as (nice + 20) / 5, which is 7 from 15 on.
const NICE: i32 = 15;

/// Makes the calling thread, and those that it starts afterwards, give way to others at the processor and at the disk.
///
/// On Linux a nice value belongs to a thread, `setpriority(2)` takes a thread's number, and new threads inherit it. A
/// thread that is nicer already stays as it is.
pub fn lower_priority() {
    let thread = Some(gettid());
    if getpriority_process(thread).is_ok_and(|now| now < NICE) {
        // Raising a nice value needs no permission, so a failure here could only mean an odd system; the copy is
        // right all the same.
        let _ = setpriority_process(thread, NICE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calling_thread_and_what_it_starts_become_nice_and_no_other() {
        let before = getpriority_process(Some(gettid())).unwrap();
        let worker = std::thread::spawn(|| {
            let now = || getpriority_process(Some(gettid())).unwrap();
            lower_priority();
            (now(), std::thread::spawn(now).join().unwrap())
        });
        assert_eq!(worker.join().unwrap(), (before.max(NICE), before.max(NICE)));
        assert_eq!(getpriority_process(Some(gettid())).unwrap(), before);
    }
}

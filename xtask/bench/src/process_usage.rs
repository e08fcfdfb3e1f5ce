//! Memory and processor time of other processes.
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::process::Process;

/// Returns the peak resident memory of a process (`VmHWM` of proc(5)), in kB; `None` if it has exited.
pub fn peak_kilobytes(id: u32) -> Option<u32> {
    Process::new(id).status().ok()?.number("VmHWM:", 10)
}

/// Returns the processor time of a process's threads, as counted by the scheduler (`schedstat` of proc(5)).
pub fn processor_time(id: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(Process::new(id).path("task"))? {
        let times = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += times.split(' ').next().context("the kernel reports no times")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

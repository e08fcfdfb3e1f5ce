//! Memory of other processes.
use kit::process::Process;

/// Returns the peak resident memory of a process (`VmHWM` of proc(5)), in kB; `None` if it has exited.
pub fn peak_kilobytes(id: u32) -> Option<u32> {
    Process::new(id).status().ok()?.number("VmHWM:", 10)
}

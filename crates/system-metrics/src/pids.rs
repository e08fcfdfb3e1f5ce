//! Processes and threads of the container, and their limit.

use serde::Serialize;

use crate::cgroup::{Cgroup, Directory};
use crate::kernel_files::KernelFiles;

/// Number of processes and threads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// Processes and threads now.
    pub current: Option<u64>,
    /// Maximum (`--pids-limit`); `None` if there is none.
    pub limit: Option<u64>,
}

/// Reads the numbers.
pub fn read(files: &KernelFiles, cgroup: &Cgroup) -> Pids {
    let Some(Directory::V2(path) | Directory::V1(path)) = cgroup.directory("pids") else {
        return Pids::default();
    };
    Pids { current: files.number(path.join("pids.current")), limit: files.limit(path.join("pids.max")) }
}

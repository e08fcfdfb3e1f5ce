//! Everything that was measured at one moment.

use serde::Serialize;

use crate::block_io::BlockIo;
use crate::cpu::Cpu;
use crate::file_system::FileSystem;
use crate::gpu::Gpu;
use crate::memory::Memory;
use crate::network::Network;
use crate::pids::Pids;
use crate::pressure::Pressures;

/// Origin of the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The container's cgroup, version 2.
    CgroupV2,
    /// The container's cgroup, version 1, with or without version 2 beside it.
    CgroupV1,
    /// No cgroup is visible: the whole machine, or the sandbox that the container runs in.
    Machine,
}

/// Measured figures. Fields are added, never changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Time, in seconds since 1970.
    pub at: f64,
    /// Origin of the figures.
    pub source: Source,
    /// Sentences about figures that mean something else than usual, or that are missing.
    pub notes: Vec<String>,
    /// CPU.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Pressure.
    pub pressure: Pressures,
    /// Block devices.
    pub io: BlockIo,
    /// Network.
    pub network: Network,
    /// File systems: the workspace, the container's own, shared memory.
    pub file_systems: Vec<FileSystem>,
    /// GPUs.
    pub gpus: Vec<Gpu>,
    /// Sentences about GPUs that cannot be read.
    pub gpu_problems: Vec<String>,
    /// Seconds since the kernel last ended a process for lack of memory, if that was seen.
    pub oom_kill_age: Option<u64>,
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::cgroup::Cgroup;
    use crate::kernel_files::tests::sample as files;

    /// A sample without figures.
    pub fn sample() -> Sample {
        let (_dir, files) = files(&[]);
        Sample {
            at: 0.0,
            source: Source::CgroupV2,
            notes: Vec::new(),
            cpu: crate::cpu::read(&files, &Cgroup::default()),
            memory: Memory::default(),
            pids: Pids::default(),
            pressure: Pressures::default(),
            io: BlockIo::default(),
            network: Network::default(),
            file_systems: Vec::new(),
            gpus: Vec::new(),
            gpu_problems: Vec::new(),
            oom_kill_age: None,
        }
    }
}

//! Measure CPU, memory, disk, network and GPUs as the container sees them.
//!
//! A [`Monitor`] samples every few seconds on a thread of its own and keeps one hour. Whatever may hang has another
//! thread: each file system (a network server that does not respond), and the GPU driver. Such a thread is asked again only after
//! it has answered, so there is never more than one.
//!
//! ```text
//! /sys/fs/cgroup (v2, v1 or both) ─┐
//! /proc ───────────────────────────┼─► Sampler ─► Sample ─► Monitor ─► History, warnings
//! FileSystemWatch (statvfs) ───────┤
//! GpuWatch (nvidia-smi, sysfs) ────┘
//! ```
//!
//! Parsers take text and return numbers; only [`kernel_files`] reads. A figure that the kernel does not give is `None`, never
//! zero.

mod amd;
mod block_io;
mod cgroup;
mod cpu;
pub mod exposition;
mod file_system;
mod gpu;
mod gpu_watch;
mod history;
mod kernel_files;
mod memory;
mod metrics;
mod monitor;
mod network;
mod nvidia;
mod nvidia_smi;
mod pids;
mod pressure;
mod rates;
mod sample;
mod sampler;
mod warnings;

pub use block_io::BlockIo;
pub use cpu::{Cpu, CpuLimit};
pub use file_system::{FileSystem, FileSystemState, Usage};
pub use gpu::{Gpu, GpuProcess, Vendor};
pub use history::{CAPACITY, History, Points, Summary};
pub use memory::Memory;
pub use monitor::{Monitor, Paths};
pub use network::Network;
pub use pids::Pids;
pub use pressure::{Pressure, Pressures, Stall};
pub use sample::{Sample, Source};
pub use warnings::Warning;

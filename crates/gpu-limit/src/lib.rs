//! Show the GPUs of this container and limit how many programs see.
//!
//! `gpu-limit` prints what is there, `gpu-limit --json` the same as one JSON object, and
//! `gpu-limit exec -- COMMAND` becomes COMMAND with the variables set. At boot `init` stores the variables for
//! every session. The limit is advice to the CUDA, `ROCr` and HIP runtimes and no fence: the fence is what the
//! container was given (`--gpus`, a device plugin).
//!
//! # What `GPU_COUNT` means
//!
//! | value | effect |
//! |---|---|
//! | unset, blank, `all`, or at least as many as there are | nothing is exported (so a provider's own `GPU_COUNT` is harmless) |
//! | `0` | every GPU is hidden: `CUDA_VISIBLE_DEVICES` is empty, `ROCR_VISIBLE_DEVICES` is `-1` |
//! | a smaller number | programs see that many, the first ones in PCI order (NVIDIA) or KFD order (AMD) |
//! | anything else, a negative number included | reported, and no limit |
//!
//! A list that is set already (`CUDA_`, `HIP_`, `ROCR_VISIBLE_DEVICES`, `GPU_DEVICE_ORDINAL`) is cut to its
//! first entries and never replaced or widened, so applying the limit twice is the same as applying it once.
//! Where a container has GPUs of both vendors, the number counts for each: no program uses both.
//!
//! # Docker Swarm
//!
//! Of the variables `DOCKER_RESOURCE_<KIND>`, those that list nothing but GPUs (`GPU-…`, `MIG-…`) form one list, in the order
//! of their names. Programs see these GPUs, and `GPU_COUNT` shortens the list; it is not used if `CUDA_VISIBLE_DEVICES` is
//! set. The beginning of a UUID is completed. If these are all GPUs, nothing is exported.
//!
//! # NVIDIA
//!
//! GPUs are named by UUID. `CUDA_DEVICE_ORDER=PCI_BUS_ID` goes with them, unless it is set: a launcher that
//! replaces the list by `0,1,…` then still counts from our first GPU, and in the order of `nvidia-smi`. A GPU
//! that the driver has not started has no UUID to read yet; the list is then `0,1,…` in that same order.
//!
//! # MIG
//!
//! A GPU in MIG mode is not usable as a whole, so its UUID is never exported. How many instances the container
//! has can be read, their names cannot: only the management library knows them. The names come from
//! `NVIDIA_VISIBLE_DEVICES` if that lists as many instances as are there; else whole GPUs are preferred, and
//! where there are none, the limit is reported as not applied.
//!
//! # AMD
//!
//! `ROCr`, HIP and `OpenCL` each count what the layer below left over, so exactly one variable is set:
//! `ROCR_VISIBLE_DEVICES`, the lowest. Beside NVIDIA GPUs it is `HIP_VISIBLE_DEVICES`, because HIP would
//! otherwise read the NVIDIA names in `CUDA_VISIBLE_DEVICES` and find nothing.

mod amd;
mod cli;
mod devices;
mod exec;
mod kernel_files;
mod limit;
mod nvidia;
mod pci;
mod report;
mod swarm;
mod visible_devices;

use std::io::{self, Write};

use clap::{CommandFactory, Parser};
use kit::{Env, Exit, Outcome};

pub use amd::AmdGpu;
pub use devices::{Device, devices};
pub use kernel_files::KernelRoot;
pub use limit::{Limit, limit, setting_problem};
pub use nvidia::{Mig, MigInstance, NvidiaGpu};
pub use pci::PciAddress;

use cli::{Cli, Task};
use report::Report;

/// The GPUs that programs in this container can use, and remarks of the search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gpus {
    /// NVIDIA GPUs in PCI order, those in MIG mode included.
    pub nvidia: Vec<NvidiaGpu>,
    /// AMD GPUs in the order of the kernel's compute topology, which is the order in which `ROCr` counts.
    pub amd: Vec<AmdGpu>,
    /// True if GPUs are only reachable through the paravirtual device of WSL, which does not report their number.
    pub uncountable: bool,
    /// True if devices of GPUs are in the container and none of these GPUs can be used; the remarks say why.
    pub unusable: bool,
    /// Remarks on unreadable or unusable devices, one sentence each.
    pub remarks: Vec<String>,
}

/// Looks for GPUs without opening a device and without waiting; what cannot be read becomes a remark.
#[must_use]
pub fn discover(root: &KernelRoot) -> Gpus {
    let mut remarks = Vec::new();
    let nvidia = nvidia::discover(root, &mut remarks);
    let amd = amd::discover(root, &mut remarks);
    let uncountable = nvidia.is_empty() && amd.is_empty() && root.has("dev/dxg");
    if uncountable {
        remarks.push("/dev/dxg (WSL) does not report the number of GPUs".to_owned());
    }
    let has_devices = || root.has("dev/kfd") || !root.numbered("dev", "nvidia", &mut Vec::new()).is_empty();
    let unusable = nvidia.is_empty() && amd.is_empty() && !remarks.is_empty() && has_devices();
    Gpus { nvidia, amd, uncountable, unusable, remarks }
}

/// The command line, for the generator of manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the tool for this process.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    let gpus = discover(&KernelRoot { root: cli.root });
    let limit = limit(&Env::from_process(), &gpus);
    match cli.task {
        Some(Task::Exec { command }) => {
            warn(&limit);
            Ok(exec::exec(&command, &limit.variables))
        }
        None if cli.json => {
            serde_json::to_writer(io::stdout(), &Report::new(&gpus, &limit)).map_err(io::Error::from)?;
            writeln!(io::stdout())?;
            Ok(Exit::Done)
        }
        None => {
            warn(&limit);
            write!(io::stdout(), "{}", Report::new(&gpus, &limit))?;
            Ok(Exit::Done)
        }
    }
}

fn warn(limit: &Limit) {
    for problem in &limit.problems {
        log::warn!("{problem}");
    }
}

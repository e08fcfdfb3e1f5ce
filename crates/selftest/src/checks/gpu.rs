//! GPUs, their driver's files, and the settings about them.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use anyhow::Result;
use gpu_limit::{Gpus, KernelRoot, discover, limit};
use kit::Env;
use nix::errno::Errno;

use crate::context::Context;
use crate::finding::Finding;

/// Directories in which the container runtime puts the driver's library.
const LIBRARY_DIRECTORIES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/local/cuda/compat",
    "/usr/lib/wsl/lib",
];
const WITH_NVIDIA: &str =
    "start the container with --gpus all, on a machine with the NVIDIA Container Toolkit";
const WITH_AMD: &str = "start the container with --device /dev/kfd --device /dev/dri";

/// What the container shows of GPUs.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each read by itself")]
#[derive(Debug, Default)]
struct Seen {
    /// Number of NVIDIA and of AMD GPUs.
    nvidia: usize,
    amd: usize,
    /// True if the NVIDIA driver describes itself.
    nvidia_driver: bool,
    /// True if the library of the driver is here.
    nvidia_library: bool,
    /// Why the NVIDIA driver cannot be opened; `None` if it can.
    nvidia_refusal: Option<Refusal>,
    /// True if AMD GPUs of the machine are visible to the kernel's compute driver.
    amd_topology: bool,
    /// True if the compute driver's device is here.
    kfd: bool,
    /// `NVIDIA_VISIBLE_DEVICES`, if it asks for GPUs.
    asked: bool,
    /// Remarks and problems of `gpu-limit`.
    remarks: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Missing,
    Denied,
}

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let gpus = discover(&KernelRoot::default());
    Ok(judge(&look(&context.env, &gpus)))
}

fn look(env: &Env, gpus: &Gpus) -> Seen {
    let limit = limit(env, gpus);
    let problems = limit.problems.iter().map(ToString::to_string);
    let asked = env.text("NVIDIA_VISIBLE_DEVICES");
    Seen {
        nvidia: gpus.nvidia.len(),
        amd: gpus.amd.len(),
        nvidia_driver: Path::new("/proc/driver/nvidia/version").exists(),
        nvidia_library: LIBRARY_DIRECTORIES
            .iter()
            .any(|directory| Path::new(directory).join("libcuda.so.1").exists()),
        nvidia_refusal: if gpus.nvidia.is_empty() { None } else { open("/dev/nvidiactl") },
        amd_topology: has_amd_nodes(Path::new("/sys/class/kfd/kfd/topology/nodes")),
        kfd: Path::new("/dev/kfd").exists(),
        asked: asked.is_some_and(|list| !matches!(list, "none" | "void" | "no")),
        remarks: gpus.remarks.iter().cloned().chain(problems).collect(),
    }
}

/// Opens the driver's control device as each CUDA program does. A container loses the right to it when its cgroup is written
/// anew (`systemctl daemon-reload` on the host).
fn open(path: &str) -> Option<Refusal> {
    let error = OpenOptions::new().read(true).open(path).err()?;
    let is_missing = error.kind() == io::ErrorKind::NotFound
        || matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENXIO | Errno::ENODEV));
    Some(if is_missing { Refusal::Missing } else { Refusal::Denied })
}

/// True if a node of the topology has SIMD units: a GPU.
fn has_amd_nodes(nodes: &Path) -> bool {
    let Ok(entries) = fs::read_dir(nodes) else { return false };
    entries.flatten().any(|node| {
        let properties = fs::read_to_string(node.path().join("properties")).unwrap_or_default();
        properties
            .lines()
            .any(|line| line.strip_prefix("simd_count ").is_some_and(|count| count.trim() != "0"))
    })
}

fn judge(seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    if seen.nvidia > 0 {
        findings.push(match seen {
            Seen { nvidia_driver: false, .. } => {
                Finding::fail("device files of NVIDIA GPUs are here, and the driver is not", WITH_NVIDIA)
            }
            Seen { nvidia_refusal: Some(Refusal::Denied), .. } => Finding::fail(
                "the container has lost access to its NVIDIA GPUs",
                "restart the container: docker restart NAME",
            ),
            Seen { nvidia_refusal: Some(Refusal::Missing), .. } => {
                Finding::fail("/dev/nvidiactl is missing or has no driver behind it", WITH_NVIDIA)
            }
            Seen { nvidia_library: false, .. } => Finding::warn(
                "the driver's library libcuda.so.1 is missing",
                "start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility",
            ),
            _ => Finding::pass(count(seen.nvidia, "NVIDIA")),
        });
    } else if seen.asked {
        findings.push(Finding::warn("NVIDIA_VISIBLE_DEVICES asks for GPUs, and there are none", WITH_NVIDIA));
    }
    if seen.amd > 0 && !seen.kfd {
        findings.push(Finding::fail("/dev/kfd is missing: programs cannot use the AMD GPUs", WITH_AMD));
    } else if seen.amd > 0 {
        findings.push(Finding::pass(count(seen.amd, "AMD")));
    } else if seen.kfd && !seen.amd_topology {
        findings.push(Finding::fail("/dev/kfd is here, and the driver knows no AMD GPU", WITH_AMD));
    }
    findings.extend(seen.remarks.iter().map(|remark| Finding::warn(remark.clone(), "gpu-limit")));
    if findings.is_empty() {
        findings.push(Finding::skip("the container has no GPU"));
    }
    findings
}

fn count(number: usize, vendor: &str) -> String {
    format!("{number} {vendor} GPU{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_driver_and_settings_are_compared() {
        let nvidia = || Seen { nvidia: 1, nvidia_driver: true, nvidia_library: true, ..Seen::default() };
        for (seen, expected) in [
            (Seen::default(), Finding::skip("the container has no GPU")),
            (
                Seen { asked: true, ..Seen::default() },
                Finding::warn("NVIDIA_VISIBLE_DEVICES asks for GPUs, and there are none", WITH_NVIDIA),
            ),
            (Seen { asked: true, ..nvidia() }, Finding::pass("1 NVIDIA GPU")),
            (
                Seen { nvidia_driver: false, ..nvidia() },
                Finding::fail("device files of NVIDIA GPUs are here, and the driver is not", WITH_NVIDIA),
            ),
            (
                Seen { nvidia_refusal: Some(Refusal::Denied), ..nvidia() },
                Finding::fail(
                    "the container has lost access to its NVIDIA GPUs",
                    "restart the container: docker restart NAME",
                ),
            ),
            (
                Seen { nvidia_refusal: Some(Refusal::Missing), ..nvidia() },
                Finding::fail("/dev/nvidiactl is missing or has no driver behind it", WITH_NVIDIA),
            ),
            (
                Seen { nvidia_library: false, ..nvidia() },
                Finding::warn(
                    "the driver's library libcuda.so.1 is missing",
                    "start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility",
                ),
            ),
            (Seen { amd: 2, kfd: true, ..Seen::default() }, Finding::pass("2 AMD GPUs")),
            (
                Seen { amd: 2, ..Seen::default() },
                Finding::fail("/dev/kfd is missing: programs cannot use the AMD GPUs", WITH_AMD),
            ),
            (
                Seen { kfd: true, ..Seen::default() },
                Finding::fail("/dev/kfd is here, and the driver knows no AMD GPU", WITH_AMD),
            ),
            (Seen { remarks: vec!["r".into()], ..Seen::default() }, Finding::warn("r", "gpu-limit")),
        ] {
            assert_eq!(judge(&seen), [expected], "{seen:?}");
        }
    }
}

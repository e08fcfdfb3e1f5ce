//! NVIDIA GPUs, read from the driver's files in `/proc`, without its management library.
//!
//! The device nodes show which GPUs this container may use, the files in `/proc` describe them. Neither is enough:
//! runtimes that pass devices by CDI leave the whole machine visible in `/proc`, and a node has no name. Nothing here
//! opens a device.

use std::collections::BTreeMap;

use crate::kernel_files::{KernelRoot, field};
use crate::pci::PciAddress;

const GPUS: &str = "proc/driver/nvidia/gpus";
const CAPABILITIES: &str = "proc/driver/nvidia/capabilities";
const CAPABILITY_NODES: &str = "dev/nvidia-caps";

/// An NVIDIA GPU whose device node is in this container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NvidiaGpu {
    /// The N of `/dev/nvidiaN`.
    pub minor: u32,
    /// PCI address, if the driver's files are visible.
    pub pci: Option<PciAddress>,
    /// The product name.
    pub model: Option<String>,
    /// The name that CUDA accepts; unknown while the driver has not started the GPU.
    pub uuid: Option<String>,
    /// MIG instances; `None` for a GPU that is used as a whole.
    pub mig: Option<Mig>,
}

/// A GPU in MIG mode: it cannot be used as a whole, only its instances can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mig {
    /// The instances that this container may use; there can be none.
    pub instances: Vec<MigInstance>,
}

/// A part of a GPU that programs see as a device.
///
/// The numbers identify it to the driver; its UUID can only be had from the management library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct MigInstance {
    /// The GPU instance (a share of memory and engines).
    pub gpu_instance: u32,
    /// The compute instance within it.
    pub compute_instance: u32,
}

/// Content of one `information` file.
struct NodeInfo {
    minor: Option<u32>,
    pci: Option<PciAddress>,
    model: Option<String>,
    uuid: Option<String>,
    excluded: bool,
}

pub fn discover(root: &KernelRoot, remarks: &mut Vec<String>) -> Vec<NvidiaGpu> {
    let nodes = root.numbered("dev", "nvidia", remarks);
    let catalogue = Catalogue::read(root, remarks);
    let elsewhere = catalogue.by_minor.keys().filter(|minor| !nodes.contains(minor)).count();
    if elsewhere > 0 {
        remarks.push(format!("{elsewhere} more NVIDIA GPU(s) of the host have no device in this container"));
    }
    let mut gpus = Vec::new();
    for minor in nodes {
        if let Some(gpu) = catalogue.usable(minor, remarks) {
            gpus.push(NvidiaGpu { mig: mig(root, minor, remarks), ..gpu });
        }
    }
    // GPUs without an address come last.
    gpus.sort_by_key(|gpu| (gpu.pci.is_none(), gpu.pci, gpu.minor));
    gpus
}

/// The driver's list of the machine's GPUs.
#[derive(Default)]
struct Catalogue {
    by_minor: BTreeMap<u32, NodeInfo>,
    /// True if it lists every GPU of the machine, so that an unlisted node is no GPU.
    complete: bool,
}

impl Catalogue {
    fn read(root: &KernelRoot, remarks: &mut Vec<String>) -> Self {
        let names = root.list(GPUS).unwrap_or_else(|error| {
            remarks.push(format!("cannot list /{GPUS}: {error}"));
            Vec::new()
        });
        let mut catalogue = Self { by_minor: BTreeMap::new(), complete: !names.is_empty() };
        for name in names {
            let path = format!("{GPUS}/{name}/information");
            match root.read(&path) {
                Ok(text) => {
                    let described = describe(&name, &text);
                    if let Some(minor) = described.minor {
                        catalogue.by_minor.insert(minor, described);
                    } else {
                        catalogue.complete = false;
                        remarks.push(format!("/{path} names no device"));
                    }
                }
                Err(error) => {
                    catalogue.complete = false;
                    remarks.push(format!("cannot read /{path}: {error}"));
                }
            }
        }
        catalogue
    }

    fn usable(&self, minor: u32, remarks: &mut Vec<String>) -> Option<NvidiaGpu> {
        match self.by_minor.get(&minor) {
            Some(described) if described.excluded => {
                remarks.push(format!("/dev/nvidia{minor} is excluded by the driver"));
                None
            }
            Some(described) => Some(NvidiaGpu {
                minor,
                pci: described.pci,
                model: described.model.clone(),
                uuid: described.uuid.clone(),
                mig: None,
            }),
            None if self.complete => {
                remarks.push(format!("/dev/nvidia{minor} is not a GPU that the driver knows"));
                None
            }
            None => Some(NvidiaGpu { minor, ..NvidiaGpu::default() }),
        }
    }
}

fn describe(name: &str, text: &str) -> NodeInfo {
    let given = |key| field(text, key, ':').filter(|value| !value.is_empty());
    NodeInfo {
        minor: given("Device Minor").and_then(|minor| minor.parse().ok()),
        pci: PciAddress::parse(name).or_else(|| given("Bus Location").and_then(PciAddress::parse)),
        model: given("Model").map(str::to_owned),
        uuid: given("GPU UUID").filter(|uuid| is_uuid(uuid)).map(str::to_owned),
        excluded: given("GPU Excluded").is_some_and(|value| value.eq_ignore_ascii_case("yes")),
    }
}

/// True if CUDA can know the GPU by this name; the driver prints question marks for a GPU that it has not started.
fn is_uuid(text: &str) -> bool {
    text.strip_prefix("GPU-").is_some_and(|rest| {
        rest.bytes().any(|byte| byte != b'-')
            && rest.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    })
}

/// The MIG instances of one GPU, or nothing if it is not in MIG mode.
///
/// Only instances in `/proc` prove MIG mode: the directory above them and the first nodes in
/// `/dev/nvidia-caps` exist on every machine whose GPUs support MIG.
fn mig(root: &KernelRoot, minor: u32, remarks: &mut Vec<String>) -> Option<Mig> {
    let gpu = format!("{CAPABILITIES}/gpu{minor}/mig");
    let gpu_instances = root.numbered(&gpu, "gi", remarks);
    if gpu_instances.is_empty() {
        return None;
    }
    let mut instances = Vec::new();
    for gpu_instance in gpu_instances {
        let directory = format!("{gpu}/gi{gpu_instance}");
        if !may_use(root, &directory, remarks) {
            continue;
        }
        for compute_instance in root.numbered(&directory, "ci", remarks) {
            if may_use(root, &format!("{directory}/ci{compute_instance}"), remarks) {
                instances.push(MigInstance { gpu_instance, compute_instance });
            }
        }
    }
    if instances.is_empty() {
        remarks.push(format!("/dev/nvidia{minor} is in MIG mode and has no instance for this container"));
    }
    Some(Mig { instances })
}

/// True if the container has the device node that grants access to an instance.
fn may_use(root: &KernelRoot, directory: &str, remarks: &mut Vec<String>) -> bool {
    let path = format!("{directory}/access");
    match root.read(&path) {
        Ok(text) => field(&text, "DeviceFileMinor", ':')
            .and_then(|minor| minor.parse::<u32>().ok())
            .is_some_and(|minor| root.has(&format!("{CAPABILITY_NODES}/nvidia-cap{minor}"))),
        Err(error) => {
            remarks.push(format!("cannot read /{path}: {error}"));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_the_driver_has_not_started_has_no_name_yet() {
        assert!(is_uuid("GPU-0e1f2a3b-1111-2222-3333-444455556666"));
        for wrong in [
            "GPU-????????-????-????-????-????????????",
            "GPU-",
            "GPU----",
            "MIG-1",
            "",
            "GPU-1,GPU-2",
            "GPU-$(id)",
        ] {
            assert!(!is_uuid(wrong), "{wrong:?}");
        }
    }
}

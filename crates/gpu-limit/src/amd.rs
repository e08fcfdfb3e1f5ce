//! AMD GPUs, as listed by the kernel's compute driver (KFD).
//!
//! `/sys/class/drm` is not enough: it shows every card of the machine, including display chips. KFD refuses to read the
//! nodes of GPUs that were not given to the container.

use std::io;

use crate::kernel_files::{KernelRoot, field};
use crate::pci::PciAddress;

const NODES: &str = "sys/class/kfd/kfd/topology/nodes";

/// An AMD GPU that `ROCm` programs in this container can use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AmdGpu {
    /// The number of the node in the kernel's compute topology; `ROCr` counts GPUs in this order.
    pub node: u32,
    /// The N of `/dev/dri/renderDN`.
    pub render_minor: u32,
    /// PCI address, if known.
    pub pci: Option<PciAddress>,
    /// The compiler's name of its instruction set, such as `gfx90a`.
    pub target: Option<String>,
    /// The name that `ROCr` accepts; consumer cards have none.
    pub uuid: Option<String>,
}

/// Result of reading a topology node.
enum Node {
    Gpu(AmdGpu),
    Processor,
    Denied,
    WithoutDevice(u32),
}

pub fn discover(root: &KernelRoot, remarks: &mut Vec<String>) -> Vec<AmdGpu> {
    let mut gpus = Vec::new();
    let mut denied = 0;
    for number in root.numbered(NODES, "", remarks) {
        match read_node(root, number) {
            Ok(Node::Gpu(gpu)) => gpus.push(gpu),
            Ok(Node::Processor) => {}
            Ok(Node::Denied) => denied += 1,
            Ok(Node::WithoutDevice(minor)) => {
                remarks.push(format!(
                    "AMD GPU of KFD node {number}: /dev/dri/renderD{minor} is not in this container"
                ));
            }
            Err(error) => remarks.push(format!("cannot read KFD node {number}: {error}")),
        }
    }
    if denied > 0 {
        remarks.push(format!("{denied} more AMD GPU(s) of the host are not available to this container"));
    }
    if !gpus.is_empty() && !root.has("dev/kfd") {
        remarks.push(format!("{} AMD GPU(s) cannot be used: /dev/kfd is not in this container", gpus.len()));
        gpus.clear();
    }
    gpus
}

fn read_node(root: &KernelRoot, number: u32) -> io::Result<Node> {
    let Some(id) = read_allowed(root, &format!("{NODES}/{number}/gpu_id"))? else { return Ok(Node::Denied) };
    if id.trim() == "0" {
        return Ok(Node::Processor);
    }
    let Some(properties) = read_allowed(root, &format!("{NODES}/{number}/properties"))? else {
        return Ok(Node::Denied);
    };
    let gpu = describe(number, &properties)
        .ok_or_else(|| io::Error::other("its properties name no render device"))?;
    Ok(if root.has(&format!("dev/dri/renderD{}", gpu.render_minor)) {
        Node::Gpu(gpu)
    } else {
        Node::WithoutDevice(gpu.render_minor)
    })
}

/// Returns the text of a file, or `None` if the kernel refuses: a GPU outside the container's device group.
fn read_allowed(root: &KernelRoot, path: &str) -> io::Result<Option<String>> {
    match root.read(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        read => read.map(Some),
    }
}

fn describe(node: u32, properties: &str) -> Option<AmdGpu> {
    let number = |key| field(properties, key, ' ').and_then(|value| value.parse::<u64>().ok());
    let render_minor =
        number("drm_render_minor").and_then(|minor| u32::try_from(minor).ok()).filter(|&minor| minor > 0)?;
    let location = number("location_id").and_then(|location| u16::try_from(location).ok());
    let domain = number("domain").and_then(|domain| u32::try_from(domain).ok()).unwrap_or(0);
    Some(AmdGpu {
        node,
        render_minor,
        pci: location.map(|location| PciAddress::from_location(domain, location)),
        target: number("gfx_target_version").filter(|&version| version > 0).map(target),
        uuid: number("unique_id").filter(|&id| id > 0).map(|id| format!("GPU-{id:016x}")),
    })
}

/// Converts the kernel's decimal version (two digits each for minor and step) to the compilers' hexadecimal form.
fn target(version: u64) -> String {
    format!("gfx{}{:x}{:x}", version / 10_000, version / 100 % 100, version % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_become_the_names_that_tools_print() {
        let text = "simd_count 440\nlocation_id 49408\ndomain 1\ndrm_render_minor 129\ngfx_target_version \
                    90010\nunique_id 4660\n";
        assert_eq!(
            describe(3, text),
            Some(AmdGpu {
                node: 3,
                render_minor: 129,
                pci: PciAddress::parse("0001:c1:00.0"),
                target: Some("gfx90a".to_owned()),
                uuid: Some("GPU-0000000000001234".to_owned()),
            })
        );
        assert_eq!(target(110_001), "gfx1101");
    }

    #[test]
    fn a_node_without_a_render_device_is_no_gpu_that_programs_can_open() {
        assert_eq!(describe(1, "simd_count 4\ndrm_render_minor 0\n"), None);
        assert_eq!(describe(1, "simd_count 4\n"), None);
    }
}

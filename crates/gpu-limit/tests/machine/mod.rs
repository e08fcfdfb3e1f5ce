//! Copies of the kernel's files as real machines have them.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// A directory that stands for `/`.
pub struct Machine(TempDir);

impl Machine {
    pub fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Adds a GPU to the driver's files; `digit` makes its UUID.
    pub fn nvidia_in_proc(&self, pci: &str, minor: u32, digit: char) -> &Self {
        let uuid = uuid(digit);
        self.write(
            &format!("proc/driver/nvidia/gpus/{pci}/information"),
            &format!(
                "Model: \t\t NVIDIA A100-SXM4-80GB\nIRQ:   \t\t 171\nGPU UUID: \t {uuid}\n\
                 Video BIOS: \t 92.00.36.00.02\nBus Type: \t PCIe\nDMA Size: \t 47 bits\n\
                 DMA Mask: \t 0x7fffffffffff\nBus Location: \t {pci}\nDevice Minor: \t {minor}\n\
                 GPU Firmware: \t 550.54.15\nGPU Excluded:\t No\n"
            ),
        )
    }

    /// A GPU with its device node.
    pub fn nvidia(&self, pci: &str, minor: u32, digit: char) -> &Self {
        self.nvidia_in_proc(pci, minor, digit).write(&format!("dev/nvidia{minor}"), "")
    }

    /// A MIG instance in `/proc`; its nodes are `cap` for the GPU instance and `cap + 1` for the compute instance.
    pub fn mig_in_proc(&self, minor: u32, gpu_instance: u32, cap: u32) -> &Self {
        let directory = format!("proc/driver/nvidia/capabilities/gpu{minor}/mig/gi{gpu_instance}");
        let access = |cap: u32| format!("DeviceFileMinor: {cap}\nDeviceFileMode: 256\nDeviceFileModify: 1\n");
        self.write(&format!("{directory}/access"), &access(cap))
            .write(&format!("{directory}/ci0/access"), &access(cap + 1))
    }

    /// A MIG instance with its device nodes.
    pub fn mig(&self, minor: u32, gpu_instance: u32, cap: u32) -> &Self {
        self.mig_in_proc(minor, gpu_instance, cap)
            .write(&format!("dev/nvidia-caps/nvidia-cap{cap}"), "")
            .write(&format!("dev/nvidia-caps/nvidia-cap{}", cap + 1), "")
    }

    /// A node of the AMD compute topology.
    pub fn kfd_node(&self, node: u32, gpu_id: u32, properties: &str) -> &Self {
        let directory = format!("sys/class/kfd/kfd/topology/nodes/{node}");
        self.write(&format!("{directory}/gpu_id"), &format!("{gpu_id}\n"))
            .write(&format!("{directory}/properties"), properties)
    }

    /// An AMD GPU with its device nodes.
    pub fn amd(&self, node: u32, render: u32) -> &Self {
        let bus = node * 256;
        self.kfd_node(
            node,
            1000 + node,
            &format!(
                "cpu_cores_count 0\nsimd_count 440\nlocation_id {bus}\ndomain 0\ndrm_render_minor {render}\n\
                 gfx_target_version 90010\nunique_id {node}\n"
            ),
        )
        .write("dev/kfd", "")
        .write(&format!("dev/dri/renderD{render}"), "")
    }
}

/// The UUID that consists of one digit.
pub fn uuid(digit: char) -> String {
    "GPU-########-####-####-####-############".replace('#', &digit.to_string())
}

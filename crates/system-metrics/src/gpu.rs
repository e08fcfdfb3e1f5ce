//! A GPU, whoever made it.

use serde::Serialize;

/// Maker of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// Read through `nvidia-smi`.
    Nvidia,
    /// Read from sysfs.
    Amd,
}

/// One GPU; what the driver does not report is `None`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gpu {
    /// Its number or PCI address.
    pub id: String,
    /// Maker.
    pub vendor: Vendor,
    /// Name of the product.
    pub model: String,
    /// The name that programs accept, such as `GPU-…`.
    pub uuid: Option<String>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Memory used, in bytes.
    pub memory_used: Option<u64>,
    /// Part of the time in which it computed, in percent.
    pub load: Option<f64>,
    /// Temperature in degrees Celsius.
    pub temperature: Option<f64>,
    /// Power drawn, in watts.
    pub power: Option<f64>,
    /// Maximum power, in watts.
    pub power_limit: Option<f64>,
    /// True if it is divided into instances (MIG); the driver reports no load then.
    pub is_divided: bool,
    /// Processes that use it, as far as the driver shows them here.
    pub processes: Vec<GpuProcess>,
}

/// Process that uses a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuProcess {
    /// Number of the process. The driver may count in the machine's namespace.
    pub pid: u64,
    /// Program; empty if unknown.
    pub name: String,
    /// Memory used on the GPU, in bytes.
    pub memory: Option<u64>,
}

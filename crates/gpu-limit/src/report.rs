//! Output of the tool: the GPUs, the limit, and the remarks.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::nvidia::MigInstance;
use crate::{AmdGpu, Gpus, Limit, NvidiaGpu};

/// The answer; its JSON form only ever grows.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// GPUs that the container has.
    gpus: Vec<Row>,
    /// Number of GPUs that programs may see; nothing without a limit.
    limit: Option<usize>,
    /// Variables that carry the limit out.
    variables: BTreeMap<&'a str, &'a str>,
    /// Settings that cannot be used.
    problems: Vec<ProblemRow<'a>>,
    /// Remarks about GPUs, as sentences.
    remarks: &'a [String],
}

#[derive(Debug, Serialize)]
struct Row {
    /// Vendor: `nvidia` or `amd`.
    vendor: &'static str,
    /// Path of its device.
    device: String,
    /// Address on the PCI bus.
    pci: Option<String>,
    /// Name of the model.
    model: Option<String>,
    /// UUID by which programs select it.
    uuid: Option<String>,
    /// Nothing for a GPU that is used as a whole, else its instances.
    mig: Option<Vec<MigInstance>>,
}

#[derive(Debug, Serialize)]
struct ProblemRow<'a> {
    /// Name of the setting.
    setting: &'a str,
    /// Description of the mistake, and what is used instead.
    message: &'a str,
}

impl<'a> Report<'a> {
    pub fn new(gpus: &'a Gpus, limit: &'a Limit) -> Self {
        Self {
            gpus: gpus.nvidia.iter().map(Row::from).chain(gpus.amd.iter().map(Row::from)).collect(),
            limit: limit.count,
            variables: limit.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            problems: limit
                .problems
                .iter()
                .map(|problem| ProblemRow { setting: &problem.setting, message: &problem.message })
                .collect(),
            remarks: &gpus.remarks,
        }
    }
}

impl From<&NvidiaGpu> for Row {
    fn from(gpu: &NvidiaGpu) -> Self {
        Self {
            vendor: "nvidia",
            device: format!("/dev/nvidia{}", gpu.minor),
            pci: gpu.pci.map(|pci| pci.to_string()),
            model: gpu.model.clone(),
            uuid: gpu.uuid.clone(),
            mig: gpu.mig.as_ref().map(|mig| mig.instances.clone()),
        }
    }
}

impl From<&AmdGpu> for Row {
    fn from(gpu: &AmdGpu) -> Self {
        Self {
            vendor: "amd",
            device: format!("/dev/dri/renderD{}", gpu.render_minor),
            pci: gpu.pci.map(|pci| pci.to_string()),
            model: gpu.target.clone(),
            uuid: gpu.uuid.clone(),
            mig: None,
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for gpu in &self.gpus {
            writeln!(formatter, "{gpu}")?;
        }
        if self.gpus.is_empty() {
            writeln!(formatter, "no GPU found")?;
        }
        match self.limit {
            Some(count) => writeln!(formatter, "limit   {count}")?,
            None => writeln!(formatter, "limit   none")?,
        }
        for (name, value) in &self.variables {
            writeln!(formatter, "export  {name}={value}")?;
        }
        for remark in self.remarks {
            writeln!(formatter, "note    {remark}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        write!(
            formatter,
            "{:<6}  {:<12}  {:<19}  {}  {}",
            self.vendor,
            known(&self.pci),
            self.device,
            known(&self.uuid),
            known(&self.model)
        )?;
        if let Some(instances) = &self.mig {
            write!(formatter, "  MIG instances: {}", instances.len())?;
        }
        Ok(())
    }
}

//! Parses what `nvidia-smi --format=csv,noheader,nounits` prints.

use std::collections::HashMap;

use crate::gpu::{Gpu, GpuProcess, Vendor};

/// Fields of `--query-gpu`, in the order in which [`gpus`] reads them.
pub const GPU_FIELDS: &str = "index,uuid,name,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw,power.limit,mig.mode.current";
/// Fields of `--query-compute-apps`, in the order in which [`processes`] reads them.
pub const PROCESS_FIELDS: &str = "gpu_uuid,pid,used_memory,process_name";

/// Maximum number of GPUs that are shown.
const MAX_GPUS: usize = 64;
/// Maximum number of processes of all GPUs that are shown.
const MAX_PROCESSES: usize = 256;
/// Maximum length of a name, in characters.
const MAX_NAME: usize = 100;

/// Parses the GPUs, one a line, and gives each its processes. Lines of another form are left out.
pub fn gpus(text: &str, mut processes: HashMap<String, Vec<GpuProcess>>) -> Vec<Gpu> {
    let gpu = |line: &str| -> Option<Gpu> {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [index, uuid, name, memory, used, load, temperature, power, power_limit, mig] = fields[..] else {
            return None;
        };
        let index: u32 = index.parse().ok()?;
        let number =
            |field: &str| field.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
        let uuid = known(uuid).map(name_of);
        Some(Gpu {
            id: index.to_string(),
            vendor: Vendor::Nvidia,
            model: known(name).map_or_else(|| "NVIDIA GPU".to_owned(), name_of),
            processes: uuid.as_ref().and_then(|uuid| processes.remove(uuid)).unwrap_or_default(),
            uuid,
            memory: mebibytes(memory),
            memory_used: mebibytes(used),
            load: number(load).filter(|percent| *percent <= 100.0),
            temperature: number(temperature),
            power: number(power),
            power_limit: number(power_limit),
            is_divided: mig == "Enabled",
        })
    };
    text.lines().filter_map(gpu).take(MAX_GPUS).collect()
}

/// Parses the processes by the uuid of their GPU. A name may contain commas, so it is the last field.
pub fn processes(text: &str) -> HashMap<String, Vec<GpuProcess>> {
    let mut found: HashMap<String, Vec<GpuProcess>> = HashMap::new();
    for line in text.lines().take(MAX_PROCESSES) {
        let mut fields = line.splitn(4, ',').map(str::trim);
        let (Some(uuid), Some(pid), Some(memory), Some(name)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Ok(pid) = pid.parse() else { continue };
        let name = known(name).map(name_of).unwrap_or_default();
        found.entry(uuid.to_owned()).or_default().push(GpuProcess { pid, name, memory: mebibytes(memory) });
    }
    found
}

/// `[N/A]`, `[Not Supported]`, `[Insufficient Permissions]`, `[Unknown Error]`, `[GPU requires reset]` are no values.
fn known(field: &str) -> Option<&str> {
    Some(field).filter(|field| !field.is_empty() && !field.starts_with('['))
}

fn name_of(text: &str) -> String {
    kit::quote::escape_control(text).chars().take(MAX_NAME).collect()
}

fn mebibytes(field: &str) -> Option<u64> {
    field.parse::<u64>().ok()?.checked_mul(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn gpus_with_their_processes() {
        let text = "0, GPU-1f2e, NVIDIA H100 80GB HBM3, 81559, 1024, 37, 41, 118.52, 700.00, Disabled\n\
            1, GPU-77aa, NVIDIA GeForce RTX 3060, 12288, 0, 0, [N/A], [Not Supported], [N/A], [N/A]\n";
        let apps = "GPU-1f2e, 4242, 1000, /usr/bin/python3 a, b\nGPU-1f2e, 77, [N/A], [Not Found]\nGPU-gone, 5, 1, x\n";
        let found = gpus(text, processes(apps));
        let h100 = Gpu {
            id: "0".into(),
            vendor: Vendor::Nvidia,
            model: "NVIDIA H100 80GB HBM3".into(),
            uuid: Some("GPU-1f2e".into()),
            memory: Some(81_559 << 20),
            memory_used: Some(GIB),
            load: Some(37.0),
            temperature: Some(41.0),
            power: Some(118.52),
            power_limit: Some(700.0),
            is_divided: false,
            processes: vec![
                GpuProcess { pid: 4242, name: "/usr/bin/python3 a, b".into(), memory: Some(1000 << 20) },
                GpuProcess { pid: 77, name: String::new(), memory: None },
            ],
        };
        let rtx = Gpu {
            id: "1".into(),
            model: "NVIDIA GeForce RTX 3060".into(),
            uuid: Some("GPU-77aa".into()),
            memory: Some(12 * GIB),
            memory_used: Some(0),
            load: Some(0.0),
            temperature: None,
            power: None,
            power_limit: None,
            processes: Vec::new(),
            ..h100.clone()
        };
        assert_eq!(found, [h100, rtx]);
    }

    #[test]
    fn a_divided_gpu_reports_no_load_and_other_text_is_no_gpu() {
        let mig = "0, GPU-1, NVIDIA A100-SXM4-40GB, 40960, [Insufficient Permissions], [N/A], 33, 51.2, 400.00, Enabled";
        let found = gpus(mig, HashMap::new());
        assert_eq!((found[0].is_divided, found[0].load, found[0].memory_used), (true, None, None));
        for text in [
            "",
            "No devices were found",
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure, a, b, c, d, e, f, g, h, i",
            "0, GPU-1, x, 1, 2",
            "-1, GPU-1, x, 1, 2, 3, 4, 5, 6, 7",
            "\u{0}\u{1b}[31m,,,,,,,,,",
        ] {
            assert_eq!(gpus(text, HashMap::new()), [], "{text}");
        }
        let odd = "0, GPU-1, a\u{1b}[31mb, 99999999999999999999, -1, 101, nan, -5, inf, x";
        let found = &gpus(odd, HashMap::new())[0];
        assert_eq!([found.memory, found.memory_used], [None; 2]);
        assert_eq!([found.load, found.temperature, found.power, found.power_limit], [None; 4]);
        assert!(!found.model.contains('\u{1b}'), "{}", found.model);
    }
}

//! AMD GPUs, from the kernel driver's files in sysfs.

use crate::gpu::{Gpu, GpuProcess, Vendor};
use crate::kernel_files::{KernelFiles, scale};

const CARDS: &str = "sys/class/drm";
const VENDOR: &str = "0x1002";
/// The compute driver's nodes and processes.
const KFD: &str = "sys/class/kfd/kfd";

/// Returns the GPUs that were given to this container; sysfs shows those of the whole machine.
pub fn gpus(files: &KernelFiles) -> Vec<Gpu> {
    // `card0-HDMI-A-1` is a connector.
    let is_card = |name: &str| name.strip_prefix("card").is_some_and(|rest| rest.parse::<u32>().is_ok());
    files.names(CARDS).iter().filter(|name| is_card(name)).filter_map(|name| gpu(files, name)).collect()
}

fn gpu(files: &KernelFiles, card: &str) -> Option<Gpu> {
    let device = format!("{CARDS}/{card}/device");
    let text = |name: &str| files.text(format!("{device}/{name}")).map(|text| text.trim().to_owned());
    if text("vendor")? != VENDOR {
        return None;
    }
    let minor = files
        .names(format!("{device}/drm"))
        .into_iter()
        .find_map(|name| Some(name.strip_prefix("renderD")?.to_owned()))?;
    if !files.has(format!("dev/dri/renderD{minor}")) {
        return None;
    }
    let number = |name: &str| files.number(format!("{device}/{name}"));
    let sensors = format!("{device}/hwmon");
    let sensors = files.names(&sensors).first().map(|name| format!("{sensors}/{name}"));
    let sensor = |name: &str, unit| Some(scale(files.number(format!("{}/{name}", sensors.as_ref()?))?, unit));
    let name = text("product_name").filter(|name| !name.is_empty());
    let name = name.or_else(|| text("device").map(|device| format!("AMD GPU {device}")));
    let name = kit::quote::escape_control(&name.unwrap_or_else(|| "AMD GPU".into()));
    Some(Gpu {
        id: card.trim_start_matches("card").to_owned(),
        vendor: Vendor::Amd,
        model: name.chars().take(100).collect(),
        uuid: text("unique_id").filter(|id| !id.is_empty()).map(|id| format!("GPU-{id}")),
        memory: number("mem_info_vram_total"),
        memory_used: number("mem_info_vram_used"),
        load: number("gpu_busy_percent").filter(|percent| *percent <= 100).map(|percent| scale(percent, 1.0)),
        temperature: sensor("temp1_input", 1e3),
        power: sensor("power1_average", 1e6).or_else(|| sensor("power1_input", 1e6)),
        power_limit: sensor("power1_cap", 1e6),
        is_divided: false,
        processes: processes(files, &minor),
    })
}

/// Returns the processes that compute on a GPU. The driver numbers them in the machine's namespace, so they have no names here.
fn processes(files: &KernelFiles, minor: &str) -> Vec<GpuProcess> {
    let nodes = format!("{KFD}/topology/nodes");
    let property = format!("drm_render_minor {minor}");
    let node = files.names(&nodes).into_iter().find(|node| {
        files
            .text(format!("{nodes}/{node}/properties"))
            .is_some_and(|text| text.lines().any(|line| line == property))
    });
    let Some(id) = node.and_then(|node| files.number(format!("{nodes}/{node}/gpu_id"))) else {
        return Vec::new();
    };
    let process = |name: String| {
        let memory = files.number(format!("{KFD}/proc/{name}/vram_{id}"))?;
        Some(GpuProcess { pid: name.parse().ok()?, name: String::new(), memory: Some(memory) })
    };
    files
        .names(format!("{KFD}/proc"))
        .into_iter()
        .filter_map(process)
        .filter(|process| process.memory != Some(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_files::tests::sample;

    #[test]
    fn the_containers_cards_are_read() {
        let device = "sys/class/drm/card1/device";
        let other = "sys/class/drm/card2/device";
        let (_dir, files) = sample(&[
            ("dev/dri/renderD128", ""),
            ("sys/class/drm/card0-HDMI-A-1/status", "connected\n"),
            ("sys/class/drm/card0/device/vendor", "0x10de\n"),
            (&format!("{device}/vendor"), "0x1002\n"),
            (&format!("{device}/device"), "0x740f\n"),
            (&format!("{device}/product_name"), "AMD Instinct MI210\n"),
            (&format!("{device}/unique_id"), "9b2f1c2ddb53a7e4\n"),
            (&format!("{device}/drm/card1/dev"), "226:1\n"),
            (&format!("{device}/drm/renderD128/dev"), "226:128\n"),
            (&format!("{device}/gpu_busy_percent"), "87\n"),
            (&format!("{device}/mem_info_vram_total"), "68702699520\n"),
            (&format!("{device}/mem_info_vram_used"), "11493376\n"),
            (&format!("{device}/hwmon/hwmon3/temp1_input"), "45000\n"),
            (&format!("{device}/hwmon/hwmon3/power1_average"), "41000000\n"),
            (&format!("{device}/hwmon/hwmon3/power1_cap"), "300000000\n"),
            (&format!("{other}/vendor"), "0x1002\n"),
            (&format!("{other}/drm/renderD129/dev"), "226:129\n"),
            ("sys/class/kfd/kfd/topology/nodes/0/properties", "cpu_cores_count 64\ndrm_render_minor 0\n"),
            ("sys/class/kfd/kfd/topology/nodes/1/properties", "simd_count 416\ndrm_render_minor 128\n"),
            ("sys/class/kfd/kfd/topology/nodes/1/gpu_id", "38463\n"),
            ("sys/class/kfd/kfd/proc/4242/vram_38463", "9000000\n"),
            ("sys/class/kfd/kfd/proc/4243/vram_38463", "0\n"),
        ]);
        let expected = Gpu {
            id: "1".into(),
            vendor: Vendor::Amd,
            model: "AMD Instinct MI210".into(),
            uuid: Some("GPU-9b2f1c2ddb53a7e4".into()),
            memory: Some(68_702_699_520),
            memory_used: Some(11_493_376),
            load: Some(87.0),
            temperature: Some(45.0),
            power: Some(41.0),
            power_limit: Some(300.0),
            is_divided: false,
            processes: vec![GpuProcess { pid: 4242, name: String::new(), memory: Some(9_000_000) }],
        };
        assert_eq!(gpus(&files), [expected], "card 2 was not given to the container");
    }

    #[test]
    fn a_card_without_sensors_or_with_garbage_has_no_figures() {
        let device = "sys/class/drm/card0/device";
        let (_dir, files) = sample(&[
            ("dev/dri/renderD128", ""),
            (&format!("{device}/vendor"), "0x1002\n"),
            (&format!("{device}/device"), "0x73bf\n"),
            (&format!("{device}/drm/renderD128/dev"), "226:128\n"),
            (&format!("{device}/gpu_busy_percent"), "900\n"),
            (&format!("{device}/mem_info_vram_used"), "-1\n"),
            (&format!("{device}/hwmon/hwmon3/temp1_input"), "hot\n"),
        ]);
        let found = &gpus(&files)[0];
        assert_eq!(found.model, "AMD GPU 0x73bf");
        assert_eq!((found.load, found.memory_used, found.temperature), (None, None, None));
        assert_eq!(gpus(&sample(&[]).1), []);
    }
}

//! A sample and its history in words, as the page shows them.

use kit::units::{format_bytes, format_count, format_memory};
use system_metrics::{Cpu, CpuLimit, FileSystem, FileSystemState, Gpu, History, Memory, Sample};

use super::chart::{Chart, Unit, cores};

/// Percentage from which a figure is shown as a warning.
const HIGH: f64 = 95.0;

/// Content of the page.
#[derive(Debug)]
pub struct Figures {
    /// Sentences about figures that mean something else than usual.
    pub notes: Vec<String>,
    pub charts: Vec<Chart>,
    pub file_systems: Vec<FileSystemRow>,
    pub gpu_processes: Vec<GpuProcessRow>,
    /// Reasons why GPUs cannot be read.
    pub gpu_problems: Vec<String>,
    /// Minutes that the history has.
    pub period: String,
}

#[derive(Debug, PartialEq, Eq)]
pub struct FileSystemRow {
    pub path: String,
    /// Part that is used, in percent.
    pub percent: Option<u8>,
    /// Class of the row's state.
    pub class: &'static str,
    /// Used and whole space in words, or why they are unknown.
    pub space: String,
    pub free: String,
    pub inodes: String,
}

#[derive(Debug, PartialEq, Eq)]
pub struct GpuProcessRow {
    pub gpu: String,
    pub pid: u64,
    pub name: String,
    pub memory: String,
}

impl Figures {
    /// Describes a sample.
    pub fn new(sample: &Sample, history: &History) -> Self {
        let summary = |name: &str| history.summary(name);
        let has_swap = sample.memory.swap_limit.is_some_and(|limit| limit > 0);
        let in_memory: &[_] =
            if has_swap { &[("memory", "used"), ("swap", "swap")] } else { &[("memory", "used")] };
        let mut charts =
            vec![cpu(&sample.cpu).with(&[("cpu", "CPU")], summary), memory(sample).with(in_memory, summary)];
        charts.extend(sample.gpus.iter().enumerate().map(|(number, sampled)| {
            gpu(sampled, number)
                .with(&[("load", "load"), ("memory", "memory")], |name| history.gpu_summary(number, name))
        }));
        charts.extend(
            network(sample).map(|chart| chart.with(&[("received", "received"), ("sent", "sent")], summary)),
        );
        charts.extend(
            disk(sample).map(|chart| chart.with(&[("read", "read"), ("written", "written")], summary)),
        );
        let names = [("cpu_pressure", "CPU"), ("memory_pressure", "memory"), ("io_pressure", "disk")];
        charts.extend(pressure(sample).map(|chart| chart.with(&names, summary)));
        Self {
            notes: sample.notes.clone(),
            charts,
            file_systems: sample.file_systems.iter().map(file_system).collect(),
            gpu_processes: sample.gpus.iter().flat_map(gpu_processes).collect(),
            gpu_problems: sample.gpu_problems.clone(),
            period: kit::duration::words(u64::from(history.seconds())),
        }
    }
}

/// Describes CPU, memory, GPUs and the workspace's disk in one short line.
pub fn gauges(sample: &Sample) -> String {
    let cpu = sample.cpu.used_cores.map(|used| format!("CPU {used:.1}/{}", cores(sample.cpu.cores)));
    let memory = sample.memory.used.map(|used| {
        let limit =
            sample.memory.limit.map_or_else(String::new, |limit| format!("/{}", format_memory(limit)));
        format!("memory {}{limit}", format_memory(used))
    });
    let loads = sample.gpus.iter().filter_map(|gpu| Some(format!("GPU {:.0} %", gpu.load?)));
    let workspace = sample.file_systems.first().and_then(|disk| {
        Some(format!("{} {:.0} %", disk.path.display(), 100.0 * disk.usage()?.used_ratio()?))
    });
    let all = cpu.into_iter().chain(memory).chain(loads).chain(workspace);
    // Lines break between figures only.
    all.map(|figure| figure.replace(' ', "\u{a0}")).collect::<Vec<_>>().join(" · ")
}

/// Returns a card without series.
fn chart(id: &str, title: &str, figure: String, unit: Unit) -> Chart {
    Chart {
        id: id.to_owned(),
        title: title.to_owned(),
        figure,
        percent: None,
        class: "",
        details: Vec::new(),
        series: String::new(),
        gpu: None,
        unit,
        maximum: None,
        rows: Vec::new(),
    }
}

fn cpu(cpu: &Cpu) -> Chart {
    let figure = cpu.used_cores.map_or_else(
        || "not known yet".to_owned(),
        |used| format!("{used:.1} of {}", counted_cores(cpu.cores)),
    );
    let mut details = vec![match cpu.limit {
        CpuLimit::Quota => {
            format!("Limited by the container's CPU quota; the machine has {} cores.", cpu.machine_cores)
        }
        CpuLimit::Cpuset => {
            format!("Limited by the container's set of CPUs; the machine has {} cores.", cpu.machine_cores)
        }
        CpuLimit::Machine => "All cores of the machine.".to_owned(),
    }];
    let throttled =
        cpu.throttled_ratio.map(|ratio| (100.0 * ratio).round()).filter(|percent| *percent >= 1.0);
    details.extend(
        throttled.map(|percent| format!("Programs had to wait for the quota in {percent} % of its periods.")),
    );
    let percent = cpu.used_cores.and_then(|used| percent(used, cpu.cores));
    Chart { percent, details, maximum: Some(cpu.cores), ..chart("cpu", "CPU", figure, Unit::Cores) }
}

fn counted_cores(count: f64) -> String {
    let text = cores(count);
    if text == "1" { "1 core".to_owned() } else { format!("{text} cores") }
}

fn memory(sample: &Sample) -> Chart {
    let Memory { used, cache, limit, is_limited, swap_used, swap_limit, oom_kills, .. } = sample.memory;
    let figure = match (used, limit) {
        (Some(used), Some(limit)) => format!("{} of {}", format_memory(used), format_memory(limit)),
        (Some(used), None) => format_memory(used),
        (None, _) => "not reported".to_owned(),
    };
    let mut details = Vec::new();
    details.extend(limit.filter(|_| is_limited).map(|_| "The limit is the container's.".to_owned()));
    details.extend(cache.map(|cache| format!("File cache, freed when needed: {}.", format_memory(cache))));
    match (swap_used, swap_limit.filter(|limit| *limit > 0)) {
        (Some(used), Some(limit)) => {
            details.push(format!("Swap: {} of {}.", format_memory(used), format_memory(limit)));
        }
        (Some(used @ 1..), None) => details.push(format!("Swap: {}.", format_memory(used))),
        _ => {}
    }
    details.extend(sample.pids.current.map(|current| {
        let of = sample.pids.limit.map(|limit| format!(" of {}", format_count(limit)));
        format!("Processes and threads: {}{}.", format_count(current), of.unwrap_or_default())
    }));
    if let Some(kills @ 1..) = oom_kills {
        let ago = sample.oom_kill_age.map(|age| format!(", {} ago", kit::duration::words(age)));
        details.push(format!(
            "Killed for lack of memory since the start: {}{}.",
            format_count(kills),
            ago.unwrap_or_default()
        ));
    }
    let percent = used.zip(limit).and_then(|(used, limit)| percent(float(used), float(limit)));
    let pinned = sample.memory.pinned.zip(limit);
    let is_high = pinned.is_some_and(|(pinned, limit)| 100.0 * float(pinned) > HIGH * float(limit));
    Chart {
        percent,
        class: if is_high { "warn" } else { "" },
        details,
        maximum: limit.map(float),
        ..chart("memory", "Memory", figure, Unit::Memory)
    }
}

fn network(sample: &Sample) -> Option<Chart> {
    let network = &sample.network;
    let (received, sent) = (network.received?, network.sent?);
    let rate = |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), |rate| Unit::Rate.format(rate));
    let figure = format!("↓ {} ↑ {}", rate(network.received_rate), rate(network.sent_rate));
    let total = format!("Since the start: {} received, {} sent.", format_bytes(received), format_bytes(sent));
    Some(Chart { details: vec![total], ..chart("network", "Network", figure, Unit::Rate) })
}

fn disk(sample: &Sample) -> Option<Chart> {
    let io = &sample.io;
    let (read, written) = (io.read?, io.written?);
    let rate = |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), |rate| Unit::Rate.format(rate));
    let figure = format!("{} read, {} written", rate(io.read_rate), rate(io.written_rate));
    let total = format!("Since the start: {} read, {} written.", format_bytes(read), format_bytes(written));
    Some(Chart { details: vec![total], ..chart("disk", "Disk", figure, Unit::Rate) })
}

fn pressure(sample: &Sample) -> Option<Chart> {
    let name = |resource| {
        if resource == "io" {
            "disk"
        } else if resource == "cpu" {
            "CPU"
        } else {
            resource
        }
    };
    let parts: Vec<String> = sample
        .pressure
        .iter()
        .map(|(resource, pressure)| {
            format!("{} {}", name(resource), Unit::Percent.format(pressure.some.avg10))
        })
        .map(|part| part.replace(' ', "\u{a0}"))
        .collect();
    let (title, of) = if sample.pressure.of_machine {
        ("Pressure of the machine", "the machine")
    } else {
        ("Pressure", "the container")
    };
    let details =
        vec![format!("Part of the time in which some program of {of} waited for CPU, memory or disk.")];
    (!parts.is_empty())
        .then(|| Chart { details, ..chart("pressure", title, parts.join(", "), Unit::Percent) })
}

fn gpu(gpu: &Gpu, number: usize) -> Chart {
    let load = gpu.load.map_or_else(
        || "load not reported".to_owned(),
        |load| format!("{} load", Unit::Percent.format(load)),
    );
    let memory = match (gpu.memory_used, gpu.memory) {
        (Some(used), Some(memory)) => {
            Some(format!("Memory: {} of {}.", format_memory(used), format_memory(memory)))
        }
        (None, Some(memory)) => Some(format!("Memory: {}.", format_memory(memory))),
        _ => None,
    };
    let watts = gpu.power.map(|power| match gpu.power_limit {
        Some(limit) => format!("{power:.0} of {limit:.0} W"),
        None => format!("{power:.0} W"),
    });
    let sensors: Vec<String> =
        gpu.temperature.map(|degrees| format!("{degrees:.0} °C")).into_iter().chain(watts).collect();
    let mut details: Vec<String> = memory.into_iter().collect();
    if !sensors.is_empty() {
        details.push(format!("{}.", sensors.join(", ")));
    }
    if gpu.is_divided {
        details.push("Divided into instances (MIG).".to_owned());
    }
    let title = format!("GPU {}: {}", gpu.id, gpu.model);
    let percent =
        gpu.memory_used.zip(gpu.memory).and_then(|(used, memory)| percent(float(used), float(memory)));
    Chart {
        percent,
        details,
        gpu: Some(number),
        maximum: Some(100.0),
        ..chart(&format!("gpu-{number}"), &title, load, Unit::Percent)
    }
}

fn gpu_processes(gpu: &Gpu) -> Vec<GpuProcessRow> {
    let row = |process: &system_metrics::GpuProcess| GpuProcessRow {
        gpu: gpu.id.clone(),
        pid: process.pid,
        name: if process.name.is_empty() { "unknown".to_owned() } else { process.name.clone() },
        memory: process.memory.map_or_else(|| "not reported".to_owned(), format_memory),
    };
    gpu.processes.iter().map(row).collect()
}

fn file_system(file_system: &FileSystem) -> FileSystemRow {
    let path = file_system.path.display().to_string();
    let unknown = |class, space: String| FileSystemRow {
        path: path.clone(),
        percent: None,
        class,
        space,
        free: "–".into(),
        inodes: "–".into(),
    };
    match &file_system.state {
        FileSystemState::Ok(usage) => {
            let ratio = |ratio: Option<f64>| ratio.map(|ratio| 100.0 * ratio);
            let (space, inodes) = (ratio(usage.used_ratio()), ratio(usage.inodes_ratio()));
            let is_high = [space, inodes].into_iter().flatten().any(|percent| percent > HIGH);
            let whole = usage.used.saturating_add(usage.available);
            let read_only = if usage.read_only { ", read-only" } else { "" };
            FileSystemRow {
                percent: space.and_then(|space| percent(space, 100.0)),
                class: if is_high { "warn" } else { "" },
                space: if whole == 0 {
                    format!("not reported{read_only}")
                } else {
                    format!("{} of {}{read_only}", format_bytes(usage.used), format_bytes(whole))
                },
                free: format_bytes(usage.available),
                inodes: inodes.map_or_else(
                    || "not limited".to_owned(),
                    |inodes| format!("{} used", Unit::Percent.format(inodes)),
                ),
                path,
            }
        }
        FileSystemState::Pending => unknown("", "being measured".to_owned()),
        FileSystemState::NotResponding { seconds } => {
            unknown("bad", format!("not responding for {}", kit::duration::words(*seconds)))
        }
        FileSystemState::Failed { message } => unknown("bad", message.clone()),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
/// Returns a part in percent, from 0 to 100.
fn percent(part: f64, whole: f64) -> Option<u8> {
    (whole > 0.0).then(|| (100.0 * part / whole).round().clamp(0.0, 100.0) as u8)
}

#[expect(clippy::cast_precision_loss, reason = "for a chart")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use system_metrics::Usage;

    use super::*;

    #[test]
    fn file_systems_in_words() {
        let row = |state| {
            let FileSystemRow { percent, class, space, free, inodes, .. } =
                file_system(&FileSystem { path: "/w".into(), state });
            format!("{percent:?} {class} {space} | {free} | {inodes}")
        };
        let gb = 1_000_000_000;
        let usage = Usage {
            used: 60 * gb,
            available: 30 * gb,
            inodes: Some(100),
            inodes_used: Some(96),
            ..Usage::default()
        };
        assert_eq!(row(FileSystemState::Ok(usage)), "Some(67) warn 60.0 GB of 90.0 GB | 30.0 GB | 96 % used");
        let btrfs = Usage { inodes: None, read_only: true, ..usage };
        assert_eq!(
            row(FileSystemState::Ok(btrfs)),
            "Some(67)  60.0 GB of 90.0 GB, read-only | 30.0 GB | not limited"
        );
        assert_eq!(row(FileSystemState::Ok(Usage::default())), "None  not reported | 0 bytes | not limited");
        assert_eq!(
            row(FileSystemState::NotResponding { seconds: 61 }),
            "None bad not responding for 1 min | – | –"
        );
    }

    #[test]
    fn cores_have_no_superfluous_decimals() {
        let texts = [0.0, 0.5, 1.0, 2.25, 63.999].map(counted_cores);
        assert_eq!(texts, ["0 cores", "0.5 cores", "1 core", "2.25 cores", "64 cores"]);
        assert_eq!([percent(5.0, 0.0), percent(9.0, 3.0), percent(1.0, 3.0)], [None, Some(100), Some(33)]);
    }
}

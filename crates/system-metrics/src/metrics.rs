//! A sample as metrics of Prometheus.

use std::fmt::Display;

use crate::exposition::Exposition;
use crate::exposition::Kind::{Counter, Gauge};
use crate::file_system::{FileSystemState, Usage};
use crate::gpu::Gpu;
use crate::kernel_files::scale;
use crate::sample::Sample;

impl Sample {
    /// Adds all figures to `text`. A figure that is unknown is left out.
    pub fn expose(&self, text: &mut Exposition) {
        let bytes = |number: Option<u64>| number.map(|number| scale(number, 1.0));
        let Self { cpu, memory, pids, io, network, .. } = self;
        text.single("leonardo_cpu_seconds_total", Counter, "CPU time used by the container.", cpu.seconds);
        text.single(
            "leonardo_cpu_throttled_seconds_total",
            Counter,
            "Time in which programs waited because the CPU quota was used up.",
            cpu.throttled_seconds,
        );
        text.single("leonardo_cpu_cores", Gauge, "Cores that the container can use.", Some(cpu.cores));
        text.single(
            "leonardo_memory_used_bytes",
            Gauge,
            "Memory used, without the inactive file cache.",
            bytes(memory.used),
        );
        text.single(
            "leonardo_memory_pinned_bytes",
            Gauge,
            "Memory that the kernel cannot free without swapping.",
            bytes(memory.pinned),
        );
        text.single("leonardo_memory_cache_bytes", Gauge, "File cache.", bytes(memory.cache));
        text.single(
            "leonardo_memory_limit_bytes",
            Gauge,
            "Memory that the container can use.",
            bytes(memory.limit),
        );
        text.single("leonardo_swap_used_bytes", Gauge, "Swap used.", bytes(memory.swap_used));
        text.single(
            "leonardo_oom_kills_total",
            Counter,
            "Processes that the kernel killed because memory ran out.",
            bytes(memory.oom_kills),
        );
        text.single("leonardo_processes", Gauge, "Processes and threads.", bytes(pids.current));
        text.single(
            "leonardo_processes_limit",
            Gauge,
            "Maximum number of processes and threads.",
            bytes(pids.limit),
        );
        let scope = if self.pressure.of_machine { "machine" } else { "container" };
        let pressure = self.pressure.iter().flat_map(|(resource, pressure)| {
            let kinds = [("some", Some(pressure.some)), ("full", pressure.full)];
            kinds.into_iter().filter_map(move |(kind, stall)| {
                Some((labels([("resource", &resource), ("kind", &kind), ("scope", &scope)]), stall?.seconds))
            })
        });
        text.add(
            "leonardo_pressure_seconds_total",
            Counter,
            "Time in which some or all programs waited for a resource.",
            pressure,
        );
        text.single(
            "leonardo_disk_read_bytes_total",
            Counter,
            "Bytes read from block devices.",
            bytes(io.read),
        );
        text.single(
            "leonardo_disk_written_bytes_total",
            Counter,
            "Bytes written to block devices.",
            bytes(io.written),
        );
        text.single(
            "leonardo_network_received_bytes_total",
            Counter,
            "Bytes received.",
            bytes(network.received),
        );
        text.single("leonardo_network_sent_bytes_total", Counter, "Bytes sent.", bytes(network.sent));
        self.expose_file_systems(text);
        self.expose_gpus(text);
    }

    fn expose_file_systems(&self, text: &mut Exposition) {
        let each = |value: fn(&Usage) -> Option<u64>| {
            let value = move |usage: Option<&Usage>| Some(scale(value(usage?)?, 1.0));
            self.file_systems.iter().filter_map(move |entry| {
                Some((labels([("path", &entry.path.display())]), value(entry.usage())?))
            })
        };
        text.add(
            "leonardo_filesystem_size_bytes",
            Gauge,
            "Size of a file system.",
            each(|usage| Some(usage.size)),
        );
        text.add(
            "leonardo_filesystem_available_bytes",
            Gauge,
            "Space that programs can use.",
            each(|usage| Some(usage.available)),
        );
        text.add("leonardo_filesystem_inodes", Gauge, "Number of inodes.", each(|usage| usage.inodes));
        text.add("leonardo_filesystem_inodes_used", Gauge, "Inodes used.", each(|usage| usage.inodes_used));
        text.add(
            "leonardo_filesystem_read_only",
            Gauge,
            "1 if nothing can be written.",
            each(|usage| Some(u64::from(usage.read_only))),
        );
        let responds = self.file_systems.iter().map(|entry| {
            let hangs = matches!(entry.state, FileSystemState::NotResponding { .. });
            (labels([("path", &entry.path.display())]), if hangs { 0.0 } else { 1.0 })
        });
        text.add("leonardo_filesystem_responding", Gauge, "0 if the file system does not respond.", responds);
    }

    fn expose_gpus(&self, text: &mut Exposition) {
        let each = |value: fn(&Gpu) -> Option<f64>| {
            self.gpus
                .iter()
                .filter_map(move |gpu| Some((labels([("gpu", &gpu.id), ("model", &gpu.model)]), value(gpu)?)))
        };
        text.add(
            "leonardo_gpu_load_ratio",
            Gauge,
            "Part of the time in which the GPU computed.",
            each(|gpu| Some(gpu.load? / 100.0)),
        );
        text.add(
            "leonardo_gpu_memory_bytes",
            Gauge,
            "Memory of the GPU.",
            each(|gpu| Some(scale(gpu.memory?, 1.0))),
        );
        text.add(
            "leonardo_gpu_memory_used_bytes",
            Gauge,
            "Memory of the GPU that is used.",
            each(|gpu| Some(scale(gpu.memory_used?, 1.0))),
        );
        text.add(
            "leonardo_gpu_temperature_celsius",
            Gauge,
            "Temperature of the GPU.",
            each(|gpu| gpu.temperature),
        );
        text.add("leonardo_gpu_power_watts", Gauge, "Power drawn by the GPU.", each(|gpu| gpu.power));
        let readable = if self.gpu_problems.is_empty() { 1.0 } else { 0.0 };
        let known = !self.gpus.is_empty() || !self.gpu_problems.is_empty();
        text.single(
            "leonardo_gpus_readable",
            Gauge,
            "0 if the driver of a GPU does not answer.",
            known.then_some(readable),
        );
    }
}

fn labels<const N: usize>(labels: [(&'static str, &dyn Display); N]) -> Vec<(&'static str, String)> {
    labels.into_iter().map(|(name, value)| (name, value.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_system::FileSystem;
    use crate::pressure::{Pressure, Pressures, Stall};
    use crate::sample::tests::sample;

    #[test]
    fn known_figures_become_metrics() {
        let mut taken = sample();
        taken.cpu.seconds = Some(12.25);
        taken.memory.oom_kills = Some(2);
        let some = Stall { seconds: 0.5, ..Stall::default() };
        taken.pressure =
            Pressures { io: Some(Pressure { some, full: None }), of_machine: true, ..Pressures::default() };
        taken.file_systems = vec![
            FileSystem {
                path: "/work \"space\"".into(),
                state: FileSystemState::Ok(Usage { size: 7, ..Usage::default() }),
            },
            FileSystem { path: "/".into(), state: FileSystemState::NotResponding { seconds: 30 } },
        ];
        taken.gpu_problems = vec!["it hangs".into()];
        let mut text = Exposition::default();
        taken.expose(&mut text);
        let text = text.into_text();
        let values: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "leonardo_cpu_seconds_total 12.25",
            "leonardo_cpu_cores 1",
            "leonardo_oom_kills_total 2",
            "leonardo_pressure_seconds_total{resource=\"io\",kind=\"some\",scope=\"machine\"} 0.5",
            "leonardo_filesystem_size_bytes{path=\"/work \\\"space\\\"\"} 7",
            "leonardo_filesystem_available_bytes{path=\"/work \\\"space\\\"\"} 0",
            "leonardo_filesystem_read_only{path=\"/work \\\"space\\\"\"} 0",
            "leonardo_filesystem_responding{path=\"/work \\\"space\\\"\"} 1",
            "leonardo_filesystem_responding{path=\"/\"} 0",
            "leonardo_gpus_readable 0",
        ];
        assert_eq!(values, expected);
        let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        for line in typed {
            assert_eq!(line.ends_with(" counter"), line.contains("_total "), "{line}");
        }
    }
}

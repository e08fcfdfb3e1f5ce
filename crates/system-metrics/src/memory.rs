//! Memory and swap of the container, its limit, and how often the kernel ended a process for lack of memory.

use serde::Serialize;

use crate::cgroup::{Cgroup, Directory};
use crate::kernel_files::{KernelFiles, field, limit};

/// Memory of the container, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Working set: all memory but the file cache that was not used recently.
    pub used: Option<u64>,
    /// Memory that the kernel cannot free without swapping; the container is in danger if this is close to the limit.
    pub pinned: Option<u64>,
    /// File cache.
    pub cache: Option<u64>,
    /// The container's limit, or the machine's memory if that is less.
    pub limit: Option<u64>,
    /// True if `limit` is the container's own.
    pub is_limited: bool,
    /// Swap used.
    pub swap_used: Option<u64>,
    /// Swap that can be used.
    pub swap_limit: Option<u64>,
    /// Processes that the kernel ended for lack of memory since the container started; grows.
    pub oom_kills: Option<u64>,
}

/// Reads the memory.
pub fn read(files: &KernelFiles, cgroup: &Cgroup) -> Memory {
    let machine = files.text("proc/meminfo").map(|text| machine_memory(&text)).unwrap_or_default();
    let mut memory = match cgroup.directory("memory") {
        Some(Directory::V2(path)) => {
            let text = |name: &str| files.text(path.join(name));
            let limits = cgroup.with_parents(&path).filter_map(|path| files.limit(path.join("memory.max")));
            Memory {
                limit: limits.min(),
                swap_used: files.number(path.join("memory.swap.current")),
                swap_limit: files.limit(path.join("memory.swap.max")),
                oom_kills: text("memory.events").and_then(|text| field(&text, "oom_kill")),
                ..usage(
                    files.number(path.join("memory.current")),
                    &text("memory.stat").unwrap_or_default(),
                    "",
                )
            }
        }
        Some(Directory::V1(path)) => {
            let number = |name: &str| files.number(path.join(name));
            let stat = files.text(path.join("memory.stat")).unwrap_or_default();
            let used = number("memory.usage_in_bytes");
            let own = files.limit(path.join("memory.limit_in_bytes"));
            let both = files.limit(path.join("memory.memsw.limit_in_bytes"));
            let control = files.text(path.join("memory.oom_control"));
            Memory {
                limit: own
                    .into_iter()
                    .chain(
                        field(&stat, "hierarchical_memory_limit").and_then(|bytes| limit(&bytes.to_string())),
                    )
                    .min(),
                swap_used: field(&stat, "total_swap")
                    .or_else(|| Some(number("memory.memsw.usage_in_bytes")?.saturating_sub(used?))),
                swap_limit: both.zip(own).map(|(both, own)| both.saturating_sub(own)),
                oom_kills: control.and_then(|text| field(&text, "oom_kill")),
                ..usage(used, &stat, "total_")
            }
        }
        None => Memory::default(),
    };
    memory.is_limited = memory.limit.is_some_and(|own| machine.limit.is_none_or(|most| own < most));
    if memory.used.is_none() {
        return Memory {
            limit: memory.limit.or(machine.limit),
            is_limited: memory.is_limited,
            oom_kills: memory.oom_kills,
            ..machine
        };
    }
    memory.limit = memory.limit.into_iter().chain(machine.limit).min();
    // A limit of the container does not create swap.
    memory.swap_limit = memory.swap_limit.into_iter().chain(machine.swap_limit).min();
    memory
}

/// Splits the usage of a cgroup. `prefix` is `total_` in version 1, where the names without it leave out cgroups below.
fn usage(current: Option<u64>, stat: &str, prefix: &str) -> Memory {
    let part = |name: &str| field(stat, &format!("{prefix}{name}"));
    let inactive = part("inactive_file").unwrap_or(0);
    let files = inactive.saturating_add(part("active_file").unwrap_or(0));
    // Names and attributes of files, which the kernel drops too; only version 2 has the number.
    let freed = files.saturating_add(part("slab_reclaimable").unwrap_or(0));
    Memory {
        used: current.map(|bytes| bytes.saturating_sub(inactive)),
        pinned: current.map(|bytes| bytes.saturating_sub(freed)),
        cache: part(if prefix.is_empty() { "file" } else { "cache" }),
        ..Memory::default()
    }
}

/// Parses `/proc/meminfo`, which describes the whole machine, or the sandbox.
fn machine_memory(text: &str) -> Memory {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1024)
    };
    let (total, available) = (bytes("MemTotal"), bytes("MemAvailable").or_else(|| bytes("MemFree")));
    let used = total.zip(available).map(|(total, available)| total.saturating_sub(available));
    let swap = bytes("SwapTotal");
    Memory {
        used,
        pinned: used,
        cache: bytes("Cached"),
        limit: total,
        is_limited: false,
        swap_used: swap.zip(bytes("SwapFree")).map(|(total, free)| total.saturating_sub(free)),
        swap_limit: swap,
        oom_kills: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_files::tests::sample;

    const MEMINFO: &str = "MemTotal:       24684092 kB\nMemFree:        17508676 kB\nMemAvailable:   23962016 kB\n\
        Buffers:          297008 kB\nCached:          5967744 kB\nSwapTotal:       4194304 kB\nSwapFree:        4194304 kB\n";
    const V2_MOUNT: &str = "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    const V1_MOUNT: &str = "90 86 0:32 /docker/75 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
    const V1_STAT: &str = "cache 1\ninactive_file 2\nhierarchical_memory_limit 536870912\nhierarchical_memsw_limit 1073741824\n\
        total_cache 66867200\ntotal_rss 26017792\ntotal_swap 77824\ntotal_inactive_file 47464448\ntotal_active_file 19406848\n";

    fn measured(files: &[(&str, &str)]) -> Memory {
        let (_dir, files) = sample(files);
        read(&files, &Cgroup::find(&files))
    }

    #[test]
    fn version_1() {
        let dir = "sys/fs/cgroup/memory/memory";
        let memory = measured(&[
            ("proc/meminfo", MEMINFO),
            ("proc/self/mountinfo", V1_MOUNT),
            ("proc/self/cgroup", "4:memory:/docker/75\n"),
            (&format!("{dir}.stat"), V1_STAT),
            (&format!("{dir}.usage_in_bytes"), "96366592\n"),
            (&format!("{dir}.limit_in_bytes"), "536870912\n"),
            (&format!("{dir}.memsw.usage_in_bytes"), "96444416\n"),
            (&format!("{dir}.memsw.limit_in_bytes"), "1073741824\n"),
            (&format!("{dir}.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        ]);
        let expected = Memory {
            used: Some(96_366_592 - 47_464_448),
            pinned: Some(96_366_592 - 47_464_448 - 19_406_848),
            cache: Some(66_867_200),
            limit: Some(536_870_912),
            is_limited: true,
            swap_used: Some(77_824),
            swap_limit: Some(536_870_912),
            oom_kills: Some(2),
        };
        assert_eq!(memory, expected);
    }

    #[test]
    fn version_2_with_and_without_a_limit() {
        let files = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/cgroup.events", "populated 1\n"),
            ("sys/fs/cgroup/memory.current", "1073741824\n"),
            ("sys/fs/cgroup/memory.max", "2147483648\n"),
            ("sys/fs/cgroup/memory.swap.current", "0\n"),
            ("sys/fs/cgroup/memory.swap.max", "0\n"),
            (
                "sys/fs/cgroup/memory.stat",
                "anon 300000000\nfile 700000000\nkernel 8000000\ninactive_file 600000000\nactive_file 90000000\nslab_reclaimable 7000000\n",
            ),
            ("sys/fs/cgroup/memory.events", "low 0\nhigh 0\nmax 41\noom 1\noom_kill 1\noom_group_kill 0\n"),
        ];
        let expected = Memory {
            used: Some(473_741_824),
            pinned: Some(376_741_824),
            cache: Some(700_000_000),
            limit: Some(2_147_483_648),
            is_limited: true,
            swap_used: Some(0),
            swap_limit: Some(0),
            oom_kills: Some(1),
        };
        assert_eq!(measured(&files), expected);
        let mut unlimited = files;
        unlimited[4].1 = "max\n";
        unlimited[6].1 = "max\n";
        let machine = Memory {
            limit: Some(24_684_092 * 1024),
            is_limited: false,
            swap_limit: Some(4 << 30),
            ..expected
        };
        assert_eq!(measured(&unlimited), machine, "without a limit, the machine's memory is one");
    }

    #[test]
    fn without_a_cgroup_the_machine_is_measured_and_garbage_is_unknown() {
        let machine = measured(&[("proc/meminfo", MEMINFO)]);
        assert_eq!(
            (machine.used, machine.limit),
            (Some((24_684_092 - 23_962_016) * 1024), Some(24_684_092 * 1024))
        );
        assert!(!machine.is_limited && machine.oom_kills.is_none());
        assert_eq!(measured(&[]), Memory::default());
        let garbage = measured(&[
            ("proc/meminfo", "MemTotal: 99999999999999999999 kB\nMemAvailable: x kB"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/memory.current", "\u{0}\u{1}"),
            ("sys/fs/cgroup/memory.max", "-7"),
            ("sys/fs/cgroup/memory.stat", "inactive_file 18446744073709551616"),
        ]);
        assert_eq!(garbage, Memory::default());
    }
}

//! CPU time, and how much of it the container may use.

use serde::Serialize;

use crate::cgroup::{Cgroup, Directory};
use crate::kernel_files::{KernelFiles, field, scale};

/// Ticks per second of `/proc/stat` (`USER_HZ`), the same on all machines that Linux runs on.
const TICKS: f64 = 100.0;
/// Largest number of a CPU that a list can have; the kernel's own limit is 8192.
const MAX_CPUS: u64 = 65_536;

/// Reason for the number of cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CpuLimit {
    /// A quota of CPU time (`--cpus`).
    Quota,
    /// A set of CPUs (`--cpuset-cpus`).
    Cpuset,
    /// The machine has no more.
    Machine,
}

/// CPU of the container.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cpu {
    /// Cores that the container can use, with a fraction.
    pub cores: f64,
    /// What determines `cores`.
    pub limit: CpuLimit,
    /// Cores of the machine.
    pub machine_cores: u64,
    /// CPU time used, in seconds; grows.
    pub seconds: Option<f64>,
    /// Time in which programs waited because the quota was used up, in seconds, added over all cores; grows.
    pub throttled_seconds: Option<f64>,
    /// Cores in use since the last sample.
    pub used_cores: Option<f64>,
    /// Part of the quota's periods in which programs had to wait since the last sample, 0 to 1.
    pub throttled_ratio: Option<f64>,
    /// Periods of the quota, and those in which programs had to wait.
    #[serde(skip)]
    pub(crate) periods: Option<(u64, u64)>,
}

/// Reads the CPU.
pub fn read(files: &KernelFiles, cgroup: &Cgroup) -> Cpu {
    let seconds = match cgroup.directory("cpuacct") {
        Some(Directory::V1(path)) => files.number(path.join("cpuacct.usage")).map(|time| scale(time, 1e9)),
        Some(Directory::V2(path)) => files
            .text(path.join("cpu.stat"))
            .and_then(|stat| field(&stat, "usage_usec"))
            .map(|time| scale(time, 1e6)),
        None => None,
    };
    let machine = || files.text("proc/stat").as_deref().and_then(machine_seconds);
    let (mut throttled_seconds, mut periods, mut quota) = (None, None, None);
    match cgroup.directory("cpu") {
        Some(Directory::V1(path)) => {
            quota = quota_v1(
                files.limit(path.join("cpu.cfs_quota_us")),
                files.number(path.join("cpu.cfs_period_us")),
            );
            let stat = files.text(path.join("cpu.stat")).unwrap_or_default();
            throttled_seconds = field(&stat, "throttled_time").map(|time| scale(time, 1e9));
            periods = field(&stat, "nr_periods").zip(field(&stat, "nr_throttled"));
        }
        Some(Directory::V2(path)) => {
            let limits = cgroup.with_parents(&path).filter_map(|path| files.text(path.join("cpu.max")));
            quota = limits.filter_map(|max| quota_v2(&max)).reduce(f64::min);
            let stat = files.text(path.join("cpu.stat")).unwrap_or_default();
            throttled_seconds = field(&stat, "throttled_usec").map(|time| scale(time, 1e6));
            periods = field(&stat, "nr_periods").zip(field(&stat, "nr_throttled"));
        }
        None => {}
    }
    let machine_cores = files.text("sys/devices/system/cpu/online").as_deref().and_then(count_cpus);
    let allowed = files.text("proc/self/status").as_deref().and_then(allowed_cpus);
    let machine_cores = machine_cores.or(allowed).unwrap_or(1);
    let (cores, limit) = cores(quota, cpuset(files, cgroup).or(allowed), machine_cores);
    Cpu {
        cores,
        limit,
        machine_cores,
        seconds: seconds.or_else(machine),
        throttled_seconds,
        used_cores: None,
        throttled_ratio: None,
        periods,
    }
}

/// Returns the number of CPUs in the container's set.
fn cpuset(files: &KernelFiles, cgroup: &Cgroup) -> Option<u64> {
    let list = match cgroup.directory("cpuset")? {
        Directory::V2(path) => files.text(path.join("cpuset.cpus.effective")),
        Directory::V1(path) => {
            files.text(path.join("cpuset.effective_cpus")).or_else(|| files.text(path.join("cpuset.cpus")))
        }
    };
    count_cpus(&list?)
}

/// Decides how many cores can be used, and why.
fn cores(quota: Option<f64>, cpuset: Option<u64>, machine: u64) -> (f64, CpuLimit) {
    let (most, limit) = match cpuset.filter(|count| *count < machine) {
        Some(count) => (scale(count, 1.0), CpuLimit::Cpuset),
        None => (scale(machine, 1.0), CpuLimit::Machine),
    };
    match quota.filter(|quota| *quota < most) {
        Some(quota) => (quota, CpuLimit::Quota),
        None => (most, limit),
    }
}

/// Parses `cpu.max`: `max 100000` or `50000 100000`.
fn quota_v2(text: &str) -> Option<f64> {
    let mut numbers = text.split_ascii_whitespace().map(|word| word.parse().ok());
    quota_v1(numbers.next()?, numbers.next()?)
}

fn quota_v1(quota: Option<u64>, period: Option<u64>) -> Option<f64> {
    let (quota, period) = (quota?, period?);
    (quota > 0 && period > 0).then(|| scale(quota, 1.0) / scale(period, 1.0))
}

/// Counts the CPUs in a list such as `0-3,8`; `None` if it is empty or no list.
fn count_cpus(text: &str) -> Option<u64> {
    let mut count = 0;
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        count += last.checked_sub(first).filter(|_| last < MAX_CPUS)? + 1;
    }
    Some(count)
}

/// Returns the number of CPUs that a process can run on, from its `status`.
fn allowed_cpus(status: &str) -> Option<u64> {
    count_cpus(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?)
}

/// Returns the busy time of the whole machine from `/proc/stat`; `None` if it counts nothing, as in some sandboxes.
fn machine_seconds(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // user nice system idle iowait irq softirq steal; guests are included in user.
    let times: Vec<u64> = line.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
    let busy = [0, 1, 2, 5, 6]
        .iter()
        .filter_map(|index| times.get(*index))
        .fold(0, |sum: u64, time| sum.saturating_add(*time));
    (busy > 0).then(|| scale(busy, TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_files::tests::sample;

    #[test]
    fn the_smallest_limit_counts() {
        for (quota, cpuset, machine, expected) in [
            (None, None, 64, (64.0, CpuLimit::Machine)),
            (Some(0.5), None, 2, (0.5, CpuLimit::Quota)),
            (Some(8.0), Some(4), 64, (4.0, CpuLimit::Cpuset)),
            (Some(3.5), Some(4), 64, (3.5, CpuLimit::Quota)),
            (Some(128.0), Some(64), 64, (64.0, CpuLimit::Machine)),
        ] {
            assert_eq!(cores(quota, cpuset, machine), expected);
        }
        for (text, expected) in [
            ("50000 100000\n", Some(0.5)),
            ("max 100000\n", None),
            ("1 0", None),
            ("50000", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(quota_v2(text), expected, "{text}");
        }
    }

    #[test]
    fn lists_of_cpus_are_counted() {
        for (list, expected) in [
            ("0-1\n", Some(2)),
            ("3", Some(1)),
            ("0-3,8,10-11\n", Some(7)),
            ("", None),
            ("\n", None),
            ("3-1", None),
            ("0-18446744073709551615", None),
            ("a-b", None),
        ] {
            assert_eq!(count_cpus(list), expected, "{list}");
        }
    }

    #[test]
    fn version_1_version_2_and_the_machine() {
        let mounts_v1 = "1 2 0:1 /docker/75 /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            1 2 0:1 /docker/75 /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n\
            1 2 0:1 /docker/75 /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n";
        let (_dir, files) = sample(&[
            ("proc/self/mountinfo", mounts_v1),
            ("proc/self/cgroup", "3:cpuset:/docker/75\n2:cpuacct:/docker/75\n1:cpu:/docker/75\n"),
            (
                "sys/fs/cgroup/cpu/cpu.stat",
                "nr_periods 35\nnr_throttled 4\nthrottled_time 346810898\nnr_bursts 0\nburst_time 0\n",
            ),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpuacct/cpuacct.usage", "368762561\n"),
            ("sys/fs/cgroup/cpuset/cpuset.effective_cpus", "0-1\n"),
            ("sys/devices/system/cpu/online", "0-1\n"),
        ]);
        let v1 = Cpu {
            cores: 0.5,
            limit: CpuLimit::Quota,
            machine_cores: 2,
            seconds: Some(0.368_762_561),
            throttled_seconds: Some(0.346_810_898),
            used_cores: None,
            throttled_ratio: None,
            periods: Some((35, 4)),
        };
        assert_eq!(read(&files, &Cgroup::find(&files)), v1);
        let (_dir, files) = sample(&[
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/cgroup.events", "populated 1\nfrozen 0\n"),
            (
                "sys/fs/cgroup/cpu.stat",
                "usage_usec 396545\nuser_usec 178482\nsystem_usec 218062\nnice_usec 0\nnr_periods 12\nnr_throttled 3\nthrottled_usec 52000\n",
            ),
            ("sys/fs/cgroup/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/cpuset.cpus.effective", "4-7\n"),
            ("sys/devices/system/cpu/online", "0-63\n"),
        ]);
        let v2 = Cpu {
            cores: 4.0,
            limit: CpuLimit::Cpuset,
            machine_cores: 64,
            seconds: Some(0.396_545),
            throttled_seconds: Some(0.052),
            periods: Some((12, 3)),
            ..v1.clone()
        };
        assert_eq!(read(&files, &Cgroup::find(&files)), v2);
        let (_dir, files) = sample(&[
            (
                "proc/stat",
                "cpu  75609 0 18787 60159 829 0 187 17 0 0\ncpu0 37332 0 8671 31600 161 0 18 6 0 0\n",
            ),
            ("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-1\n"),
        ]);
        let none = Cpu {
            cores: 2.0,
            limit: CpuLimit::Machine,
            machine_cores: 2,
            seconds: Some(945.83),
            throttled_seconds: None,
            periods: None,
            ..v1
        };
        assert_eq!(read(&files, &Cgroup::find(&files)), none, "a sandbox without cgroups");
        assert_eq!(machine_seconds("cpu  0 0 0 0 0 0 0 0 0 0\n"), None, "a sandbox that counts nothing");
        assert_eq!([machine_seconds(""), machine_seconds("cpu  x")], [None; 2]);
    }
}

//! Pressure stall information: how long programs waited for CPU, memory and disk.

use serde::Serialize;

use crate::cgroup::Cgroup;
use crate::kernel_files::{KernelFiles, scale};

/// Part of the time in which programs waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Stall {
    /// Percent of the last 10 seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last five minutes.
    pub avg300: f64,
    /// Seconds in all; grows.
    pub seconds: f64,
}

/// Pressure of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// At least one program waited.
    pub some: Stall,
    /// All programs waited at once; kernels before 5.13 do not have it for the CPU.
    pub full: Option<Stall>,
}

/// Pressure of all resources; `None` where the kernel was built or started without it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pressures {
    /// CPU.
    pub cpu: Option<Pressure>,
    /// Memory.
    pub memory: Option<Pressure>,
    /// Disk.
    pub io: Option<Pressure>,
    /// True if these are figures of the whole machine, because the container's own are not visible.
    pub of_machine: bool,
}

impl Pressures {
    /// Returns resources that have a figure, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Pressure)> {
        [("cpu", self.cpu), ("memory", self.memory), ("io", self.io)]
            .into_iter()
            .filter_map(|(name, pressure)| Some((name, pressure?)))
    }
}

/// Reads the pressure.
pub fn read(files: &KernelFiles, cgroup: &Cgroup) -> Pressures {
    let own = |resource: &str| {
        let text = files.text(cgroup.unified()?.join(format!("{resource}.pressure")))?;
        parse(&text)
    };
    let machine = |resource: &str| parse(&files.text(format!("proc/pressure/{resource}"))?);
    let found = Pressures { cpu: own("cpu"), memory: own("memory"), io: own("io"), of_machine: false };
    if found.iter().next().is_some() {
        return found;
    }
    Pressures { cpu: machine("cpu"), memory: machine("memory"), io: machine("io"), of_machine: true }
}

fn parse(text: &str) -> Option<Pressure> {
    let line = |kind: &str| text.lines().find_map(|line| parse_line(line.strip_prefix(kind)?));
    Some(Pressure { some: line("some ")?, full: line("full ") })
}

fn parse_line(line: &str) -> Option<Stall> {
    let value = |name: &str| {
        line.split_ascii_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    let percent = |name: &str| value(name)?.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    let microseconds = value("total")?.parse().ok()?;
    Some(Stall {
        avg10: percent("avg10")?,
        avg60: percent("avg60")?,
        avg300: percent("avg300")?,
        seconds: scale(microseconds, 1e6),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_files::tests::sample;

    #[test]
    fn the_containers_own_pressure_is_preferred_and_garbage_is_none() {
        let own = "some avg10=0.40 avg60=0.27 avg300=0.06 total=252741\nfull avg10=0.32 avg60=0.22 avg300=0.05 total=200939\n";
        let machine = "some avg10=18.68 avg60=6.78 avg300=9.15 total=82162987\n";
        let some = Stall { avg10: 0.4, avg60: 0.27, avg300: 0.06, seconds: 0.252_741 };
        let full = Stall { avg10: 0.32, avg60: 0.22, avg300: 0.05, seconds: 0.200_939 };
        let mount = ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
        let (_dir, files) =
            sample(&[mount, ("sys/fs/cgroup/cpu.pressure", own), ("proc/pressure/cpu", machine)]);
        let expected = Pressures { cpu: Some(Pressure { some, full: Some(full) }), ..Pressures::default() };
        assert_eq!(read(&files, &Cgroup::find(&files)), expected);
        let (_dir, files) =
            sample(&[mount, ("proc/pressure/cpu", machine), ("proc/pressure/io", "some avg10=x")]);
        let some = Stall { avg10: 18.68, avg60: 6.78, avg300: 9.15, seconds: 82.162_987 };
        let cpu = Some(Pressure { some, full: None });
        let expected = Pressures { cpu, of_machine: true, ..Pressures::default() };
        assert_eq!(read(&files, &Cgroup::find(&files)), expected);
        for garbage in [
            "",
            "some",
            "some avg10=1 avg60=1 avg300=1",
            "some avg10=nan avg60=1 avg300=1 total=1",
            "some avg10=1e9 avg60=1 avg300=1 total=1",
        ] {
            assert_eq!(parse(garbage), None, "{garbage}");
        }
    }
}

//! Takes samples.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::cgroup::{Cgroup, Directory};
use crate::file_system::{FileSystem, FileSystemWatch};
use crate::gpu_watch::GpuWatch;
use crate::kernel_files::KernelFiles;
use crate::sample::{Sample, Source};
use crate::{block_io, cpu, memory, network, pids, pressure, rates};

/// Time that a sample waits for file systems; the answer of a slower one is in the next sample.
const FILE_SYSTEM_LIMIT: Duration = Duration::from_millis(200);

/// Takes samples, each with rates since the one before.
#[derive(Debug)]
pub struct Sampler {
    files: KernelFiles,
    cgroup: Cgroup,
    file_systems: Vec<FileSystemWatch>,
    gpus: GpuWatch,
    before: Option<(Instant, Sample)>,
    oom_kill_seen: Option<Instant>,
}

impl Sampler {
    /// Starts the threads. `paths` are those whose file systems are measured.
    pub fn new(root: &Path, paths: &[PathBuf]) -> Result<Self> {
        let files = KernelFiles::new(root);
        let cannot = "cannot start a thread that measures";
        let file_systems = paths.iter().map(|path| FileSystemWatch::new(path)).collect::<Result<_, _>>();
        Ok(Self {
            cgroup: Cgroup::find(&files),
            file_systems: file_systems.context(cannot)?,
            gpus: GpuWatch::new(files.clone()).context(cannot)?,
            files,
            before: None,
            oom_kill_seen: None,
        })
    }

    /// Takes a sample.
    pub fn sample(&mut self, is_watched: bool) -> Sample {
        let now = Instant::now();
        self.gpus.ask(is_watched, now);
        self.file_systems.iter().for_each(FileSystemWatch::ask);
        let deadline = now + FILE_SYSTEM_LIMIT;
        let file_systems = self.file_systems.iter().map(|watch| watch.read(deadline)).collect();
        let (gpus, gpu_problems) = self.gpus.read(now);
        let source = match self.cgroup.directory("memory") {
            Some(Directory::V2(_)) if !self.cgroup.has_v1() => Source::CgroupV2,
            Some(_) => Source::CgroupV1,
            None if self.cgroup.has_v1() => Source::CgroupV1,
            None => Source::Machine,
        };
        let mut sample = Sample {
            at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
            source,
            notes: Vec::new(),
            cpu: cpu::read(&self.files, &self.cgroup),
            memory: memory::read(&self.files, &self.cgroup),
            pids: pids::read(&self.files, &self.cgroup),
            pressure: pressure::read(&self.files, &self.cgroup),
            io: block_io::read(&self.files, &self.cgroup),
            network: network::read(&self.files),
            file_systems: merge(file_systems),
            gpus,
            gpu_problems,
            oom_kill_age: None,
        };
        if let Some((then, before)) = &self.before {
            rates::fill(&mut sample, before, now.saturating_duration_since(*then));
            if sample.memory.oom_kills > before.memory.oom_kills && before.memory.oom_kills.is_some() {
                self.oom_kill_seen = Some(now);
            }
        }
        sample.oom_kill_age = self.oom_kill_seen.map(|seen| now.saturating_duration_since(seen).as_secs());
        sample.notes = notes(&sample);
        self.before = Some((now, sample.clone()));
        sample
    }
}

/// Leaves out a path on the same file system as an earlier one: a workspace that is no mount is on the container's own.
fn merge(found: Vec<FileSystem>) -> Vec<FileSystem> {
    let mut kept: Vec<FileSystem> = Vec::new();
    for entry in found {
        let device = entry.usage().map(|usage| usage.device);
        if device.is_none() || kept.iter().all(|other| other.usage().map(|usage| usage.device) != device) {
            kept.push(entry);
        }
    }
    kept
}

/// Returns sentences about figures that mean something else than usual.
fn notes(sample: &Sample) -> Vec<String> {
    let mut notes = Vec::new();
    if sample.source == Source::Machine {
        notes.push("No cgroup is visible here (as in gVisor or Kata): CPU and memory are those of the whole machine or sandbox.".to_owned());
    }
    if sample.cpu.seconds.is_none() {
        notes.push("The kernel does not report CPU time.".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_system::{FileSystemState, Usage};

    #[test]
    fn a_machine_without_cgroups_is_measured_with_a_note() {
        let (dir, _files) = crate::kernel_files::tests::sample(&[
            ("proc/stat", "cpu  10 0 0 5 0 0 0 0 0 0\n"),
            ("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 400 kB\n"),
        ]);
        let mut sampler = Sampler::new(dir.path(), &["/".into()]).unwrap();
        let sample = sampler.sample(false);
        assert_eq!(
            (sample.source, sample.memory.used, sample.memory.limit),
            (Source::Machine, Some(614_400), Some(1_024_000))
        );
        assert_eq!(sample.notes.len(), 1, "{:?}", sample.notes);
        assert!(sample.notes[0].starts_with("No cgroup is visible"));
        assert_eq!(sample.cpu.used_cores, None, "a rate needs two samples");
        std::fs::write(dir.path().join("proc/stat"), "cpu  90 0 0 5 0 0 0 0 0 0\n").unwrap();
        assert!(sampler.sample(false).cpu.used_cores.unwrap() > 0.0);
    }

    #[test]
    fn an_oom_kill_is_noticed_when_the_counter_grows() {
        let (dir, _files) = crate::kernel_files::tests::sample(&[
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
            ("sys/fs/cgroup/memory.current", "1"),
            ("sys/fs/cgroup/memory.events", "oom_kill 3\n"),
        ]);
        let mut sampler = Sampler::new(dir.path(), &[]).unwrap();
        let mut sample = |events: &str| {
            std::fs::write(dir.path().join("sys/fs/cgroup/memory.events"), events).unwrap();
            sampler.sample(false).oom_kill_age.is_some()
        };
        let seen = ["oom_kill 3\n", "oom_kill 3\n", "oom_kill 4\n", "oom_kill 4\n"].map(&mut sample);
        assert_eq!(seen, [false, false, true, true], "earlier ones have no known time");
    }

    #[test]
    fn a_path_on_the_file_system_of_another_is_left_out() {
        let entry = |path: &str, state| FileSystem { path: path.into(), state };
        let on = |device| FileSystemState::Ok(Usage { device, ..Usage::default() });
        let found = vec![
            entry("/workspace", on(7)),
            entry("/", on(7)),
            entry("/dev/shm", on(8)),
            entry("/a", FileSystemState::Pending),
            entry("/b", FileSystemState::Pending),
        ];
        let kept: Vec<_> = merge(found).into_iter().map(|entry| entry.path).collect();
        assert_eq!(kept, ["/workspace", "/dev/shm", "/a", "/b"].map(PathBuf::from));
    }
}

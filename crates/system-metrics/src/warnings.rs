//! Figures at which a user is about to lose work, in sentences.

use std::path::Path;

use kit::units::{format_bytes, format_count, format_memory};
use serde::Serialize;

use crate::file_system::{FileSystem, FileSystemState, Usage};
use crate::kernel_files::scale;
use crate::sample::Sample;

/// Part that counts as nearly full.
const NEARLY_FULL: f64 = 0.95;
/// Free space that is enough however large the file system is.
const ENOUGH_SPACE: u64 = 50_000_000_000;
/// Time for which an out-of-memory kill is shown, in seconds.
const OOM_KILL_SHOWN: u64 = 3600;

/// Something that endangers work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Object that is concerned: a path, `memory`, `processes`, `GPU`.
    pub source: String,
    /// Description of the problem.
    pub message: String,
    /// Next step for the user.
    pub remedy: Option<String>,
}

/// Returns the warnings of a sample; the most urgent ones first.
#[must_use]
pub fn warnings(sample: &Sample) -> Vec<Warning> {
    let mut found = Vec::new();
    let memory = &sample.memory;
    if let Some(age) = sample.oom_kill_age.filter(|age| *age < OOM_KILL_SHOWN) {
        let ago = kit::duration::words(age);
        found.push(warning(
            "memory",
            format!("the kernel killed a process {ago} ago because memory ran out"),
            Some("use less memory (smaller batches, fewer workers), or start the container with more"),
        ));
    }
    if let (Some(used), Some(limit)) = (memory.pinned, memory.limit)
        && is_nearly(used, limit)
    {
        let text = format!(
            "{} of {} are in use; the kernel kills a process when it runs out",
            format_memory(used),
            format_memory(limit)
        );
        found.push(warning("memory", text, Some("end a program, or start the container with more memory")));
    }
    if let (Some(current), Some(limit)) = (sample.pids.current, sample.pids.limit)
        && is_nearly(current, limit)
    {
        let text = format!(
            "{} of {} processes and threads are in use; no more can be started at the limit",
            format_count(current),
            format_count(limit)
        );
        found.push(warning("processes", text, Some("end programs, or raise --pids-limit")));
    }
    found.extend(sample.file_systems.iter().filter_map(of_file_system));
    found.extend(sample.gpu_problems.iter().map(|problem| warning("GPU", problem.clone(), None)));
    found
}

fn of_file_system(file_system: &FileSystem) -> Option<Warning> {
    let path = &*file_system.path;
    let remedy = |command: &str| Some(format!("{command} {}", path.display()));
    let (message, remedy) = match &file_system.state {
        FileSystemState::Ok(usage) => {
            let is_low = |usage: &Usage| {
                usage.used_ratio().is_some_and(|ratio| ratio > NEARLY_FULL) && usage.available < ENOUGH_SPACE
            };
            if is_low(usage) {
                let of = usage.used.saturating_add(usage.available);
                (
                    format!(
                        "nearly full: {} of {} are free",
                        format_bytes(usage.available),
                        format_bytes(of)
                    ),
                    Some(largest(path)),
                )
            } else if usage.inodes_ratio().is_some_and(|ratio| ratio > NEARLY_FULL) {
                let free = usage.inodes.unwrap_or(0).saturating_sub(usage.inodes_used.unwrap_or(0));
                let text = format!("nearly out of inodes: {} more files can be created", format_count(free));
                (text, remedy("delete small files; to count them, run: du --inodes -xd2"))
            } else if usage.read_only && path != Path::new("/") {
                ("read-only: nothing can be saved there".to_owned(), None)
            } else {
                return None;
            }
        }
        FileSystemState::NotResponding { seconds } => {
            let text = format!("not responding for {}", kit::duration::words(*seconds));
            (text, Some("check the network storage; programs that use it wait until it responds".to_owned()))
        }
        FileSystemState::Failed { message } => (format!("cannot be measured: {message}"), None),
        FileSystemState::Pending => return None,
    };
    Some(Warning { source: path.display().to_string(), message, remedy })
}

/// Returns the way to free space at a path.
fn largest(path: &Path) -> String {
    if path == Path::new("/dev/shm") {
        return "start the container with a larger --shm-size, or use fewer data loader workers".to_owned();
    }
    let path = path.display();
    format!("delete files; to find large directories, run: du -xhd2 {path} | sort -h | tail")
}

fn is_nearly(part: u64, whole: u64) -> bool {
    whole > 0 && scale(part, scale(whole, 1.0)) > NEARLY_FULL
}

fn warning(source: &str, message: String, remedy: Option<&str>) -> Warning {
    Warning { source: source.to_owned(), message, remedy: remedy.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::pids::Pids;
    use crate::sample::tests::sample;

    fn at(path: &str, state: FileSystemState) -> FileSystem {
        FileSystem { path: path.into(), state }
    }

    #[test]
    fn each_danger_is_a_sentence_with_a_remedy() {
        let gb = 1_000_000_000;
        let full = Usage { size: 100 * gb, used: 97 * gb, available: 3 * gb, ..Usage::default() };
        let inodes = Usage { inodes: Some(1000), inodes_used: Some(999), ..Usage::default() };
        let taken = Sample {
            memory: Memory { pinned: Some(96 << 30), limit: Some(100 << 30), ..Memory::default() },
            pids: Pids { current: Some(499), limit: Some(500) },
            oom_kill_age: Some(90),
            file_systems: vec![
                at("/workspace", FileSystemState::Ok(full)),
                at("/", FileSystemState::Ok(inodes)),
                at("/data", FileSystemState::NotResponding { seconds: 75 }),
                at("/ro", FileSystemState::Ok(Usage { read_only: true, ..Usage::default() })),
                at("/x", FileSystemState::Failed { message: "Stale file handle (os error 116)".into() }),
                at("/dev/shm", FileSystemState::Ok(full)),
            ],
            gpu_problems: vec!["nvidia-smi hangs".into()],
            ..sample()
        };
        let found: Vec<String> = warnings(&taken)
            .into_iter()
            .map(|found| {
                format!("{}: {} | {}", found.source, found.message, found.remedy.unwrap_or_default())
            })
            .collect();
        let expected = [
            "memory: the kernel killed a process 1 min ago because memory ran out | use less memory (smaller batches, fewer workers), or start the container with more",
            "memory: 96.0 GiB of 100.0 GiB are in use; the kernel kills a process when it runs out | end a program, or start the container with more memory",
            "processes: 499 of 500 processes and threads are in use; no more can be started at the limit | end programs, or raise --pids-limit",
            "/workspace: nearly full: 3.0 GB of 100.0 GB are free | delete files; to find large directories, run: du -xhd2 /workspace | sort -h | tail",
            "/: nearly out of inodes: 1 more files can be created | delete small files; to count them, run: du --inodes -xd2 /",
            "/data: not responding for 1 min | check the network storage; programs that use it wait until it responds",
            "/ro: read-only: nothing can be saved there | ",
            "/x: cannot be measured: Stale file handle (os error 116) | ",
            "/dev/shm: nearly full: 3.0 GB of 100.0 GB are free | start the container with a larger --shm-size, or use fewer data loader workers",
            "GPU: nvidia-smi hangs | ",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_healthy_container_has_no_warnings() {
        let tb = 1_000_000_000_000;
        let large = Usage { size: 100 * tb, used: 98 * tb, available: 2 * tb, ..Usage::default() };
        let healthy = Sample {
            memory: Memory { used: Some(99), pinned: Some(40), limit: Some(100), ..Memory::default() },
            oom_kill_age: Some(3601),
            file_systems: vec![
                at("/workspace", FileSystemState::Ok(large)),
                at("/", FileSystemState::Ok(Usage { read_only: true, ..Usage::default() })),
                at("/data", FileSystemState::Pending),
                at("/zero", FileSystemState::Ok(Usage::default())),
            ],
            ..sample()
        };
        assert_eq!(
            warnings(&healthy),
            [],
            "file cache is no danger, 2 TB are enough, a read-only root is wanted"
        );
    }
}

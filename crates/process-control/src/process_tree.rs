//! Processor time and memory of programs with all their processes, from proc(5).

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kit::process::Process;
use nix::unistd::{SysconfVar, sysconf};

/// Shortest time over which processor time is measured; viewers ask more often.
const SHORTEST: Duration = Duration::from_secs(1);
/// Longest time: an average over more says nothing about the present.
const LONGEST: Duration = Duration::from_mins(1);

/// Use of the machine by a program.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Processor time since an earlier measurement, in percent of one core.
    pub cpu_percent: Option<f64>,
    /// Memory in bytes; what processes share counts once.
    pub memory_bytes: u64,
    /// Number of processes.
    pub processes: u32,
}

/// Measures programs repeatedly.
#[derive(Debug)]
pub struct Meter {
    proc: PathBuf,
    /// Measurement that the next one is compared with.
    base: Option<Sample>,
    /// Percentages of the last measurement, by the program's process.
    percentages: HashMap<u32, f64>,
    units: Units,
}

#[derive(Debug)]
struct Sample {
    at: Instant,
    /// Processor time of each process, in ticks.
    ticks: HashMap<Identity, u64>,
}

/// A process: numbers are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    pid: u32,
    /// In ticks since the boot.
    start: u64,
}

/// The kernel's units.
#[derive(Debug, Clone, Copy)]
struct Units {
    page_bytes: u64,
    ticks_per_second: f64,
}

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    identity: Identity,
    parent: u32,
    group: u32,
    ticks: u64,
    /// Pages of its own.
    private: u64,
    /// Pages of files and shared memory.
    shared: u64,
}

impl Meter {
    /// Returns a meter for the processes of this container.
    pub fn new() -> Self {
        let value = |name| sysconf(name).ok().flatten().and_then(|value| u32::try_from(value).ok());
        let units = Units {
            page_bytes: value(SysconfVar::PAGE_SIZE).unwrap_or(4096).into(),
            ticks_per_second: value(SysconfVar::CLK_TCK).unwrap_or(100).into(),
        };
        Self { proc: "/proc".into(), base: None, percentages: HashMap::new(), units }
    }

    /// Measures the programs whose processes these are.
    pub fn measure(&mut self, programs: &[u32]) -> BTreeMap<u32, Usage> {
        let seen: Vec<Seen> = Process::all_in(&self.proc).iter().filter_map(read).collect();
        self.compare(programs, &seen, Instant::now())
    }

    fn compare(&mut self, programs: &[u32], seen: &[Seen], now: Instant) -> BTreeMap<u32, Usage> {
        let owners = owners(programs, seen);
        let mut trees: BTreeMap<u32, Vec<&Seen>> =
            programs.iter().map(|program| (*program, Vec::new())).collect();
        for process in seen {
            let owner = owners.get(&process.identity.pid);
            if let Some(tree) = owner.and_then(|program| trees.get_mut(program)) {
                tree.push(process);
            }
        }
        let age = self.base.as_ref().map(|base| now.saturating_duration_since(base.at));
        if age.is_none_or(|age| age >= SHORTEST) {
            let base = self.base.take().filter(|_| age.is_some_and(|age| age <= LONGEST));
            self.percentages = base.map_or_else(HashMap::new, |base| {
                let seconds = now.saturating_duration_since(base.at).as_secs_f64();
                let percent = |tree: &Vec<&Seen>| {
                    let ticks: u64 = tree.iter().map(|process| since(&base, process)).sum();
                    // A process uses less than 2^53 ticks.
                    #[allow(clippy::cast_precision_loss)]
                    let used = ticks as f64 / self.units.ticks_per_second;
                    (used / seconds * 1_000.0).round() / 10.0
                };
                // Without an earlier measurement of its main process, a program has just started.
                let is_known =
                    |tree: &Vec<&Seen>| tree.iter().any(|process| base.ticks.contains_key(&process.identity));
                trees
                    .iter()
                    .filter(|(_, tree)| is_known(tree))
                    .map(|(program, tree)| (*program, percent(tree)))
                    .collect()
            });
            let ticks = seen.iter().map(|process| (process.identity, process.ticks)).collect();
            self.base = Some(Sample { at: now, ticks });
        }
        let usage = |(program, tree): (u32, Vec<&Seen>)| {
            let private: u64 = tree.iter().map(|process| process.private).sum();
            let shared = tree.iter().map(|process| process.shared).max().unwrap_or(0);
            let usage = Usage {
                cpu_percent: self.percentages.get(&program).copied(),
                memory_bytes: (private + shared) * self.units.page_bytes,
                processes: u32::try_from(tree.len()).unwrap_or(u32::MAX),
            };
            (program, usage)
        };
        trees.into_iter().map(usage).collect()
    }
}

/// Returns the processor time of a process since an earlier measurement.
fn since(base: &Sample, process: &Seen) -> u64 {
    process.ticks.saturating_sub(base.ticks.get(&process.identity).copied().unwrap_or(0))
}

/// Returns the program that each process belongs to: its nearest ancestor that is one, or its process group if that process
/// has lost its parent.
fn owners(programs: &[u32], seen: &[Seen]) -> HashMap<u32, u32> {
    let by_pid: HashMap<u32, &Seen> = seen.iter().map(|process| (process.identity.pid, process)).collect();
    let owner = |process: &Seen| {
        let mut current = Some(process);
        // Parents change while they are read, so they could form a circle.
        for _ in 0..seen.len() {
            let Some(process) = current else { break };
            if programs.contains(&process.identity.pid) {
                return Some(process.identity.pid);
            }
            current = by_pid.get(&process.parent).copied();
        }
        programs.iter().copied().find(|program| *program == process.group)
    };
    seen.iter().filter_map(|process| Some((process.identity.pid, owner(process)?))).collect()
}

fn read(process: &Process) -> Option<Seen> {
    let stat = fs::read(process.path("stat")).ok()?;
    let memory = fs::read_to_string(process.path("statm")).ok()?;
    parse(u32::try_from(process.id()?).ok()?, &stat, &memory)
}

/// The name in `stat` is in parentheses and may have any, so the fields count from the last one.
fn parse(pid: u32, stat: &[u8], memory: &str) -> Option<Seen> {
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[close + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // proc_pid_stat(5) counts from 1; the first field here is the third there.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let mut pages = memory.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
    Some(Seen {
        identity: Identity { pid, start: field(22)? },
        parent: u32::try_from(field(4)?).ok()?,
        group: u32::try_from(field(5)?).ok()?,
        ticks: field(14)? + field(15)?,
        private: resident.saturating_sub(shared),
        shared,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pid: u32, parent: u32, group: u32, ticks: u64) -> Seen {
        Seen { identity: Identity { pid, start: 7 }, parent, group, ticks, private: 10, shared: 5 }
    }

    #[test]
    fn a_program_has_its_descendants_and_the_orphans_of_its_process_group() {
        let processes = [
            seen(1, 0, 1, 0),
            seen(10, 1, 10, 0),
            seen(11, 10, 10, 0),
            // In a group of its own, as a shell with job control starts it.
            seen(12, 11, 12, 0),
            seen(13, 1, 10, 0),
            seen(20, 1, 20, 0),
            // A program that another one has started belongs to itself.
            seen(21, 10, 21, 0),
            seen(30, 1, 30, 0),
            // A circle, read while parents changed.
            seen(40, 41, 40, 0),
            seen(41, 40, 40, 0),
        ];
        let owners = owners(&[10, 20, 21], &processes);
        let expected = [(10, 10), (11, 10), (12, 10), (13, 10), (20, 20), (21, 21)];
        assert_eq!(owners, HashMap::from(expected));
    }

    #[test]
    fn processor_time_is_measured_over_a_second_or_more_and_shared_memory_counts_once() {
        let mut meter = Meter::new();
        meter.units = Units { page_bytes: 4096, ticks_per_second: 100.0 };
        let start = Instant::now();
        let mut measure = |milliseconds: u64, processes: &[Seen]| {
            let usage = meter.compare(&[10], processes, start + Duration::from_millis(milliseconds));
            usage[&10].cpu_percent
        };
        assert_eq!(measure(0, &[seen(10, 1, 10, 100)]), None);
        assert_eq!(measure(500, &[seen(10, 1, 10, 900)]), None);
        // 100 ticks in two seconds, and 50 of a process that began meanwhile.
        let later = [seen(10, 1, 10, 200), seen(11, 10, 10, 50)];
        assert_eq!(measure(2_000, &later), Some(75.0));
        assert_eq!(measure(2_100, &later), Some(75.0), "of the last measurement");
        // A process that has ended takes its time with it.
        assert_eq!(measure(3_000, &later[..1]), Some(0.0));
        assert_eq!(measure(100_000, &later[..1]), None, "an average over more than a minute");
        let restarted = Seen { identity: Identity { pid: 10, start: 8 }, ..seen(10, 1, 10, 50) };
        assert_eq!(measure(102_000, &[restarted]), None, "another process with its number");
        let usage = meter.compare(&[10], &later, start);
        assert_eq!((usage[&10].memory_bytes, usage[&10].processes), (25 * 4096, 2));
    }

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        let stat = b"42 (a) 1 R 9) S 7 40 41 0 -1 4194304 1 2 3 4 30 12 0 0 20 0 3 0 123 1000 55\n";
        let expected = Seen {
            identity: Identity { pid: 42, start: 123 },
            parent: 7,
            group: 40,
            ticks: 42,
            private: 30,
            shared: 25,
        };
        assert_eq!(parse(42, stat, "900 55 25 1 0 2 0\n"), Some(expected));
        assert_eq!(parse(42, b"42 (a", "900 55 25"), None);
        assert_eq!(parse(42, stat, ""), None);
        let own = std::process::id();
        let usage = Meter::new().measure(&[own])[&own];
        assert!(usage.memory_bytes > 0 && usage.processes > 0, "{usage:?}");
    }
}

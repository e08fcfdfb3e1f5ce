//! A running supervisord: providers' on-start hooks run `init.sh` in a running container.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Env, HintExt, wait};

use crate::exec_supervisord::{CONFIGURATION, SUPERVISORD};

/// Time limit for a start in progress, which usually takes less than a second.
const START: Duration = Duration::from_mins(1);

/// Another process of this container that decides what this `init` does.
#[derive(Debug, PartialEq, Eq)]
enum OtherProcess {
    /// The running supervisord.
    Supervisord(PathBuf),
    /// An `init` that was started before this one.
    Start,
}

/// Returns the environment of this container's supervisord, if one is running; waits for a start in progress. `detach`: this
/// is a late start, which holds their lock.
///
/// Processes are inspected, because a pid file and a socket survive a restart of the container.
pub fn environment(detach: bool) -> Result<Option<Env>> {
    if std::process::id() == 1 {
        return Ok(None);
    }
    wait::until(START, "the current start", || match other(Path::new("/proc"), detach) {
        Some(OtherProcess::Supervisord(process)) => Some(read(&process).map(Some)),
        Some(OtherProcess::Start) => None,
        None => Some(Ok(None)),
    })?
}

fn other(processes: &Path, detach: bool) -> Option<OtherProcess> {
    let of_self = processes.join("self");
    let own = |name: &str| fs::read_link(of_self.join(name)).ok();
    let (namespace, program, number) = (own("ns/mnt"), own("exe"), std::process::id());
    let mut found = None;
    for entry in fs::read_dir(processes).into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let process = entry.path();
        // Containers can share their processes (--pid), but not their files. Only root can tell them apart.
        let is_elsewhere = match fs::read_link(process.join("ns/mnt")) {
            Ok(its) => Some(its) != namespace,
            Err(_) => nix::unistd::geteuid().is_root(),
        };
        if pid == number || is_elsewhere {
            continue;
        }
        let is_roots = fs::metadata(&process).is_ok_and(|meta| meta.uid() == 0);
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        if is_roots && is_supervisord(&words) {
            return Some(OtherProcess::Supervisord(process));
        }
        // Late starts wait for one another by a lock.
        let is_ordered = detach && has_word(&words, "--detach");
        if !is_ordered && pid < number && fs::read_link(process.join("exe")).ok() == program {
            found = Some(OtherProcess::Start);
        }
    }
    found
}

/// True for the command line of `exec_supervisord`, which follows the interpreter of the launcher.
fn is_supervisord(words: &[u8]) -> bool {
    has_word(words, SUPERVISORD) && has_word(words, CONFIGURATION)
}

fn has_word(words: &[u8], wanted: &str) -> bool {
    words.split(|&byte| byte == 0).any(|word| word == wanted.as_bytes())
}

fn read(process: &Path) -> Result<Env> {
    let path = process.join("environ");
    let bytes = fs::read(&path)
        .with_context(|| format!("supervisord runs already, and {} cannot be read", path.display()))
        .hint(|| "only root can compare settings: sudo init.sh".to_owned())?;
    Ok(variables(&bytes))
}

/// Parses the environment of a process.
pub fn variables(bytes: &[u8]) -> Env {
    let text = |bytes| OsString::from(OsStr::from_bytes(bytes));
    let pairs = bytes.split(|&byte| byte == 0).filter_map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        Some((text(&pair[..equals]), text(&pair[equals + 1..])))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Adds a process to a made-up /proc.
    fn process(processes: &Path, name: &str, namespace: &str, program: &str, words: &str) {
        let process = processes.join(name);
        fs::create_dir_all(process.join("ns")).unwrap();
        symlink(namespace, process.join("ns/mnt")).unwrap();
        symlink(program, process.join("exe")).unwrap();
        fs::write(process.join("cmdline"), words.replace(' ', "\0")).unwrap();
    }

    #[test]
    fn only_a_living_supervisord_or_an_earlier_start_of_this_container_counts() {
        let supervisord = format!("python3 -Is {SUPERVISORD} --nodaemon --configuration {CONFIGURATION}");
        let later = (std::process::id() + 1).to_string();
        for (name, namespace, program, words, found) in [
            ("1", "own", "python3", supervisord.as_str(), "supervisord"),
            (later.as_str(), "own", "python3", &supervisord, "supervisord"),
            ("1", "another", "python3", &supervisord, "nothing"),
            ("1", "own", "python3", "python3 /usr/local/bin/supervisord -c /x.conf", "nothing"),
            ("1", "own", "sleep", "sleep infinity", "nothing"),
            ("1", "own", "init", "/opt/leonardo/bin/init.sh A=1", "start"),
            (&later, "own", "init", "init.sh", "nothing"),
            ("1", "own", "init", "init.sh --detach", "start"),
            ("1", "own", "init", "init --become-supervisord", "start"),
            ("1", "another", "init", "init.sh", "nothing"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            process(dir.path(), "self", "own", "init", "init.sh");
            process(dir.path(), name, namespace, program, words);
            let expected = match found {
                "supervisord" => Some(OtherProcess::Supervisord(dir.path().join(name))),
                "start" => Some(OtherProcess::Start),
                _ => None,
            };
            assert_eq!(other(dir.path(), false), expected, "{name} {namespace} {words}");
            let is_late = words.contains("--detach");
            assert_eq!(other(dir.path(), true), if is_late { None } else { expected }, "{words}");
        }
    }

    #[test]
    fn every_byte_of_an_environment_is_read() {
        let env = variables(b"A=b=c\0N-A.M=\xff\n\0E=\0");
        let shown: Vec<_> = env.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        assert_eq!(shown, [(&b"A"[..], &b"b=c"[..]), (b"E", b""), (b"N-A.M", b"\xff\n")]);
    }
}

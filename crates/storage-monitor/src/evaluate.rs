//! Evaluates the mappings file with bash, so that its author can compute names, without privileges.
//!
//! bash gets no standard input and no environment except `PATH` and `WORKSPACE`, and runs as `nobody` if we are root. Each
//! process is limited to 10 seconds of processor time, 1 GB of memory and files of 4 MB. After five seconds the process
//! group is killed; bash is also killed if the monitor exits. The file's output is discarded; its array is printed in fields that end
//! in NUL. A file that writes to standard error or exits bash is rejected; one with a failed command, or without entries, is
//! treated as incomplete.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use kit::{HintExt, ReadPolicy, windows_text};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::mapping::{Mapping, find_line};

/// Limit of the evaluation's duration.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Limit of the file and of its output, in bytes; the same as `ulimit -f` below.
const MAX_BYTES: u64 = 4 << 20;
/// Sources the file of its only argument and prints the array, after that the first command that failed, the marker of a
/// deliberately empty map, and a last field that proves that the file was read to its end.
///
/// Failures count as with `set -e`: not in a condition, nor before `&&` and `||`. A pipeline fails if any of its commands
/// does, except by SIGPIPE (141), as before `head`.
const PROGRAM: &str = r#"
umask 022
ulimit -t 10 2>/dev/null
ulimit -v 1048576 2>/dev/null
ulimit -f 4096 2>/dev/null
exec 3>&1 1>/dev/null
declare -A storage_map=()
storage_monitor_failed=
trap 'storage_monitor_code=$? storage_monitor_line=$LINENO
    [[ $BASH_COMMAND == "source -- "* || $storage_monitor_code == 141 ]] ||
    : "${storage_monitor_failed:=line $storage_monitor_line: $BASH_COMMAND: failed with exit code $storage_monitor_code}"' ERR
set -u -o pipefail
source -- "$1"
set +eu
trap - ERR
for key in "${!storage_map[@]}"; do
    printf '%s\0%s\0' "$key" "${storage_map[$key]}" >&3
done
printf '%s\0%s\0end\0' "$storage_monitor_failed" "${storage_map_empty-}" >&3
"#;

/// A mapping, and the reason why it may lack entries that its author wants.
#[derive(Debug, PartialEq, Eq)]
pub struct Evaluated {
    pub mapping: Mapping,
    pub incomplete: Option<String>,
    /// The first command that failed.
    pub failed: Option<String>,
}

/// Evaluates the file; an error names it, and the line if known.
pub fn evaluate(file: &Path, workspace: &Path) -> Result<Evaluated> {
    let text = trusted(file)?;
    evaluate_text(file, &text, workspace).map_err(|error| match windows_text::detect(&text) {
        Some(trace) => anyhow!("{error:#} (the file has {trace}: save it as UTF-8 with line ends of Unix)"),
        None => error,
    })
}

fn evaluate_text(file: &Path, text: &[u8], workspace: &Path) -> Result<Evaluated> {
    let Some((output, error)) = run_bash(file, workspace).context("cannot evaluate the mapping")? else {
        bail!("{}: timed out after {} s", file.display(), TIME_LIMIT.as_secs());
    };
    if let Some(error) = error.lines().next() {
        bail!("{error}");
    }
    let Output { pairs, failed, may_be_empty } =
        fields(&output).ok_or_else(|| anyhow!("{}: exited before the end of the file", file.display()))?;
    let mapping = Mapping::parse(&pairs).map_err(|invalid| match find_line(text, &invalid.about) {
        Some(line) => anyhow!("{}: line {line}: {}", file.display(), invalid.message),
        None => anyhow!("{}: {}", file.display(), invalid.message),
    })?;
    let failed = (!failed.is_empty()).then(|| format!("{}: {failed}", file.display()));
    let is_empty = mapping.0.is_empty() && !may_be_empty;
    let incomplete = failed.clone().or_else(|| {
        is_empty.then(|| {
            format!("{}: storage_map is empty; set storage_map_empty=yes if this is intended", file.display())
        })
    });
    Ok(Evaluated { mapping, incomplete, failed })
}

/// Reads the file. Users who can write to it decide where root creates links, so only root, this user and
/// their groups may.
fn trusted(file: &Path) -> Result<Vec<u8>> {
    let opened = ReadPolicy::max_size(MAX_BYTES).open(file)?;
    let meta = opened.meta();
    let us = nix::unistd::geteuid().as_raw();
    let ours = meta.uid() == 0 || meta.uid() == us;
    let group = [0, nix::unistd::getegid().as_raw()].contains(&meta.gid());
    if !ours || meta.mode() & 0o002 != 0 || (meta.mode() & 0o020 != 0 && !group) {
        return Err(anyhow!("ignoring {}: users other than root can write to it", file.display()))
            .hint(|| format!("run: sudo chown root {0} && sudo chmod go-w {0}", file.display()));
    }
    Ok(opened.read()?)
}

/// Runs bash, and returns its output and its errors; `None` if it exceeded the time limit.
fn run_bash(file: &Path, workspace: &Path) -> io::Result<Option<(Vec<u8>, String)>> {
    // Files in memory: background processes would keep a pipe open.
    let stream = |name: &str| memfd_create(name, MFdFlags::MFD_CLOEXEC).map(File::from);
    let [mut output, mut error] = [stream("output")?, stream("error")?];
    let mut bash = spawn(file, workspace, &output, &error)?;
    let group = Pid::from_raw(bash.id().cast_signed());
    // Without reaping it, so that its id is not reused before its group is killed.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let ended =
        || waitid(Id::Pid(group), flags).is_ok_and(|status| status != WaitStatus::StillAlive).then_some(());
    let in_time = kit::wait::until(TIME_LIMIT, "bash", ended).is_ok();
    // Fails if nothing is left of the group.
    let _ = killpg(group, Signal::SIGKILL);
    bash.wait()?;
    if !in_time {
        return Ok(None);
    }
    let read = |stream: &mut File| {
        let mut text = Vec::new();
        stream.rewind()?;
        stream.take(MAX_BYTES).read_to_end(&mut text)?;
        Ok::<_, io::Error>(text)
    };
    Ok(Some((read(&mut output)?, String::from_utf8_lossy(&read(&mut error)?).trim().to_owned())))
}

fn spawn(file: &Path, workspace: &Path, output: &File, error: &File) -> io::Result<Child> {
    let bash = || {
        let mut command = kit::cmd::killed_with_parent("/bin/bash");
        command.args(["--noprofile", "--norc", "-c", PROGRAM, "bash"]).arg(file);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("WORKSPACE", workspace);
        command.current_dir("/").process_group(0).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(error.try_clone()?);
        Ok::<_, io::Error>(command)
    };
    if nix::unistd::geteuid().is_root() {
        // With a user id, the standard library drops the supplementary groups too.
        match bash()?.gid(workspace::NOBODY).uid(workspace::NOBODY).spawn() {
            // A user namespace may have no other user than root.
            Err(error) if [Some(libc::EINVAL), Some(libc::EPERM)].contains(&error.raw_os_error()) => {}
            child => return child,
        }
    }
    bash()?.spawn()
}

/// Result that bash printed.
#[derive(Debug, PartialEq, Eq)]
struct Output {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The first command that failed; empty if none did.
    failed: String,
    may_be_empty: bool,
}

/// Parses the output; `None` if its last field is missing.
fn fields(output: &[u8]) -> Option<Output> {
    let mut fields: Vec<&[u8]> = output.split(|byte| *byte == 0).collect();
    if fields.pop() != Some(b"") || fields.pop() != Some(b"end") {
        return None;
    }
    let may_be_empty = fields.pop()? == b"yes";
    let failed = String::from_utf8_lossy(fields.pop()?).into_owned();
    let (pairs, rest) = fields.as_chunks::<2>();
    let pairs = pairs.iter().map(|[key, value]| (key.to_vec(), value.to_vec())).collect();
    rest.is_empty().then_some(Output { pairs, failed, may_be_empty })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_evaluated() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::File::create(at("sparse")).unwrap().set_len(40 << 30).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        for (name, refusal) in [
            ("fifo", "it is a FIFO, not a regular file"),
            ("sparse", "it is larger than 4.2 MB"),
            ("dangling", "it is a symbolic link to a file that does not exist"),
            ("", "it is a directory, not a regular file"),
        ] {
            let error = evaluate(&at(name), Path::new("/workspace")).unwrap_err().to_string();
            assert_eq!(error, format!("cannot read {}: {refusal}", at(name).display()));
        }
    }

    #[test]
    fn fields_are_pairs_with_an_end() {
        let pairs = vec![(b"key\n".to_vec(), Vec::new())];
        let output =
            |pairs, failed: &str, may_be_empty| Some(Output { pairs, failed: failed.into(), may_be_empty });
        assert_eq!(fields(b"key\n\0\0line 1\0\0end\0"), output(pairs, "line 1", false));
        assert_eq!(fields(b"\0yes\0end\0"), output(Vec::new(), "", true));
        for torn in [&b""[..], b"end\0", b"key\0value\0\0\0", b"key\0\0\0end\0", b"key\0value\0\0\0end"] {
            assert_eq!(fields(torn), None);
        }
    }
}

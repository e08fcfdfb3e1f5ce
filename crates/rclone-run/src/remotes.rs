//! Names of the configured remotes.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kit::{cmd, wait};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::fs::{MemfdFlags, memfd_create};

/// Time limit for rclone to print its remotes. It contacts no server, but may run a command for the file's password.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum number of mounts: each is a process.
const MAX_REMOTES: usize = 32;
const MAX_NAME_BYTES: usize = 64;
const MAX_OUTPUT: u64 = 1 << 20;

/// Remotes that are mounted, and those that are not.
#[derive(Debug, PartialEq, Eq)]
pub struct Remotes {
    /// Names of the remotes to mount, which are names of directories too.
    pub names: Vec<String>,
    /// The reasons why others are not mounted.
    pub refused: Vec<String>,
}

/// Asks rclone for its remotes, those of variables too; fails early if `is_stopping` becomes true.
pub fn list(mut rclone: Command, is_stopping: impl Fn() -> bool) -> Result<Remotes> {
    // Without the time, equal reasons are equal texts.
    let text = output(rclone.args(["listremotes", "--log-format="]), is_stopping)?;
    Ok(select(&text))
}

/// Returns stdout of a program under a time limit. Files in memory need neither a disk nor a reader.
fn output(command: &mut Command, is_stopping: impl Fn() -> bool) -> Result<String> {
    let name = cmd::describe(command);
    let memory = || memfd_create("rclone", MemfdFlags::CLOEXEC).map(File::from);
    let (mut stdout, mut stderr) = (memory()?, memory()?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let mut child = command.process_group(0).spawn().with_context(|| format!("cannot run {name}"))?;
    let exited = wait::until(TIMEOUT, "rclone listremotes", || {
        if is_stopping() {
            Some(Ok(None))
        } else {
            child.try_wait().map(|status| status.map(Some)).transpose()
        }
    });
    let status = match exited {
        Ok(Ok(Some(status))) => status,
        unfinished => {
            // The command for the password too.
            killpg(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGKILL)
                .map_err(Into::into)
                .and_then(|()| child.wait())
                .with_context(|| format!("cannot stop {name}"))?;
            unfinished??;
            bail!("rclone listremotes was stopped");
        }
    };
    if !status.success() {
        bail!("rclone listremotes failed ({status}): {}", read(&mut stderr)?.trim());
    }
    read(&mut stdout)
}

fn read(file: &mut File) -> Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Selects the remotes to mount from the output of `rclone listremotes`.
fn select(text: &str) -> Remotes {
    let listed = text.lines().filter_map(|line| line.strip_suffix(':'));
    let (mut names, bad): (Vec<_>, Vec<_>) = listed.map(str::to_owned).partition(|name| is_mountable(name));
    let mut refused = Vec::new();
    if let Some(first) = bad.first() {
        refused.push(format!(
            "{} of the remotes are not mounted, among them {first:?}: a name consists of letters, digits, \
             \"_-.+@\" and blanks, at most {MAX_NAME_BYTES} bytes, and begins with a letter or digit or \"_\"",
            bad.len()
        ));
    }
    if names.len() > MAX_REMOTES {
        refused.push(format!("{} remotes are configured; the first {MAX_REMOTES} are mounted", names.len()));
        names.truncate(MAX_REMOTES);
    }
    Remotes { names, refused }
}

/// True if a name follows rclone's rules (rclone.org/docs, "Valid remote names") and can be that of a directory which
/// is not hidden.
fn is_mountable(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|first: char| first.is_alphanumeric() || first == '_')
        && name.chars().all(|char| char.is_alphanumeric() || "_-.+@ ".contains(char))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn names_become_directories_or_are_refused() {
        let long = "x".repeat(65);
        let text = format!(
            "my remote:\na:b:\n../x:\na/b:\n.hidden:\n-x:\n\u{e9}.1@home:\n:local:\n{long}:\nx\u{1}:\nnoise\n"
        );
        let remotes = select(&text);
        assert_eq!(remotes.names, ["my remote", "\u{e9}.1@home"]);
        assert_eq!(remotes.refused.len(), 1);
        assert!(
            remotes.refused[0].starts_with("8 of the remotes are not mounted, among them \"a:b\": "),
            "{remotes:?}"
        );
        assert_eq!(select(""), Remotes { names: vec![], refused: vec![] });
        let many = (0..10_000).map(|number| format!("r{number}:")).collect::<Vec<_>>().join("\n");
        let remotes = select(&many);
        assert_eq!((remotes.names.len(), remotes.names[31].as_str()), (MAX_REMOTES, "r31"));
        assert_eq!(remotes.refused, ["10000 remotes are configured; the first 32 are mounted"]);
    }

    #[test]
    fn rclone_is_asked_without_input_and_its_reason_is_kept() {
        let never = || false;
        assert_eq!(output(&mut shell("cat; echo $0; echo x >&2"), never).unwrap(), "sh\n");
        let error = output(&mut shell("echo wrong password >&2; exit 1"), never).unwrap_err();
        assert_eq!(error.to_string(), "rclone listremotes failed (exit status: 1): wrong password");
        let error = output(&mut shell("exec sleep infinity"), || true).unwrap_err();
        assert_eq!(error.to_string(), "rclone listremotes was stopped");
        assert!(output(&mut Command::new("/no/such/rclone"), never).is_err());
    }
}

//! One preflight hook: sourced by a bash of its own, which reports its exported variables and its last line at its end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result};
use kit::{Env, ReadPolicy, cmd, windows_text};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::{shutdown, stage_process};

/// By its path: a hook may export a `PATH` with a different bash in front.
const BASH: &str = "/bin/bash";

/// Maximum size of a hook in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Script that bash runs, with the hook as `$0`, the file for the answer as `$1`, the id of the waiting process as
/// `$2`, and the path of the hook's text as `$3`.
///
/// The answer is written when the shell exits, so that a hook may `exit`. The DEBUG trap records the line. It also
/// notices an EXIT trap of the hook and chains it after ours. Not a function: a function would run the hook's
/// RETURN trap at its end.
const SOURCE: &str = r#"
leonardo_answer=$1
# Boot may have died before its death could be a signal here.
[[ $PPID == "$2" ]] || exit
leonardo_text=$3
shift 3
leonardo_line= leonardo_trapped= leonardo_own=()
leonardo_end() {
    leonardo_status=$?
    set +e
    builtin trap - DEBUG RETURN
    {
        builtin printf '%s\0' "$leonardo_line"
        /usr/bin/env -0 && builtin printf 'complete\0'
    } >| "$leonardo_answer"
    return "$leonardo_status"
}
trap leonardo_end EXIT
set -o functrace
trap '[[ "${BASH_SOURCE[0]-}" != "$leonardo_text" ]] || leonardo_line=$LINENO
if [[ -n $leonardo_trapped && $BASHPID == "$$" ]]; then
    leonardo_trapped=
    eval "leonardo_own=($(builtin trap -p EXIT))"
    if [[ "${leonardo_own[2]-}" != leonardo_end* ]]; then
        leonardo_then=${leonardo_own[2]-}
        builtin trap "leonardo_end; eval \"\$leonardo_then\"" EXIT
    fi
fi
[[ $BASH_COMMAND != *trap\ * ]] || leonardo_trapped=1' DEBUG
. "$leonardo_text"
exit
"#;
/// Prefix of the names that the script above uses.
const RESERVED_PREFIX: &str = "leonardo_";
/// Last field of a complete answer.
const COMPLETE: &[u8] = b"complete\0";

/// Result of a hook.
#[derive(Debug, PartialEq, Eq)]
pub struct HookResult {
    /// Exported variables, if the hook got far enough to report them.
    pub exports: Vec<(OsString, OsString)>,
    /// Cause of its failure, if it failed.
    pub failure: Option<String>,
}

/// Runs a hook with `env` as its whole environment; its output is appended to `log`.
///
/// A hook that bash cannot parse is not started. If it has Windows line ends or a byte order mark, bash reads a copy
/// without them.
pub fn run(path: &Path, env: &Env, log: &Path) -> Result<HookResult> {
    let bytes = ReadPolicy::max_size(MAX_BYTES).read(path)?;
    let (bytes, mended) = windows_text::normalize(&bytes);
    let is_mended = mended.mark || mended.line_ends > 0;
    let mut copy = memory_file()?;
    let text = if is_mended { proc_path(&copy) } else { path.to_owned() };
    copy.write_all(&bytes).context("cannot copy a hook")?;
    let syntax_problem = if windows_text::is_utf16(&bytes) {
        Some("it is UTF-16; save it as UTF-8".to_owned())
    } else {
        syntax_error(&text)?
    };
    if syntax_problem.is_some() {
        return Ok(HookResult { exports: Vec::new(), failure: syntax_problem });
    }
    let mut answer = memory_file()?;
    let mut output = stage_process::open_log(log)?;
    if is_mended {
        // The hook runs even if the disk is full.
        let _ = writeln!(output, "{}: {mended}", path.display());
    }
    let diagnostics = output.try_clone().context("cannot duplicate a file descriptor")?;
    // A kill of boot kills its hook too: two runs of one hook must not overlap.
    let mut command = Command::new(cmd::SETPRIV);
    command
        .args(["--pdeathsig", "KILL", "--", BASH, "--noprofile", "--norc", "-c", SOURCE])
        .arg(path)
        .arg(proc_path(&answer))
        .arg(process::id().to_string())
        .arg(text)
        .env_clear()
        .envs(env.iter())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(diagnostics);
    let status = shutdown::spawn(&mut command)
        .and_then(|mut shell| shell.wait())
        .with_context(|| format!("cannot run {}", cmd::describe(&command)))?;
    let mut bytes_read = Vec::new();
    answer.read_to_end(&mut bytes_read).context("cannot read a hook's answer")?;
    Ok(parse_answer(status, &bytes_read))
}

/// Returns why a hook would not be started; does not run it.
pub fn parse_problem(path: &Path) -> Result<Option<String>> {
    let bytes = ReadPolicy::max_size(MAX_BYTES).read(path)?;
    let (bytes, _) = windows_text::normalize(&bytes);
    let mut copy = memory_file()?;
    copy.write_all(&bytes).context("cannot copy a hook")?;
    if windows_text::is_utf16(&bytes) {
        return Ok(Some("it is UTF-16; save it as UTF-8".to_owned()));
    }
    syntax_error(&proc_path(&copy))
}

/// Returns a file in memory: the variables include secrets, and a full disk must not truncate them.
fn memory_file() -> Result<File> {
    Ok(memfd_create("hook", MFdFlags::MFD_CLOEXEC).context("cannot create a file in memory")?.into())
}

/// Returns the path under which another process can open an open file of this one.
fn proc_path(file: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()).into()
}

/// Returns the syntax error of a hook as bash reports it: line and reason.
fn syntax_error(path: &Path) -> Result<Option<String>> {
    let parse = |options: &[&str]| -> Result<Output> {
        let mut command = Command::new(BASH);
        command.args(["--noprofile", "--norc", "-n"]).args(options).arg(path);
        command.env("LC_ALL", "C").stdin(Stdio::null());
        command.output().with_context(|| format!("cannot run {}", cmd::describe(&command)))
    };
    let output = parse(&[])?;
    // Only a bash with extglob can parse hooks that enable it.
    if output.status.success() || parse(&["-O", "extglob"])?.status.success() {
        return Ok(None);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let first = stderr.lines().next().unwrap_or("syntax error");
    // Callers print the name before the cause.
    let first = first.strip_prefix(&format!("{}: ", path.display())).unwrap_or(first);
    Ok(Some(first.to_owned()))
}

/// Parses a hook's answer: the line, the variables and the end mark, each followed by a zero byte.
fn parse_answer(status: ExitStatus, answer: &[u8]) -> HookResult {
    let (line, variables) = match answer.iter().position(|&byte| byte == 0) {
        Some(end) => (String::from_utf8_lossy(&answer[..end]).into_owned(), &answer[end + 1..]),
        // The hook killed or replaced its shell.
        None => (String::new(), answer),
    };
    let all = variables.strip_suffix(COMPLETE);
    let exports = all.unwrap_or_default().split(|&byte| byte == 0).filter_map(assignment).collect();
    let failure = if !status.success() {
        let how = stage_process::describe_exit("the hook", status);
        Some(if line.is_empty() { how } else { format!("line {line}: {how}") })
    } else if all.is_none() && !answer.is_empty() {
        Some("its exported variables cannot be read; they may be too large".to_owned())
    } else {
        None
    };
    HookResult { exports, failure }
}

fn assignment(field: &[u8]) -> Option<(OsString, OsString)> {
    let equals = field.iter().position(|&byte| byte == b'=')?;
    let name = OsStr::from_bytes(&field[..equals]);
    let ours = name.as_bytes().starts_with(RESERVED_PREFIX.as_bytes());
    (!ours).then(|| (name.to_owned(), OsString::from_vec(field[equals + 1..].to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::process::ExitStatusExt;

    fn hook(text: &str) -> (HookResult, String) {
        let dir = tempfile::tempdir().unwrap();
        let (path, log) = (dir.path().join("10 hook's.sh"), dir.path().join("log"));
        fs::write(&path, text).unwrap();
        let env: Env = [("PATH", env!("PATH")), ("GIVEN", "1")].into_iter().collect();
        let ended = run(&path, &env, &log).unwrap();
        (ended, fs::read_to_string(log).unwrap_or_default())
    }

    fn exported(ended: &HookResult, name: &str) -> Option<String> {
        let value = ended.exports.iter().find(|(found, _)| found == name);
        value.map(|(_, value)| value.to_string_lossy().into_owned())
    }

    #[test]
    fn what_is_exported_comes_back_byte_for_byte() {
        let (ended, log) =
            hook("export MORE=$'a\\nb \\'\"$GIVEN'\nLOCAL=1\nset -a\nLATE=2\necho said\necho bad >&2\n");
        assert_eq!(ended.failure, None);
        assert_eq!(exported(&ended, "MORE").as_deref(), Some("a\nb '\"$GIVEN"));
        assert_eq!(exported(&ended, "LATE").as_deref(), Some("2"));
        assert_eq!(exported(&ended, "LOCAL"), None);
        assert_eq!(exported(&ended, "leonardo_line"), None, "our own names are not the hook's");
        assert_eq!(log, "said\nbad\n");
    }

    #[test]
    fn a_failure_has_its_line_whichever_way_the_hook_ends() {
        let failure = |text: &str| hook(text).0.failure;
        assert_eq!(
            failure("export A=1\n\nfalse\n").as_deref(),
            Some("line 3: the hook failed with exit code 1")
        );
        assert_eq!(
            failure("f() {\n  return 4\n}\nset -e\nf\ntrue\n").as_deref(),
            Some("line 2: the hook failed with exit code 4")
        );
        assert_eq!(failure("true\nexit 3\n").as_deref(), Some("line 2: the hook failed with exit code 3"));
        assert_eq!(
            failure("true\nset -u\necho $NOTHING\n").as_deref(),
            Some("line 3: the hook failed with exit code 127"),
            "bash's own code for it"
        );
        assert_eq!(failure("kill -9 $$\n").as_deref(), Some("the hook was terminated by signal 9"));
        assert_eq!(failure("exec false\n").as_deref(), Some("the hook failed with exit code 1"));
        assert_eq!(failure("false || true\n"), None);
    }

    #[test]
    fn a_hook_that_exits_keeps_its_exports() {
        let (ended, _) = hook("export A=1\nexit 0\n");
        assert_eq!((exported(&ended, "A").as_deref(), ended.failure), (Some("1"), None));
    }

    #[test]
    fn a_hook_that_cannot_be_parsed_is_not_begun() {
        let (ended, log) = hook("echo begun\nif true; then\n");
        let failure = ended.failure.unwrap();
        assert!(failure.starts_with("line ") && failure.contains("syntax error"), "{failure}");
        assert_eq!(log, "");
    }

    #[test]
    fn what_windows_leaves_in_a_hook_is_fixed_and_reported() {
        let (ended, log) =
            hook("\u{feff}#!/bin/bash\r\nif true; then\r\nexport A=4 ZERO=$0\r\nfi\r\nfalse\r\n");
        assert_eq!(exported(&ended, "A").as_deref(), Some("4"));
        assert!(exported(&ended, "ZERO").unwrap().ends_with("/10 hook's.sh"), "{ended:?}");
        assert_eq!(ended.failure.as_deref(), Some("line 5: the hook failed with exit code 1"));
        let mended = "mended: a byte order mark was removed, and 5 line ends of Windows were changed\n";
        assert!(log.ends_with(&format!("/10 hook's.sh: {mended}")), "{log}");
        let (ended, log) = hook("true\r\nif\r\n");
        assert_eq!(ended.failure.as_deref(), Some("line 3: syntax error: unexpected end of file"));
        assert_eq!(log, "", "a hook that is not begun has no output");
        let (ended, _) = hook("e\0x\0p\0o\0r\0t\0 \0A\0=\0b\0\n\0");
        assert_eq!(ended.failure.as_deref(), Some("it is UTF-16; save it as UTF-8"));
    }

    #[test]
    fn a_trap_of_its_own_neither_takes_the_exports_nor_is_lost() {
        for (end, failure) in [("true", None), ("false", Some("line 5: the hook failed with exit code 1"))] {
            let text = format!(
                "set -euo pipefail\ntrap 'echo own $?' EXIT\nexport A=1\n(trap 'echo inner' EXIT)\n{end}\n"
            );
            let (ended, log) = hook(&text);
            assert_eq!((exported(&ended, "A").as_deref(), ended.failure.as_deref()), (Some("1"), failure));
            assert_eq!(log, format!("inner\nown {}\n", u8::from(failure.is_some())));
        }
        let (ended, log) =
            hook("f() { trap 'echo returned' RETURN; echo in; }\nf\ntrap - RETURN\nexport A=1\n");
        assert_eq!((exported(&ended, "A").as_deref(), log.as_str()), (Some("1"), "in\nreturned\n"));
    }

    #[test]
    fn names_of_a_hook_do_not_stand_in_for_what_the_answer_needs() {
        let (ended, _) = hook("printf() { :; }\nset -C\nexport A=1 PATH=/nonexistent\nreturn 4\n");
        assert_eq!(exported(&ended, "A").as_deref(), Some("1"));
        assert_eq!(ended.failure.as_deref(), Some("line 4: the hook failed with exit code 4"));
    }

    #[test]
    fn a_hook_finds_its_shell_whatever_the_path_is_that_it_gets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook.sh");
        fs::write(&path, "export A=1\n").unwrap();
        let env: Env = [("PATH", "/nonexistent"), ("TMPDIR", "/nonexistent")].into_iter().collect();
        let ended = run(&path, &env, &dir.path().join("log")).unwrap();
        assert_eq!((exported(&ended, "A").as_deref(), ended.failure), (Some("1"), None));
    }

    #[test]
    fn patterns_that_a_hook_turns_on_are_no_mistake() {
        let (ended, _) =
            hook("shopt -s extglob\nx=ab\nexport A=${x#!(b)}\ncase a in !(b)) export B=1 ;; esac\n");
        assert_eq!((exported(&ended, "B").as_deref(), ended.failure), (Some("1"), None));
    }

    #[test]
    fn incomplete_exports_are_a_failure_and_not_used() {
        let lost = Some("its exported variables cannot be read; they may be too large".to_owned());
        let (ended, _) = hook("export A=1\ndeclare -x B=$(head -c 200000 /dev/zero | tr '\\0' x)\n");
        assert_eq!((exported(&ended, "A"), ended.failure), (None, lost.clone()));
        let torn = HookResult { exports: Vec::new(), failure: lost };
        assert_eq!(parse_answer(ExitStatus::from_raw(0), b"1\0A=tru"), torn);
    }

    #[test]
    fn a_hook_whose_boot_has_died_is_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        let (path, begun) = (dir.path().join("hook.sh"), dir.path().join("begun"));
        fs::write(&path, "echo > \"$0\".begun\nexport A=1\n").unwrap();
        let other = (process::id() + 1).to_string();
        let shell =
            Command::new(BASH).args(["-c", SOURCE]).args([&path, &begun]).arg(other).arg(&path).status();
        assert_eq!(shell.unwrap().code(), Some(1));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "there is nothing but the hook");
    }

    #[test]
    fn a_child_that_goes_on_is_not_waited_for() {
        let (ended, log) = hook("sleep 300 &\necho $!\n");
        assert_eq!(ended.failure, None);
        let child = nix::unistd::Pid::from_raw(log.trim().parse().unwrap());
        nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).expect("it is still there");
    }
}

//! One preflight hook: sourced by a bash of its own, which says at its end what is exported and where it was.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use kit::{Env, cmd};

use crate::child;

/// What bash runs, with the hook as `$0` and the file for its answer as `$1`.
///
/// The answer is written when the shell ends, so that a hook may `exit`; the trap on every command knows the line.
const SOURCE: &str = r#"
leonardo_answer=$1
leonardo_line=
shift
leonardo_end() {
    leonardo_status=$?
    trap - DEBUG
    { printf '%s\0%s\0' "$leonardo_status" "$leonardo_line"; /usr/bin/env -0; } > "$leonardo_answer"
}
trap leonardo_end EXIT
set -o functrace
trap '[[ "${BASH_SOURCE[0]-}" != "$0" ]] || leonardo_line=$LINENO' DEBUG
. "$0"
"#;
/// Names that only the lines above use.
const OURS: &str = "leonardo_";

/// How a hook ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// What it exported, if it came so far as to say it.
    pub exports: Vec<(OsString, OsString)>,
    /// Why it failed, unless it went well.
    pub failure: Option<String>,
}

/// Runs a hook to its end with `env` and nothing else; its output goes to the end of `log`.
///
/// A hook that bash cannot parse is not begun at all.
pub fn run(path: &Path, env: &Env, log: &Path) -> Result<Ended> {
    if let Some(failure) = misspelt(path)? {
        return Ok(Ended { exports: Vec::new(), failure: Some(failure) });
    }
    let scratch = tempfile::tempdir().context("cannot make a directory for a hook's answer")?;
    let answer = scratch.path().join("answer");
    let output = child::append_to(log)?;
    let diagnostics = output.try_clone().context("cannot duplicate a descriptor")?;
    // Whoever kills boot has killed its hook too: two of one kind must not run at the same time.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", "bash", "--noprofile", "--norc", "-c", SOURCE])
        .arg(path)
        .arg(&answer)
        .env_clear()
        .envs(env.iter())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(diagnostics);
    let status = command.status().with_context(|| format!("cannot run {}", cmd::describe(&command)))?;
    // Without an answer, the hook has killed or replaced its shell.
    let answer = fs::read(&answer).unwrap_or_default();
    Ok(judge(status, &answer))
}

/// What bash says about a hook that it cannot parse: file, line and reason.
fn misspelt(path: &Path) -> Result<Option<String>> {
    let mut command = Command::new("bash");
    command.args(["--noprofile", "--norc", "-n"]).arg(path).env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run {}", cmd::describe(&command)))?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("bash cannot read it");
    // The name stands before the cause anyway.
    let first = first.strip_prefix(&format!("{}: ", path.display())).unwrap_or(first);
    Ok(Some(first.to_owned()))
}

/// Reads a hook's answer: status and line, then the variables, each followed by a zero byte.
fn judge(status: ExitStatus, answer: &[u8]) -> Ended {
    let mut fields = answer.split(|&byte| byte == 0);
    let _status = fields.next();
    let line = fields.next().map(String::from_utf8_lossy).filter(|line| !line.is_empty());
    let exports = fields.filter_map(assignment).collect();
    let failure = (!status.success()).then(|| {
        let how = child::in_words("it", status);
        line.map_or(how.clone(), |line| format!("line {line}: {how}"))
    });
    Ended { exports, failure }
}

fn assignment(field: &[u8]) -> Option<(OsString, OsString)> {
    let equals = field.iter().position(|&byte| byte == b'=')?;
    let name = OsStr::from_bytes(&field[..equals]);
    let ours = name.as_bytes().starts_with(OURS.as_bytes());
    (!ours).then(|| (name.to_owned(), OsString::from_vec(field[equals + 1..].to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(text: &str) -> (Ended, String) {
        let dir = tempfile::tempdir().unwrap();
        let (path, log) = (dir.path().join("10 hook's.sh"), dir.path().join("log"));
        fs::write(&path, text).unwrap();
        let env: Env = [("PATH", env!("PATH")), ("GIVEN", "1")].into_iter().collect();
        let ended = run(&path, &env, &log).unwrap();
        (ended, fs::read_to_string(log).unwrap_or_default())
    }

    fn exported(ended: &Ended, name: &str) -> Option<String> {
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
        assert_eq!(failure("export A=1\n\nfalse\n").as_deref(), Some("line 3: it ended with exit code 1"));
        assert_eq!(
            failure("f() {\n  return 4\n}\nset -e\nf\ntrue\n").as_deref(),
            Some("line 2: it ended with exit code 4")
        );
        assert_eq!(failure("true\nexit 3\n").as_deref(), Some("line 2: it ended with exit code 3"));
        assert_eq!(
            failure("true\nset -u\necho $NOTHING\n").as_deref(),
            Some("line 3: it ended with exit code 127"),
            "bash's own code for it"
        );
        assert_eq!(failure("kill -9 $$\n").as_deref(), Some("it was ended by signal 9"));
        assert_eq!(failure("exec false\n").as_deref(), Some("it ended with exit code 1"));
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
    fn a_child_that_goes_on_is_not_waited_for() {
        let (ended, _) = hook("sleep 300 &\necho $! > \"$0.pid\"\nkill $!\n");
        assert_eq!(ended.failure, None);
    }
}

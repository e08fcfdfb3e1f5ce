//! The only way to run other programs: arguments as a list, never a shell line, and errors that name the command.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::{Exit, exec_limit, process_limit};

/// Bytes of a failed program's stderr that an error repeats.
const MAX_STDERR_BYTES: usize = 2_000;

/// Returns the path of a program of the image, which is beside the running one or beside supervisord: `PATH` may
/// contain other programs first.
#[must_use]
pub fn image_program(name: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(name)));
    beside.filter(|path| path.exists()).unwrap_or_else(|| Path::new("/usr/local/bin").join(name))
}

/// By its path: a hook may change the `PATH`.
pub const SETPRIV: &str = "/usr/bin/setpriv";

/// Returns a command that is killed when the thread that starts it exits, and so when this process is killed.
pub fn killed_with_parent(tool: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(SETPRIV);
    // This process may be dead before the signal is set up.
    command.args(["--pdeathsig", "KILL", "--", "/bin/sh", "-c", r#"[ "$PPID" = "$0" ] && exec "$@""#]);
    command.arg(process::id().to_string()).arg(tool).env_remove(exec_limit::SH_RESERVED);
    command
}

/// Runs a program; an error names its arguments, its status and the end of its stderr.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a program and returns its stdout as text.
pub fn stdout(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    text(command, output)
}

fn text(command: &Command, output: Output) -> Result<String> {
    String::from_utf8(output.stdout)
        .with_context(|| format!("the output of {} is not UTF-8", describe(command)))
}

/// Runs a program with `input` on its stdin; secrets are passed this way, because arguments are visible to every
/// process.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Result<()> {
    output_with_input(command, input).map(drop)
}

/// Like [`run_with_input`], and returns its stdout as text; the program must read its input before it writes much.
pub fn stdout_with_input(command: &mut Command, input: &[u8]) -> Result<String> {
    let output = output_with_input(command, input)?;
    text(command, output)
}

fn output_with_input(command: &mut Command, input: &[u8]) -> Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(process_limit::explain);
    let mut child = child.with_context(|| format!("cannot run {}", describe(command)))?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input) {
            // A program that exits without reading its input explains why on stderr, which is the better message.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(error).with_context(|| format!("cannot write to {}", describe(command)));
            }
            _ => {}
        }
    }
    let output =
        child.wait_with_output().with_context(|| format!("cannot wait for {}", describe(command)))?;
    check(command, output)
}

/// Replaces this process by a program; returns only on failure, with a shell's exit code for it.
pub fn exec(command: &mut Command) -> Exit {
    let error = command.exec();
    log::error!("cannot run {}: {error}", command.get_program().to_string_lossy());
    Exit::Code(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

fn output(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().map_err(process_limit::explain);
    let output = output.with_context(|| format!("cannot run {}", describe(command)))?;
    check(command, output)
}

fn check(command: &Command, output: Output) -> Result<Output> {
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    match tail(stderr.trim()) {
        "" => bail!("{} failed ({})", describe(command), output.status),
        text => bail!("{} failed ({}): {text}", describe(command), output.status),
    }
}

/// Formats program and arguments for error messages.
#[must_use]
pub fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("{:?}", word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(MAX_STDERR_BYTES);
    let start = (start..text.len()).find(|&index| text.is_char_boundary(index)).unwrap_or(text.len());
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_ours_is_no_matter_of_the_path() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(image_program(own.file_name().unwrap().to_str().unwrap()), own);
        assert_eq!(image_program("true"), Path::new("/usr/local/bin/true"));
    }

    #[test]
    fn a_failure_names_arguments_status_and_stderr() {
        let error = run(Command::new("sh").args(["-c", "echo no such process >&2; exit 7"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"sh\" \"-c\" \"echo no such process >&2; exit 7\" failed (exit status: 7): no such process"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("/no/such/program")).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "cannot run \"/no/such/program\": No such file or directory (os error 2)"
        );
    }

    #[test]
    fn input_reaches_the_program_and_a_program_that_ignores_it_is_fine() {
        run_with_input(Command::new("sh").args(["-c", "test \"$(cat)\" = secret"]), b"secret").unwrap();
        run_with_input(&mut Command::new("true"), &vec![b'x'; 1 << 20]).unwrap();
        assert_eq!(stdout_with_input(&mut Command::new("cat"), b"abc").unwrap(), "abc");
    }

    #[test]
    fn a_long_stderr_is_cut_at_a_character() {
        let text = "é".repeat(MAX_STDERR_BYTES);
        assert!(tail(&text).len() <= MAX_STDERR_BYTES);
    }

    #[test]
    fn a_bound_tool_ends_with_what_started_it() {
        let start = || {
            let mut command = killed_with_parent("sh");
            command.args(["-c", "echo; exec sleep infinity"]);
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            // The first byte shows that it has started.
            io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
            child
        };
        let mut orphan = std::thread::scope(|scope| scope.spawn(start).join().unwrap());
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&orphan.wait().unwrap()), Some(9));
        let mut echo = killed_with_parent("sh");
        assert_eq!(
            echo.get_envs().collect::<Vec<_>>(),
            [(OsStr::new("OPTIND"), None)],
            "sh may not start with it"
        );
        let output = echo.args(["-c", "echo $PPID $1; exit 3", "sh", "a b"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), text), (Some(3), format!("{} a b\n", process::id())));
    }
}

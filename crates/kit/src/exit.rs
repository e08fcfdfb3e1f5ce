//! Exit codes and the one place where an error is printed.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};

use crate::logging::{is_prefixed, prefixed};

/// Result of a tool that needs no error message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do: 0.
    Done,
    /// A well-formed question was answered with "no": 1.
    No,
    /// The exit code of a program that the tool ran on the caller's behalf.
    Code(u8),
}

/// Result of a tool's `run`.
pub type Outcome = anyhow::Result<Exit>;

impl From<ExitStatus> for Exit {
    /// Returns a child's exit code, or `128 + n` if signal `n` terminated it.
    fn from(status: ExitStatus) -> Self {
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
        match u8::try_from(code).unwrap_or(1) {
            0 => Self::Done,
            code => Self::Code(code),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::No => Self::from(1),
            Exit::Code(code) => Self::from(code),
        }
    }
}

/// A usage error of the caller: exit code 2.
#[derive(Debug)]
pub struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// An error with a hint for the next step.
#[derive(Debug)]
struct Hinted {
    error: anyhow::Error,
    hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#}", self.error)
    }
}

impl std::error::Error for Hinted {}

/// Adds a hint to an error, printed on its own line as `hint: …`.
pub trait HintExt<T> {
    /// Attaches `hint`, which is only evaluated for an error.
    fn hint(self, hint: impl FnOnce() -> String) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> HintExt<T> for Result<T, E> {
    fn hint(self, hint: impl FnOnce() -> String) -> anyhow::Result<T> {
        self.map_err(|error| with_hint(error.into(), hint()))
    }
}

/// Returns `error` with a hint attached; for callers without a `Result`, see [`HintExt`].
#[must_use]
pub fn with_hint(error: anyhow::Error, hint: String) -> anyhow::Error {
    anyhow::Error::new(Hinted { error, hint })
}

/// Returns the hint attached to an error, for callers that pass the error on.
#[must_use]
pub fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| cause.downcast_ref::<Hinted>()).map(|hinted| hinted.hint.clone())
}

/// Runs a tool and returns its exit code; prints an error exactly once.
///
/// Usage errors exit with 2, a closed stdout counts as success, all other errors exit with 1. The message starts with
/// the name under which the tool was called.
pub fn main(run: fn() -> Outcome) -> ExitCode {
    match run() {
        Ok(exit) => exit.into(),
        Err(error) => report(&called_name(), &error),
    }
}

/// Returns the name under which this tool was called, without the `.sh` of a link to it.
#[must_use]
pub fn called_name() -> String {
    tool_name(std::env::args_os().next().as_ref())
}

fn tool_name(argv0: Option<&OsString>) -> String {
    let name = argv0.and_then(|path| Path::new(path).file_name()).map(|name| name.to_string_lossy());
    name.map_or_else(|| "leonardo".to_owned(), |name| name.strip_suffix(".sh").unwrap_or(&name).to_owned())
}

fn report(tool: &str, error: &anyhow::Error) -> ExitCode {
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        // Help and version go to stdout with 0, everything else to stderr with 2; clap knows which.
        let printed = if is_prefixed() && usage.use_stderr() {
            io::stderr().write_all(prefixed(tool, &usage.render().to_string()).as_bytes())
        } else {
            usage.print()
        };
        return match (usage.exit_code(), printed) {
            (0, _) => ExitCode::SUCCESS,
            _ => ExitCode::from(2),
        };
    }
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    // If stderr is closed, there is no other place to report to.
    let _ = io::stderr().write_all(prefixed(tool, &render(error)).as_bytes());
    if error.chain().any(is_usage) { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// Formats an error for the user: `what: why`, and the hints below it.
fn render(error: &anyhow::Error) -> String {
    let mut text = format!("{error:#}");
    for cause in error.chain() {
        let mut next = cause.downcast_ref::<Hinted>();
        while let Some(hinted) = next {
            text.extend(["\nhint: ", &hinted.hint]);
            next = hinted.error.downcast_ref::<Hinted>();
        }
    }
    text
}

/// True for a usage error, also with a hint.
fn is_usage(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<UsageError>()
        || cause.downcast_ref::<Hinted>().is_some_and(|hinted| hinted.error.chain().any(is_usage))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_hint_is_found_below_what_was_added_to_an_error() {
        let hinted: anyhow::Result<()> = Err(anyhow::anyhow!("no")).hint(|| "try this".to_owned());
        let error = hinted.map_err(|error| error.context("while working")).unwrap_err();
        assert_eq!(hint(&error), Some("try this".to_owned()));
        assert_eq!(hint(&anyhow::anyhow!("no")), None);
    }

    #[test]
    fn an_error_is_one_line_and_its_hint_another() {
        let failed: anyhow::Result<()> = Err(io::Error::from_raw_os_error(13)).context("cannot write /run/x");
        let error = failed.hint(|| "run it as root".to_owned()).unwrap_err();
        assert_eq!(
            prefixed("env-store", &render(&error)),
            "env-store: cannot write /run/x: Permission denied (os error 13)\nhint: run it as root\n"
        );
    }

    #[test]
    fn a_hint_below_a_context_is_not_lost() {
        let inner: anyhow::Result<()> =
            Err(anyhow::anyhow!("no engine")).hint(|| "install docker".to_owned());
        let error = inner.context("cannot build").unwrap_err();
        assert_eq!(render(&error), "cannot build: no engine\nhint: install docker");
    }

    #[test]
    fn a_child_passes_its_code_on_and_a_signal_becomes_128_plus_n() {
        assert_eq!(Exit::from(ExitStatus::from_raw(0)), Exit::Done);
        assert_eq!(Exit::from(ExitStatus::from_raw(3 << 8)), Exit::Code(3));
        assert_eq!(Exit::from(ExitStatus::from_raw(9)), Exit::Code(137));
    }

    #[test]
    fn a_tool_is_named_as_it_was_called() {
        for (called, name) in [("/opt/bin/init.sh", "init"), ("logtail", "logtail"), ("/", "leonardo")] {
            assert_eq!(tool_name(Some(&called.into())), name);
        }
    }

    #[test]
    fn a_closed_stdout_is_success() {
        let error = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot print");
        assert!(is_broken_pipe(&error));
    }
}

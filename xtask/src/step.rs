//! Steps of a task: progress display on a terminal, or one line each, and a log of all output of programs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use kit::missing_ok;
use log::Level;

use crate::checkout::Checkout;

const TICK: Duration = Duration::from_millis(100);
/// Interval of progress lines about a long step, if standard error is not a terminal.
const REMINDER: Duration = Duration::from_secs(50);
/// Lines of a failed program's output that are shown.
const TAIL_LINES: usize = 20;
const TEMPLATE: &str = "{spinner} {prefix} {wide_msg:.dim}";

static TASK: OnceLock<&'static str> = OnceLock::new();
static LOG: OnceLock<Log> = OnceLock::new();

/// Sets the task's name and its log, `target/xtask/TASK.log`; later calls have no effect.
pub fn log_to(task: &'static str) {
    let _ = TASK.set(task);
}

/// Runs a program as one step; the error has the end of its output and the path of the log.
pub fn run(title: &str, command: &mut Command) -> Result<()> {
    run_logged(log()?, title, command)
}

/// Runs a program as one step; returns its status and everything that it printed.
pub fn status(title: &str, command: &mut Command) -> Result<(ExitStatus, String)> {
    status_logged(log()?, title, command)
}

/// Runs a closure, such as a wait or a few short commands, as one step. It must not log or begin a step.
pub fn with<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let log = log()?;
    log.begin(title)?;
    let display = Display::start(title, log.reader()?);
    let result = work();
    display.finish(result.is_ok());
    result
}

fn run_logged(log: &Log, title: &str, command: &mut Command) -> Result<()> {
    let (status, output) = status_logged(log, title, command)?;
    if status.success() {
        return Ok(());
    }
    let described = kit::cmd::describe(command);
    bail!("{described} failed ({status}); {} ends with:\n{}", log.path.display(), tail(&output));
}

fn status_logged(log: &Log, title: &str, command: &mut Command) -> Result<(ExitStatus, String)> {
    let described = kit::cmd::describe(command);
    log::debug!("running {described}");
    log.begin(&format!("{title}\n== {described}"))?;
    let mut output = log.reader()?;
    let display = Display::start(title, log.reader()?);
    // A file and not a pipe: a daemon that keeps the output open would block this process.
    let status = log.writer().and_then(|(stdout, stderr)| {
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        command.status().with_context(|| format!("cannot run {described}"))
    });
    display.finish(status.as_ref().is_ok_and(ExitStatus::success));
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", log.path.display()))?;
    Ok((status?, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Returns the last lines of a program's output, as an error shows them.
#[must_use]
pub fn tail(output: &str) -> String {
    let lines: Vec<_> = output.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn log() -> Result<&'static Log> {
    if let Some(log) = LOG.get() {
        return Ok(log);
    }
    let task = TASK.get().copied().unwrap_or("xtask");
    let log = Log::create(Checkout::find()?.root().join("target/xtask").join(task).with_extension("log"))?;
    Ok(LOG.get_or_init(|| log))
}

/// Output of all programs of a task.
struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Creates an empty log; another process that runs the same task keeps its own file.
    fn create(path: PathBuf) -> Result<Self> {
        let create = || {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
            missing_ok(fs::remove_file(&path))?;
            OpenOptions::new().create_new(true).append(true).read(true).open(&path)
        };
        let file = create().with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, file })
    }

    fn begin(&self, heading: &str) -> Result<()> {
        let heading = format!("== {heading}\n");
        (&self.file)
            .write_all(heading.as_bytes())
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Two descriptors to append to the log with.
    fn writer(&self) -> Result<(File, File)> {
        let clone = || self.file.try_clone().context("cannot duplicate the log's descriptor");
        Ok((clone()?, clone()?))
    }

    /// A descriptor with a position of its own, which is the present end of the log.
    fn reader(&self) -> Result<File> {
        let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.file));
        let open = || {
            let mut file = File::open(own)?;
            io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
            Ok::<_, io::Error>(file)
        };
        open().with_context(|| format!("cannot read {}", self.path.display()))
    }
}

/// Display of a running step.
struct Display {
    title: String,
    started: Instant,
    bar: ProgressBar,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Display {
    /// Shows the step, and the last line of `output` while it grows.
    fn start(title: &str, output: File) -> Self {
        let bar =
            if log::max_level() == Level::Info { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        let (stop, stopped) = mpsc::channel();
        let mut view = View::new(title, output, bar.clone());
        view.update();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                view.update();
            }
            view.update();
        });
        Self { title: title.to_owned(), started: Instant::now(), bar, stop, thread }
    }

    /// Replaces the display by one line.
    fn finish(self, success: bool) {
        drop(self.stop);
        // Fails only if the thread panicked, which does not affect the step.
        let _ = self.thread.join();
        self.bar.finish_and_clear();
        let failed = if success { "" } else { " failed" };
        log::info!("{}{failed} ({})", self.title, elapsed(self.started.elapsed()));
    }
}

/// State of the display's thread.
struct View {
    title: String,
    output: File,
    bar: ProgressBar,
    started: Instant,
    reminded: Instant,
    last_line: String,
}

impl View {
    fn new(title: &str, output: File, bar: ProgressBar) -> Self {
        let started = Instant::now();
        Self { title: title.to_owned(), output, bar, started, reminded: started, last_line: String::new() }
    }

    fn update(&mut self) {
        let mut new = Vec::new();
        // Unreadable output is not shown; the program's result does not depend on it.
        let _ = self.output.read_to_end(&mut new);
        let new = String::from_utf8_lossy(&new);
        if log::log_enabled!(Level::Debug) {
            let _ = io::stderr().write_all(kit::quote::escape_control(&new).as_bytes());
        }
        if let Some(line) = new.lines().rev().find(|line| !line.trim().is_empty()) {
            self.last_line = kit::quote::escape_control_line(line.trim());
            self.bar.set_message(self.last_line.clone());
        }
        let head = format!("{} ({})", self.title, elapsed(self.started.elapsed()));
        if self.bar.is_hidden() && self.reminded.elapsed() >= REMINDER {
            self.reminded = Instant::now();
            log::info!("{head} … {}", self.last_line);
        }
        self.bar.set_prefix(head);
        self.bar.tick();
    }
}

/// Formats a duration as `0.4 s`, `41 s` or `2 min 41 s`.
pub(crate) fn elapsed(time: Duration) -> String {
    match time.as_secs() {
        ..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(dir: &tempfile::TempDir) -> Log {
        Log::create(dir.path().join("xtask/task.log")).unwrap()
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_is_an_error_with_status_log_and_the_end_of_the_output() {
        let dir = tempfile::tempdir().unwrap();
        let error = run_logged(&log(&dir), "count", &mut shell("seq 30; exit 3")).unwrap_err();
        let last: Vec<_> = (11..=30).map(|number| number.to_string()).collect();
        assert_eq!(
            error.to_string(),
            format!(
                "\"sh\" \"-c\" \"seq 30; exit 3\" failed (exit status: 3); {} ends with:\n{}",
                dir.path().join("xtask/task.log").display(),
                last.join("\n")
            )
        );
    }

    #[test]
    fn the_log_has_the_output_of_all_steps_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(&dir);
        run_logged(&log, "one", &mut shell("echo a; echo b >&2; echo c")).unwrap();
        let (status, output) = status_logged(&log, "two", &mut shell("echo d; exit 100")).unwrap();
        assert_eq!((status.code(), output.as_str()), (Some(100), "d\n"));
        assert_eq!(
            fs::read_to_string(&log.path).unwrap(),
            "== one\n== \"sh\" \"-c\" \"echo a; echo b >&2; echo c\"\na\nb\nc\n\
             == two\n== \"sh\" \"-c\" \"echo d; exit 100\"\nd\n"
        );
        let other = Log::create(log.path.clone()).unwrap();
        run_logged(&log, "three", &mut shell("echo e")).unwrap();
        assert_eq!(fs::read_to_string(&other.path).unwrap(), "", "another process has a log of its own");
    }

    #[test]
    fn a_process_that_stays_with_the_output_does_not_hold_the_step() {
        let dir = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let (_, output) = status_logged(&log(&dir), "start", &mut shell("sleep 60 & echo $!")).unwrap();
        assert!(started.elapsed() < Duration::from_secs(30));
        kit::cmd::run(Command::new("kill").arg(output.trim())).unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = run_logged(&log(&dir), "start", &mut Command::new("/no/such/program")).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "cannot run \"/no/such/program\": No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_duration_is_as_exact_as_it_matters() {
        let shown =
            [400, 9_900, 41_999, 60_000, 161_000].map(|millis| elapsed(Duration::from_millis(millis)));
        assert_eq!(shown, ["0.4 s", "9.9 s", "41 s", "1 min 0 s", "2 min 41 s"]);
    }
}

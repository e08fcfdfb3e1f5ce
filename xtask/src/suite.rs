//! Runs of `cargo test` whose results are counted, so that the last line can say what all of them came to.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Lines of what failed tests said that are kept for the end, for each test program.
const LINES_KEPT: usize = 60;

/// What tests came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that held.
    pub passed: u64,
    /// Tests that did not.
    pub failed: u64,
    /// What the failed ones said, line by line, to be read where a reader looks: at the end.
    pub failures: Vec<String>,
}

impl Tally {
    /// The results of both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.failures.extend(other.failures);
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed, ..self }
    }

    /// Whether there were tests and all of them held: a run of nothing proves nothing.
    #[must_use]
    pub fn is_green(&self) -> bool {
        self.passed > 0 && self.failed == 0
    }

    /// What failed once more, and the closing line, as other programs read it.
    pub fn close(&self) -> Result<()> {
        let mut out = io::stdout().lock();
        for line in &self.failures {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "{} passed, {} failed", self.passed, self.failed)?;
        Ok(())
    }
}

/// Runs a test command, shows what it prints, and counts; a test program that dies without a result counts as one test
/// that failed, and so does a command that ends badly where nothing else failed.
pub fn run(command: &mut Command) -> Result<Tally> {
    run_showing(command, &mut io::stdout())
}

fn run_showing(command: &mut Command, show: &mut impl Write) -> Result<Tally> {
    let describe = kit::cmd::describe(command);
    log::info!("running {describe}");
    // One pipe for both: what cargo says about a program belongs behind what the program said.
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    command.stdin(Stdio::null()).stderr(writer.try_clone().context("cannot double a pipe")?).stdout(writer);
    let mut child = command.spawn().with_context(|| format!("cannot run {describe}"))?;
    // Our own ends of the pipe would keep it open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut tally = Tally::default();
    let mut said = Said::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.with_context(|| format!("cannot read from {describe}"))?;
        let line = String::from_utf8_lossy(&line);
        writeln!(show, "{line}")?;
        if let Some(program) = counted(&line) {
            tally = tally.and(program);
        }
        tally.failed += said.hear(&line);
    }
    let status = child.wait().with_context(|| format!("cannot wait for {describe}"))?;
    if !status.success() && tally.failed == 0 {
        tally.failed = 1;
        said.lines.push(format!("{describe} failed ({status})"));
    }
    tally.failures = said.lines;
    Ok(tally)
}

/// Picks what failed tests said out of the output of test programs.
#[derive(Debug, Default)]
struct Said {
    lines: Vec<String>,
    /// Lines that may still be kept of the program that is telling its failures; `None` outside of that.
    room: Option<usize>,
    /// The program that ended last had failures to tell.
    told: bool,
}

impl Said {
    /// Looks at the next line; returns how many failures it tells of that no result has counted, which is one where
    /// cargo says of a program that had no failures to tell that it failed: it died.
    fn hear(&mut self, line: &str) -> u64 {
        let died = line.strip_prefix("error: test failed, to rerun pass ");
        if let Some(program) = died {
            if std::mem::take(&mut self.told) {
                return 0;
            }
            self.lines.push(format!("a test program died without a result: {program}"));
            return 1;
        }
        if line.starts_with("test result: ") {
            self.room = None;
        } else if line == "failures:" && self.room.is_none() {
            (self.room, self.told) = (Some(LINES_KEPT), true);
        }
        if let Some(room) = self.room.as_mut().filter(|room| **room > 0) {
            *room -= 1;
            self.lines.push(line.to_owned());
        }
        0
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; …`, the closing line of one test program.
fn counted(line: &str) -> Option<Tally> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |word: &str| {
        let (before, _) = rest.split_once(word)?;
        before.rsplit([' ', '.']).find(|part| !part.is_empty())?.parse().ok()
    };
    Some(Tally { passed: number(" passed;")?, failed: number(" failed;")?, failures: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted_and_nothing_else() {
        let line = "test result: FAILED. 51 passed; 2 failed; 0 ignored; 0 measured; 1 filtered out";
        assert_eq!(counted(line), Some(Tally { passed: 51, failed: 2, failures: Vec::new() }));
        assert_eq!(counted("test x ... ok"), None);
    }

    #[test]
    fn a_run_that_dies_without_a_result_has_failed() {
        let line = "test result: ok. 1 passed; 0 failed; 0";
        let mut shown = Vec::new();
        let mut dies = Command::new("sh");
        let tally = run_showing(dies.args(["-c", &format!("echo '{line}'; exit 101")]), &mut shown);
        let tally = tally.unwrap();
        assert_eq!((tally.passed, tally.failed), (1, 1));
        let [why] = tally.failures.as_slice() else { panic!("{:?}", tally.failures) };
        assert!(why.ends_with("failed (exit status: 101)"), "{why}");
        assert_eq!(String::from_utf8(shown).unwrap(), format!("{line}\n"));
        assert!(!Tally::default().is_green());
    }

    #[test]
    fn what_failed_tests_say_is_kept_for_the_end() {
        let mut said = Said::default();
        let told = ["failures:", "", "---- one stdout ----", "left: 1", "", "failures:", "    one", ""];
        let before = ["running 2 tests", "test one ... FAILED"];
        let result = "test result: FAILED. 1 passed; 1 failed;";
        let after = [result, "error: test failed, to rerun pass `-p a --lib`", "running 0 tests"];
        let uncounted: u64 = before.iter().chain(&told).chain(&after).map(|line| said.hear(line)).sum();
        assert_eq!((uncounted, said.lines.as_slice()), (0, told.map(String::from).as_slice()));

        said.hear("failures:");
        for number in 0..LINES_KEPT {
            said.hear(&number.to_string());
        }
        assert_eq!(said.lines.len(), told.len() + LINES_KEPT, "one program does not fill the screen");
    }

    #[test]
    fn a_program_that_dies_among_others_is_counted_and_named() {
        let lines = [
            "test one ... ok",
            "error: test failed, to rerun pass `-p kit --lib`",
            "test result: ok. 1 passed; 0 failed; 0",
        ];
        let mut dies = Command::new("sh");
        dies.args(["-c", "printf '%s\\n' \"$@\" >&2; exit 101", "sh"]).args(lines);
        let tally = run_showing(&mut dies, &mut Vec::new()).unwrap();
        let named = "a test program died without a result: `-p kit --lib`";
        assert_eq!(tally, Tally { passed: 1, failed: 1, failures: vec![named.to_owned()] });
    }
}

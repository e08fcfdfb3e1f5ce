//! Runs of `cargo test` whose results are counted, so that the last line can say what all of them came to.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// What tests came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that held.
    pub passed: u64,
    /// Tests that did not.
    pub failed: u64,
}

impl Tally {
    /// The results of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }

    /// Whether there were tests and all of them held: a run of nothing proves nothing.
    #[must_use]
    pub fn is_green(self) -> bool {
        self.passed > 0 && self.failed == 0
    }

    /// The closing line, as other programs read it.
    pub fn close(self) -> Result<()> {
        writeln!(io::stdout(), "{} passed, {} failed", self.passed, self.failed)?;
        Ok(())
    }
}

/// Runs a test command, shows what it prints, and counts; one that ends badly without a failed test counts as one.
pub fn run(command: &mut Command) -> Result<Tally> {
    run_showing(command, &mut io::stdout())
}

fn run_showing(command: &mut Command, show: &mut impl Write) -> Result<Tally> {
    let describe = kit::cmd::describe(command);
    log::info!("running {describe}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {describe}"))?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.with_context(|| format!("cannot read from {describe}"))?;
            writeln!(show, "{line}")?;
            tally = tally.and(counted(&line).unwrap_or_default());
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {describe}"))?;
    if !status.success() && tally.failed == 0 {
        log::error!("{describe} failed ({status})");
        tally.failed = 1;
    }
    Ok(tally)
}

/// Reads `test result: ok. 3 passed; 0 failed; …`, the closing line of one test program.
fn counted(line: &str) -> Option<Tally> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |word: &str| {
        let (before, _) = rest.split_once(word)?;
        before.rsplit([' ', '.']).find(|part| !part.is_empty())?.parse().ok()
    };
    Some(Tally { passed: number(" passed;")?, failed: number(" failed;")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted_and_nothing_else() {
        let line = "test result: FAILED. 51 passed; 2 failed; 0 ignored; 0 measured; 1 filtered out";
        assert_eq!(counted(line), Some(Tally { passed: 51, failed: 2 }));
        assert_eq!(counted("test x ... ok"), None);
    }

    #[test]
    fn a_run_that_dies_without_a_result_has_failed() {
        let line = "test result: ok. 1 passed; 0 failed; 0";
        let mut shown = Vec::new();
        let mut dies = Command::new("sh");
        let tally = run_showing(dies.args(["-c", &format!("echo '{line}'; exit 101")]), &mut shown);
        assert_eq!(tally.unwrap(), Tally { passed: 1, failed: 1 });
        assert_eq!(String::from_utf8(shown).unwrap(), format!("{line}\n"));
        assert!(!Tally::default().is_green());
    }
}

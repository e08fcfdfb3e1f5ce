//! Compares several programs for the same task, measured in turns.
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::samples::Samples;

/// Work of a contender.
type Task<'a> = Box<dyn Fn() -> Result<()> + 'a>;

/// One program for the task.
pub struct Contender<'a> {
    name: &'static str,
    prepare: Task<'a>,
    run: Task<'a>,
}

impl<'a> Contender<'a> {
    /// `prepare` is not measured, `run` is.
    pub fn new(
        name: &'static str,
        prepare: impl Fn() -> Result<()> + 'a,
        run: impl Fn() -> Result<()> + 'a,
    ) -> Self {
        Self { name, prepare: Box::new(prepare), run: Box::new(run) }
    }
}

/// The results; the first contender is the baseline.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    title: &'static str,
    compared: &'static str,
    rows: Vec<(&'static str, Samples, Option<Samples>)>,
}

/// End of a measurement; `OnDisk` measures the time until everything is on disk too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Returned,
    OnDisk,
}

/// Runs each contender once per round, and begins each round with another one, so that a slow minute, or work left by the
/// previous one, is spread over all.
pub fn run_rounds(
    title: &'static str,
    compared: &'static str,
    rounds: usize,
    until: Until,
    contenders: &[Contender<'_>],
) -> Result<Table> {
    let mut times: Vec<(Vec<Duration>, Vec<Duration>)> = vec![Default::default(); contenders.len()];
    for round in 0..rounds {
        for place in 0..contenders.len() {
            let number = (round + place) % contenders.len();
            let contender = &contenders[number];
            (contender.prepare)().with_context(|| format!("cannot prepare {}", contender.name))?;
            let started = Instant::now();
            (contender.run)().with_context(|| format!("{} failed", contender.name))?;
            let returned = started.elapsed();
            times[number].0.push(returned);
            if until == Until::OnDisk {
                nix::unistd::sync();
                times[number].1.push(started.elapsed());
            }
            log::info!("round {}: {} took {:.2} s", round + 1, contender.name, returned.as_secs_f64());
        }
    }
    let rows = contenders.iter().zip(times).map(|(contender, (returned, on_disk))| {
        Ok((contender.name, Samples::new(returned).context("nothing was measured")?, Samples::new(on_disk)))
    });
    Ok(Table { title, compared, rows: rows.collect::<Result<_>>()? })
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((_, first, first_on_disk)) = self.rows.first() else { return Ok(()) };
        let compared = self.compared;
        let (more, rule) = match first_on_disk {
            Some(_) => (format!(" on disk | x {compared} |"), "---|---|"),
            None => (String::new(), ""),
        };
        writeln!(formatter, "| {} | median | min | max | x {compared} |{more}", self.title)?;
        writeln!(formatter, "|---|---|---|---|---|{rule}")?;
        for (name, returned, on_disk) in &self.rows {
            let (median, ratio) = figures(returned, first);
            let [min, max] = [returned.min(), returned.max()].map(|time| time.as_secs_f64());
            write!(formatter, "| {name} | {median:.2} s | {min:.2} | {max:.2} | {ratio:.2} |")?;
            if let Some((on_disk, first)) = on_disk.as_ref().zip(first_on_disk.as_ref()) {
                let (median, ratio) = figures(on_disk, first);
                write!(formatter, " {median:.2} s | {ratio:.2} |")?;
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

/// The median in seconds, and its ratio to the first contender's.
fn figures(times: &Samples, first: &Samples) -> (f64, f64) {
    let median = times.median().as_secs_f64();
    (median, median / first.median().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn each_contender_begins_once_and_is_prepared_each_time() {
        let seen = RefCell::new(Vec::new());
        let note = |what: &'static str| {
            seen.borrow_mut().push(what);
            Ok(())
        };
        let contenders = [
            Contender::new("a", || note("prepare a"), || note("a")),
            Contender::new("b", || note("prepare b"), || note("b")),
        ];
        let table = run_rounds("what", "a", 2, Until::Returned, &contenders).unwrap();
        let order = ["prepare a", "a", "prepare b", "b", "prepare b", "b", "prepare a", "a"];
        assert_eq!(*seen.borrow(), order);
        assert_eq!(table.rows.len(), 2);
    }

    #[test]
    fn a_table_compares_with_its_first_row() {
        let samples = |seconds: [u64; 3]| Samples::new(seconds.map(Duration::from_secs).to_vec());
        let rows = vec![
            ("ours", samples([2, 1, 3]).unwrap(), samples([4, 4, 4])),
            ("cp", samples([5, 5, 5]).unwrap(), samples([6, 6, 6])),
        ];
        let table = Table { title: "copy", compared: "ours", rows };
        assert_eq!(
            table.to_string(),
            "| copy | median | min | max | x ours | on disk | x ours |\n|---|---|---|---|---|---|---|\n\
             | ours | 2.00 s | 1.00 | 3.00 | 1.00 | 4.00 s | 1.00 |\n\
             | cp | 5.00 s | 5.00 | 5.00 | 2.50 | 6.00 s | 1.50 |\n"
        );
    }

    #[test]
    fn a_contender_that_fails_is_named() {
        let contenders = [Contender::new("cp -a", || Ok(()), || anyhow::bail!("no room"))];
        let error = run_rounds("what", "ours", 1, Until::Returned, &contenders).unwrap_err();
        assert_eq!(format!("{error:#}"), "cp -a failed: no room");
    }
}

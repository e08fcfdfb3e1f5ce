//! Several ways to the same end, measured in turns.
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::spread::Spread;

/// Something that is done with nobody watching the clock, or with.
type Task<'a> = Box<dyn Fn() -> Result<()> + 'a>;

/// One way to the end.
pub struct Entrant<'a> {
    name: &'static str,
    prepare: Task<'a>,
    run: Task<'a>,
}

impl<'a> Entrant<'a> {
    /// `prepare` is not measured, `run` is.
    pub fn new(
        name: &'static str,
        prepare: impl Fn() -> Result<()> + 'a,
        run: impl Fn() -> Result<()> + 'a,
    ) -> Self {
        Self { name, prepare: Box::new(prepare), run: Box::new(run) }
    }
}

/// The results, the first entrant being what the others are compared with.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    title: &'static str,
    compared: &'static str,
    rows: Vec<(&'static str, Spread, Option<Spread>)>,
}

/// Whether the time until everything is on disk is measured too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Returned,
    OnDisk,
}

/// Lets everybody run once a round, and begins each round with another one: a slow minute, or what the one before left
/// behind, hits nobody in particular.
pub fn hold(
    title: &'static str,
    compared: &'static str,
    rounds: usize,
    until: Until,
    entrants: &[Entrant<'_>],
) -> Result<Table> {
    let mut times: Vec<(Vec<Duration>, Vec<Duration>)> = vec![Default::default(); entrants.len()];
    for round in 0..rounds {
        for place in 0..entrants.len() {
            let number = (round + place) % entrants.len();
            let entrant = &entrants[number];
            (entrant.prepare)().with_context(|| format!("cannot prepare {}", entrant.name))?;
            let started = Instant::now();
            (entrant.run)().with_context(|| format!("{} failed", entrant.name))?;
            let returned = started.elapsed();
            times[number].0.push(returned);
            if until == Until::OnDisk {
                nix::unistd::sync();
                times[number].1.push(started.elapsed());
            }
            log::info!("round {}: {} took {:.2} s", round + 1, entrant.name, returned.as_secs_f64());
        }
    }
    let rows = entrants.iter().zip(times).map(|(entrant, (returned, on_disk))| {
        Ok((entrant.name, Spread::of(returned).context("nothing was measured")?, Spread::of(on_disk)))
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
            let [least, greatest] = [returned.least(), returned.greatest()].map(|time| time.as_secs_f64());
            write!(formatter, "| {name} | {median:.2} s | {least:.2} | {greatest:.2} | {ratio:.2} |")?;
            if let Some((on_disk, first)) = on_disk.as_ref().zip(first_on_disk.as_ref()) {
                let (median, ratio) = figures(on_disk, first);
                write!(formatter, " {median:.2} s | {ratio:.2} |")?;
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

/// The median in seconds, and how many times the first one's that is.
fn figures(times: &Spread, first: &Spread) -> (f64, f64) {
    let median = times.median().as_secs_f64();
    (median, median / first.median().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn everybody_begins_once_and_is_prepared_each_time() {
        let seen = RefCell::new(Vec::new());
        let note = |what: &'static str| {
            seen.borrow_mut().push(what);
            Ok(())
        };
        let entrants = [
            Entrant::new("a", || note("prepare a"), || note("a")),
            Entrant::new("b", || note("prepare b"), || note("b")),
        ];
        let table = hold("what", "a", 2, Until::Returned, &entrants).unwrap();
        let order = ["prepare a", "a", "prepare b", "b", "prepare b", "b", "prepare a", "a"];
        assert_eq!(*seen.borrow(), order);
        assert_eq!(table.rows.len(), 2);
    }

    #[test]
    fn a_table_compares_with_its_first_row() {
        let spread = |seconds: [u64; 3]| Spread::of(seconds.map(Duration::from_secs).to_vec());
        let rows = vec![
            ("ours", spread([2, 1, 3]).unwrap(), spread([4, 4, 4])),
            ("cp", spread([5, 5, 5]).unwrap(), spread([6, 6, 6])),
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
    fn whoever_fails_is_named() {
        let entrants = [Entrant::new("cp -a", || Ok(()), || anyhow::bail!("no room"))];
        let error = hold("what", "ours", 1, Until::Returned, &entrants).unwrap_err();
        assert_eq!(format!("{error:#}"), "cp -a failed: no room");
    }
}

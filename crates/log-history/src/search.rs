//! Search in several logs at once, with progress, in bounded time and memory.

mod block;
mod pattern;
mod workers;

use std::io;
use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;

pub use pattern::Pattern;

use crate::level::LevelSet;
use crate::line_time;
use crate::log::{Line, Log};
use crate::position::{Position, PositionGone};
use block::{Block, Found, Plan};
use workers::Work;

/// Number of lines before one without a time that are searched for its time.
const INHERITED: usize = 100;
/// Lines of a block that may turn out to be outside the range of times, beside those that are reported.
const MAX_OUTSIDE: usize = 16 * 1024;

/// Lines that are searched.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Pattern that a line contains.
    pub pattern: Option<Pattern>,
    /// Levels that a line names.
    pub levels: LevelSet,
    /// Earliest time, in seconds since 1970.
    pub since: Option<f64>,
    /// Time before which a line is, in seconds since 1970.
    pub until: Option<f64>,
    /// Order of the results.
    pub order: Order,
    /// Place in each log at which the search begins, in the order of the logs: the result of an earlier search.
    pub from: Option<Vec<Position>>,
}

/// Order in which lines are found. Between logs, it is exact to a few seconds of a busy log only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The last line first.
    #[default]
    NewestFirst,
    /// The first line first.
    OldestFirst,
}

/// Limits of a search.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Lines to find.
    pub hits: usize,
    /// Bytes to read.
    pub bytes: u64,
    /// Time at which to stop.
    pub deadline: Option<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { hits: usize::MAX, bytes: u64::MAX, deadline: None }
    }
}

/// Message of a search while it runs.
#[derive(Debug)]
pub enum Event {
    /// Bytes searched so far, and to be searched in total.
    Progress {
        /// Bytes searched.
        done: u64,
        /// Bytes in total, at most: compressed files are estimated.
        total: u64,
    },
    /// A line that was found.
    Hit {
        /// Index of its log.
        log: usize,
        /// The line.
        line: Line,
    },
}

/// End of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// True if everything was searched: no limit was reached, and the caller did not stop it.
    pub complete: bool,
    /// Place in each log at which to continue ([`Query::from`]).
    pub from: Vec<Position>,
    /// Files, and logs in which the search could not continue, with the reason.
    pub problems: Vec<(String, String)>,
}

/// Searches logs, and calls `on` for progress and lines until it breaks.
pub fn search(
    logs: &mut [Log],
    query: &Query,
    budget: &Budget,
    mut on: impl FnMut(Event) -> ControlFlow<()>,
) -> Result<Ended> {
    let mut from = Vec::new();
    let mut plan = Plan::new(query.order);
    let mut problems = Vec::new();
    for (index, log) in logs.iter_mut().enumerate() {
        let begin = query.from.as_ref().and_then(|from| from.get(index)).copied();
        let begin = match begin {
            Some(begin) => begin,
            None if query.order == Order::NewestFirst => log.end(),
            None => log.start(),
        };
        match plan.add(log, query, begin) {
            Err(error) if error.is::<PositionGone>() => {
                // What is left of this log is newer.
                problems.push((log.name().to_owned(), error.to_string()));
                from.push(log.start());
                plan.add(log, query, log.start())?;
            }
            added => {
                added?;
                from.push(begin);
            }
        }
    }
    // Lines near the ends of the range are compared with its times later.
    let outside = if query.since.or(query.until).is_some() { MAX_OUTSIDE } else { 0 };
    let limit = budget.hits.saturating_add(outside).max(1);
    let total = plan.length();
    let mut state = State { logs, query, budget, plan, on: &mut on, from, hits: 0, done: 0, total };
    let complete = workers::run(&mut state, query, limit);
    let from = state.from;
    problems.extend(logs.iter().flat_map(Log::problems));
    Ok(Ended { complete, from, problems })
}

struct State<'a, F> {
    logs: &'a mut [Log],
    query: &'a Query,
    budget: &'a Budget,
    plan: Plan,
    on: F,
    from: Vec<Position>,
    hits: usize,
    done: u64,
    total: u64,
}

impl<F: FnMut(Event) -> ControlFlow<()>> Work for State<'_, F> {
    fn next(&mut self) -> Option<Block> {
        self.plan.next(self.logs)
    }

    fn take(&mut self, block: &Block, found: &mut [Found]) -> ControlFlow<()> {
        for part in found {
            self.report(block, part)?;
        }
        let newest_first = self.query.order == Order::NewestFirst;
        let end = if newest_first { block.range.start } else { block.range.end };
        self.from[block.log] = self.logs[block.log].position_in(block.segment, end);
        self.done += block.length();
        (self.on)(Event::Progress { done: self.done, total: self.total })?;
        let is_late = self.budget.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let over = self.done >= self.budget.bytes || is_late;
        if over && self.done < self.total { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl<F: FnMut(Event) -> ControlFlow<()>> State<'_, F> {
    /// Reports the lines that were found in a block.
    fn report(&mut self, block: &Block, found: &mut Found) -> ControlFlow<()> {
        let (log, query) = (&mut self.logs[block.log], self.query);
        if let Some(error) = found.error.take() {
            log.add_problem(block.segment, &error);
        }
        let newest_first = query.order == Order::NewestFirst;
        if newest_first {
            found.lines.reverse();
        }
        if !found.lines.is_empty()
            && let Err(error) = log.identify(block.segment)
        {
            log.add_problem(block.segment, &io::Error::other(format!("{error:#}")));
        }
        for piece in &found.lines {
            let text = &found.bytes[piece.begin..piece.end];
            let offset = found.offset + piece.begin as u64;
            let mut line =
                log.line_at(block.segment, offset, text, piece.next - piece.begin, piece.truncated);
            line.time = line.time.or_else(|| time_before(&found.bytes[..piece.begin]));
            // A recorded time may be earlier by an interval.
            let late_by = if query.since.is_some() { log.time_tolerance(block.segment) } else { 0.0 };
            let early = query.since.is_some_and(|since| line.time.is_some_and(|time| time + late_by < since));
            let late = query.until.is_some_and(|until| line.time.is_some_and(|time| time >= until));
            if early || late {
                continue;
            }
            self.from[block.log] = if newest_first { line.position } else { line.end };
            self.hits += 1;
            (self.on)(Event::Hit { log: block.log, line })?;
            if self.hits >= self.budget.hits {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Returns the time of the last line that has one, among a few lines.
fn time_before(lines: &[u8]) -> Option<f64> {
    let lines = lines.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n');
    lines.take(INHERITED).find_map(line_time::of_line)
}

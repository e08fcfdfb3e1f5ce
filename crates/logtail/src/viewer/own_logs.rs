//! Services' own logs, which reach back further than the merged one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use kit::rfc3339;
use log_history::{Budget, Event, Line, Log, Logs, Position, Query, search};

use crate::entry::{self, Entry};
use crate::filter::Filter;
use crate::line_assembler::Piece;

/// Lines that are read at once.
const BATCH: usize = 1_000;
/// Bytes that are read at once.
const BATCH_BYTES: usize = 256 * 1024;

/// A service's own log.
pub struct OwnLog {
    service: String,
    log: Log,
    /// Where the merged log continues.
    end: Position,
}

/// Opens the logs of services, each with the time of its first line in the merged log; two programs can have the same label.
pub fn open(logs: &Logs, services: &BTreeMap<String, Option<f64>>) -> Result<Vec<OwnLog>> {
    let mut opened = Vec::new();
    let names = logs.names().unwrap_or_else(|error| {
        log::warn!("{error:#}");
        Vec::new()
    });
    for info in names {
        let name = info.name.rsplit(':').next().unwrap_or_default();
        let service = entry::sanitize_label(name);
        let Some(merged_from) = services.get(&service) else { continue };
        match logs.open(&info.name) {
            Ok(mut log) => {
                let end = match merged_from {
                    Some(time) => log.position_at(*time)?,
                    None => log.end(),
                };
                opened.push(OwnLog { service, log, end });
            }
            Err(error) => log::warn!("{error:#}"),
        }
    }
    Ok(opened)
}

/// Calls `print` with all selected lines since a time, by time.
pub fn since(
    logs: Vec<OwnLog>,
    filter: &Filter,
    since: f64,
    print: &mut dyn FnMut(&Entry<'_>) -> Result<()>,
) -> Result<()> {
    let mut streams = Vec::new();
    for mut own in logs {
        let at = own.log.position_at(since)?;
        streams.push(Stream { own, at, lines: VecDeque::new(), time: 0.0 });
    }
    loop {
        let mut next: Option<(usize, f64)> = None;
        for (index, stream) in streams.iter_mut().enumerate() {
            let Some(time) = stream.next_time()? else { continue };
            if next.is_none_or(|(_, earliest)| time < earliest) {
                next = Some((index, time));
            }
        }
        let Some((index, _)) = next else { break };
        let stream = &mut streams[index];
        if let Some(line) = stream.lines.pop_front() {
            with_entry(&stream.own.service, &line, |entry| {
                if filter.matches(entry) { print(entry) } else { Ok(()) }
            })?;
        }
    }
    report(streams.iter().map(|stream| &stream.own.log));
    Ok(())
}

/// Lines of one log.
struct Stream {
    own: OwnLog,
    at: Position,
    lines: VecDeque<Line>,
    /// Time of the last line that has one.
    time: f64,
}

impl Stream {
    /// Returns the time of the next line, or of the last one with a time; nothing at the end.
    fn next_time(&mut self) -> Result<Option<f64>> {
        if self.lines.is_empty() {
            let OwnLog { log, end, .. } = &mut self.own;
            let left = usize::try_from(log.bytes_between(self.at, *end)).unwrap_or(BATCH_BYTES);
            if left == 0 {
                return Ok(None);
            }
            let mut lines = log.lines_after(self.at, BATCH, left.min(BATCH_BYTES))?;
            self.at = lines.last().map_or(self.at, |last| last.end);
            lines.retain(|line| log.bytes_between(line.position, *end) > 0);
            self.lines = lines.into();
        }
        let Some(line) = self.lines.front() else { return Ok(None) };
        self.time = line.time.unwrap_or(self.time);
        Ok(Some(self.time))
    }
}

/// Calls `print` with the last selected lines, the oldest first.
pub fn last(
    logs: Vec<OwnLog>,
    filter: &Filter,
    since: Option<f64>,
    limit: usize,
    print: &mut dyn FnMut(&Entry<'_>) -> Result<()>,
) -> Result<()> {
    let mut found: VecDeque<(String, Line)> = VecDeque::new();
    for OwnLog { service, log, end } in logs {
        let mut logs = [log];
        let mut own: VecDeque<(String, Line)> = VecDeque::new();
        let query = Query { pattern: filter.in_own_log(), since, from: Some(vec![end]), ..Query::default() };
        search(&mut logs, &query, &Budget::default(), |event| {
            if own.len() == limit {
                return ControlFlow::Break(());
            }
            if let Event::Hit { line, .. } = event
                && with_entry(&service, &line, |entry| filter.matches(entry))
            {
                own.push_front((service.clone(), line));
            }
            ControlFlow::Continue(())
        })?;
        report(&logs);
        found.extend(own);
    }
    if found.iter().all(|(_, line)| line.time.is_some()) {
        let time = |line: &Line| line.time.unwrap_or_default();
        found.make_contiguous().sort_by(|(_, one), (_, other)| time(one).total_cmp(&time(other)));
    }
    let surplus = found.len().saturating_sub(limit);
    for (service, line) in found.iter().skip(surplus) {
        with_entry(service, line, &mut *print)?;
    }
    Ok(())
}

/// Makes a line safe, as `logtail follow` would.
fn with_entry<T>(service: &str, line: &Line, take: impl FnOnce(&Entry<'_>) -> T) -> T {
    let mut text = Vec::new();
    let piece = Piece { text: &line.bytes, continues: false, ended: !line.truncated };
    entry::append_text(&mut text, piece);
    let text = String::from_utf8_lossy(&text);
    let time = line.time.and_then(|time| UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(time).ok()?));
    let at = time.map(rfc3339::millis);
    take(&Entry::new(at.as_deref(), service, &text))
}

fn report<'a>(logs: impl IntoIterator<Item = &'a Log>) {
    for log in logs {
        for (file, why) in log.problems() {
            log::warn!("cannot read {file}: {why}");
        }
    }
}

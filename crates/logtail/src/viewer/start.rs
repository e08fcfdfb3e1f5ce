//! Lines of the merged log that are shown first, found without reading the whole log.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use anyhow::Result;
use log_history::{Budget, Event, Line, Log, Order, Position, Query, search};

use crate::entry::Entry;
use crate::filter::Filter;

/// Returns the first line since a time that a filter selects; the end if there is none.
pub fn first_line(log: &mut Log, filter: &Filter, since: Option<f64>) -> Result<Position> {
    let begin = match since {
        Some(since) => log.position_at(since)?,
        None => log.start(),
    };
    if !filter.selects() {
        return Ok(begin);
    }
    let from = Some(vec![begin]);
    let order = Order::OldestFirst;
    let query = Query { pattern: filter.in_merged_log(), order, from, ..Query::default() };
    let first = find(log, filter, &query, 1)?.pop_front();
    Ok(first.map_or(log.end(), |line| line.position))
}

/// Returns the last lines that a filter selects, at most `limit`, the oldest first.
pub fn last_lines(
    log: &mut Log,
    filter: &Filter,
    since: Option<f64>,
    limit: usize,
) -> Result<VecDeque<Line>> {
    let query = Query { pattern: filter.in_merged_log(), since, ..Query::default() };
    find(log, filter, &query, limit)
}

/// Returns the selected lines that a search finds first, at most `limit`, in the opposite order.
fn find(log: &mut Log, filter: &Filter, query: &Query, limit: usize) -> Result<VecDeque<Line>> {
    let mut found = VecDeque::new();
    if limit == 0 {
        return Ok(found);
    }
    search(std::slice::from_mut(log), query, &Budget::default(), |event| {
        if let Event::Hit { line, .. } = event
            && is_selected(filter, &line)
        {
            found.push_front(line);
        }
        if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

fn is_selected(filter: &Filter, line: &Line) -> bool {
    Entry::parse(&String::from_utf8_lossy(&line.bytes)).is_some_and(|entry| filter.matches(&entry))
}

/// Returns the selected services, each with the time of its first line in the merged log.
pub fn first_times(merged: Option<&mut Log>, filter: &Filter) -> Result<BTreeMap<String, Option<f64>>> {
    let mut times: BTreeMap<_, _> = filter.services.iter().map(|service| (service.clone(), None)).collect();
    let Some(merged) = merged else { return Ok(times) };
    for (service, time) in &mut times {
        let one = Filter { services: vec![service.clone()], ..Filter::default() };
        let order = Order::OldestFirst;
        let query = Query { pattern: one.of_services(), order, ..Query::default() };
        *time = find(merged, &one, &query, 1)?.pop_front().and_then(|line| line.time);
    }
    Ok(times)
}

/// Returns the time of the first line.
pub fn first_time(log: &mut Log) -> Result<Option<f64>> {
    Ok(log.lines_after(log.start(), 1, 1)?.first().and_then(|line| line.time))
}

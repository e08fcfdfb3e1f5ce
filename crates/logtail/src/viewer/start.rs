//! First line of the merged log that is shown, found without reading the whole log.

use std::ops::ControlFlow;

use anyhow::Result;
use log_history::{Budget, Event, Line, Log, Order, Position, Query, search};

use crate::entry::Entry;
use crate::filter::Filter;

/// Returns the first of the last `limit` lines that a filter selects, or of all; the end if there are none. With a limit, it
/// also returns their number.
pub fn first_line(
    log: &mut Log,
    filter: &Filter,
    since: Option<f64>,
    limit: Option<usize>,
) -> Result<(Position, usize)> {
    let end = log.end();
    let begin = match since {
        Some(since) => log.position_at(since)?,
        None => log.start(),
    };
    match limit {
        Some(0) => Ok((end, 0)),
        Some(limit) => {
            let query = Query { pattern: filter.in_merged_log(), since, ..Query::default() };
            find(log, filter, &query, limit).map(|(found, count)| (found.unwrap_or(end), count))
        }
        None if filter.selects() => {
            let from = Some(vec![begin]);
            let query = Query {
                pattern: filter.in_merged_log(),
                order: Order::OldestFirst,
                from,
                ..Query::default()
            };
            find(log, filter, &query, 1).map(|(found, count)| (found.unwrap_or(end), count))
        }
        None => Ok((begin, 0)),
    }
}

/// Returns the line with this number among those that are selected, or the last one that was found, and its number.
fn find(log: &mut Log, filter: &Filter, query: &Query, number: usize) -> Result<(Option<Position>, usize)> {
    let (mut count, mut last) = (0, None);
    search(std::slice::from_mut(log), query, &Budget::default(), |event| {
        if let Event::Hit { line, .. } = event
            && is_selected(filter, &line)
        {
            (count, last) = (count + 1, Some(line.position));
        }
        if count >= number { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok((last, count))
}

fn is_selected(filter: &Filter, line: &Line) -> bool {
    Entry::parse(&String::from_utf8_lossy(&line.bytes)).is_some_and(|entry| filter.matches(&entry))
}

/// Returns the services without a line in the merged log.
pub fn missing_services(log: &mut Log, filter: &Filter) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for service in &filter.services {
        let one = Filter { services: vec![service.clone()], ..Filter::default() };
        let query = Query { pattern: one.of_services(), ..Query::default() };
        if find(log, &one, &query, 1)?.1 == 0 {
            missing.push(service.clone());
        }
    }
    Ok(missing)
}

/// Returns the time of the first line.
pub fn first_time(log: &mut Log) -> Result<Option<f64>> {
    Ok(log.lines_after(log.start(), 1, 1)?.first().and_then(|line| line.time))
}

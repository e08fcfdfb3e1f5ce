//! Searches in logs, against a search in each single line.

// clippy's exception for tests does not cover functions that tests share.
#![allow(clippy::unwrap_used, dead_code)]

mod fixture;

use std::ops::ControlFlow;
use std::time::{Duration, UNIX_EPOCH};

use fixture::Machine;
use log_history::file_id::FileId;
use log_history::time_index::{self, Recorder};
use log_history::{Budget, Ended, Event, Level, LevelSet, Log, Order, Pattern, Query, search};

/// Returns the lines that a search finds, and how it ends.
fn hits(logs: &mut [Log], query: &Query, budget: &Budget) -> (Vec<String>, Ended) {
    let (mut found, mut last) = (Vec::new(), 0);
    let ended = search(logs, query, budget, |event| {
        match event {
            Event::Hit { line, .. } => found.push(fixture::text(&line)),
            Event::Progress { done, total } => {
                assert!(last <= done && done <= total);
                last = done;
            }
        }
        ControlFlow::Continue(())
    });
    (found, ended.unwrap())
}

fn pattern(text: &str) -> Query {
    Query { pattern: Some(Pattern::new(text, false).unwrap()), ..Query::default() }
}

/// Lines of all lengths, so that they begin at and around the ends of blocks.
fn lines() -> Vec<String> {
    let length = |number: usize| [3, 80, 0, 700, 33_000][number * 7 % 5] + number * 131 % 90;
    (0..400)
        .map(|number| format!("{number} {}", "ab\u{1b}[1mcd é ".repeat(length(number) / 12)))
        .flat_map(|line| [line, String::new(), "needle".to_owned()])
        .collect()
}

#[test]
fn a_search_finds_what_a_search_in_each_line_finds() {
    let machine = Machine::new();
    let lines = lines();
    let parts = lines.len() / 3;
    for (name, part) in ["x.log.2.gz", "x.log.1", "x.log"].iter().zip(lines.chunks(parts)) {
        machine.write(name, part.join("\n") + "\n");
    }
    // Its stated size is that of the last member.
    let packed = std::fs::read(machine.path("x.log.2.gz")).unwrap();
    machine.write("x.log.2.gz", "last needle\n");
    let last = std::fs::read(machine.path("x.log.2.gz")).unwrap();
    std::fs::write(machine.path("x.log.2.gz"), [packed, last].concat()).unwrap();
    for text in [
        "needle",
        "^needle$",
        "^$",
        "",
        "^1[0-9]+7 ab",
        "é $",
        r"\d+\s",
        r"\s",
        r"[^x]needle",
        r"\Aneedle\z",
        "(?-m)^needle",
        "a.*d é $",
        "nothing",
    ] {
        let query = pattern(text);
        let matcher = query.pattern.clone().unwrap();
        let mut log = [machine.open("x")];
        let all = log[0].lines_after(log[0].start(), usize::MAX, usize::MAX).unwrap();
        let mut expected: Vec<String> =
            all.iter().filter(|line| matcher.is_match(&line.bytes)).map(fixture::text).collect();
        let oldest = Query { order: Order::OldestFirst, ..query.clone() };
        let (found, ended) = hits(&mut log, &oldest, &Budget::default());
        assert!(found == expected, "{text}: {} instead of {}", found.len(), expected.len());
        assert!(ended.complete && ended.problems.is_empty(), "{text}");
        expected.reverse();
        let (found, _) = hits(&mut log, &query, &Budget::default());
        assert!(found == expected, "{text}, newest first");
        // In steps, each continued where the one before ended.
        let (mut query, mut steps) = (query, Vec::new());
        loop {
            let (found, ended) = hits(&mut log, &query, &Budget { hits: 700, ..Budget::default() });
            steps.extend(found);
            query.from = Some(ended.from);
            if ended.complete {
                break;
            }
        }
        assert!(steps == expected, "{text}, in steps: {} instead of {}", steps.len(), expected.len());
    }
}

#[test]
fn levels_and_times_select_lines_of_all_logs() {
    let machine = Machine::new();
    machine.write(
        "a.log",
        "2026-11-24T00:00:01Z ERROR a1\n2026-11-24T00:00:03Z a3\n2026-11-24T00:00:05Z warning a5\n",
    );
    machine.write("b.log", "2026-11-24T00:00:02Z INFO b2\n2026-11-24T00:00:04Z error b4\n");
    machine.write("empty.log", "");
    let second = |second: u32| Some(1_795_478_400.0 + f64::from(second));
    let errors = LevelSet::NONE.with(Some(Level::Error));
    for (levels, since, until, expected) in [
        (LevelSet::ALL, None, None, vec!["a1", "a3", "a5", "b2", "b4"]),
        (errors, None, None, vec!["a1", "b4"]),
        (LevelSet::NONE.with(None), None, None, vec!["a3"]),
        (LevelSet::NONE, None, None, vec![]),
        (LevelSet::ALL, second(2), None, vec!["a3", "a5", "b2", "b4"]),
        (LevelSet::ALL, second(2), second(4), vec!["a3", "b2"]),
        (errors, second(2), None, vec!["b4"]),
        (LevelSet::ALL, second(6), None, vec![]),
    ] {
        let query = Query { levels, since, until, ..Query::default() };
        let mut logs = ["a", "b", "empty"].map(|name| machine.open(name));
        let (found, _) = hits(&mut logs, &query, &Budget::default());
        let mut found: Vec<_> = found.iter().map(|line| &line[line.len() - 2..]).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{levels:?} {since:?} {until:?}");
    }
}

#[test]
fn lines_that_were_read_shortly_before_the_end_of_a_time_are_found() {
    let machine = Machine::new();
    machine.write("x.log", "1\n2\n3\n");
    let id = FileId::from_metadata(&std::fs::metadata(machine.path("x.log")).unwrap());
    let mut recorder = Recorder::new(time_index::directory(machine.root()));
    for (offset, second) in [(0, 10), (2, 20), (4, 30)] {
        recorder.note(id, offset, UNIX_EPOCH + Duration::from_secs(second));
    }
    recorder.save();
    for (until, expected) in
        [(10.0, &[][..]), (10.5, &["1"]), (20.0, &["1"]), (20.5, &["2", "1"]), (99.0, &["3", "2", "1"])]
    {
        let query = Query { until: Some(until), ..Query::default() };
        assert_eq!(hits(&mut [machine.open("x")], &query, &Budget::default()).0, expected, "{until}");
    }
}

#[test]
fn a_search_ends_where_its_caller_or_its_budget_says() {
    let machine = Machine::new();
    machine.write("x.log", "line\n".repeat(1_000_000));
    let mut logs = [machine.open("x")];
    let mut events = 0;
    let ended = search(&mut logs, &pattern("line"), &Budget::default(), |_| {
        events += 1;
        if events == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((events, ended.unwrap().complete), (5, false));
    let bytes = Budget { bytes: 1, ..Budget::default() };
    let deadline = Budget { deadline: Some(std::time::Instant::now()), ..Budget::default() };
    for budget in [bytes, deadline] {
        let (found, ended) = hits(&mut logs, &pattern("line"), &budget);
        assert!(!found.is_empty() && found.len() < 1_000_000 && !ended.complete);
    }
}

#[test]
fn a_log_whose_position_is_gone_leaves_the_others_to_be_searched() {
    let machine = Machine::new();
    machine.write("a.log", "a1\na2\n");
    machine.write("b.log", "b1\nb2\n");
    let from = vec![machine.open("a").end(), machine.open("b").end()];
    machine.rotate("a.log");
    machine.write("a.log", "a3\n");
    machine.remove("a.log.1");
    for (order, expected) in [(Order::NewestFirst, vec!["b2", "b1"]), (Order::OldestFirst, vec!["a3"])] {
        let query = Query { order, from: Some(from.clone()), ..Query::default() };
        let (found, ended) = hits(&mut ["a", "b"].map(|name| machine.open(name)), &query, &Budget::default());
        assert_eq!(
            (found, ended.complete, ended.problems.len()),
            (expected.into_iter().map(str::to_owned).collect(), true, 1)
        );
    }
}

#[test]
fn a_line_has_the_time_of_the_one_before_and_matches_without_its_carriage_return() {
    let machine = Machine::new();
    machine.write("x.log", "2026-11-24T00:00:01Z done\r\nof it\r\n10 %\rdone\n");
    let expected =
        [("2026-11-24T00:00:01Z done\r", "done$"), ("of it\r", "^of it$"), ("10 %\rdone", "10.*done$")];
    for (text, expression) in expected {
        let mut found = Vec::new();
        let query = Query { pattern: Some(Pattern::new(expression, false).unwrap()), ..Query::default() };
        search(&mut [machine.open("x")], &query, &Budget::default(), |event| {
            if let Event::Hit { line, .. } = event {
                found.push((fixture::text(&line), line.time));
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(found.last().unwrap(), &(text.to_owned(), Some(1_795_478_401.0)), "{expression}");
    }
}

#[test]
fn a_pattern_that_is_no_expression_or_too_large_is_an_error() {
    for text in ["(", "a{1000000}", r"\p{", "[z-a]"] {
        assert!(Pattern::new(text, false).is_err(), "{text}");
    }
}

//! The screen shows what tmux shows: output of progress bars, made from a seed or recorded, is fed to both.

// Helpers of tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod output;
mod tmux_pane;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use terminal::screen::{Row, Screen, Span};
use tmux_pane::{COLUMNS, Pane, ROWS};

/// Text and styles of all rows, without blanks at their ends.
type Rows = Vec<Vec<Span>>;

#[test]
fn generated_output_looks_as_in_tmux() {
    let pane = Pane::start();
    let config =
        Config { cases: 1000, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let cases = (output::output(), prop::collection::vec(1..40usize, 1..20));
    let result = TestRunner::new(config).run(&cases, |(output, pieces)| {
        let expected = in_tmux(&pane, &output);
        prop_assert_eq!(rendered(&output, &pieces), expected, "{:?}", String::from_utf8_lossy(&output));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn recordings_look_as_in_tmux() {
    let pane = Pane::start();
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings");
    let mut recordings = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "out") {
            let output = std::fs::read(&path).unwrap();
            assert_eq!(rendered(&output, &[1, 7, 4096]), in_tmux(&pane, &output), "{}", path.display());
            recordings += 1;
        }
    }
    assert!(recordings > 3, "{recordings} recordings in {directory}");
}

fn in_tmux(pane: &Pane, output: &[u8]) -> Rows {
    // Its colours come as control sequences; that these mean the right ones is pinned by the unit tests.
    rendered(&pane.show(output), &[4096])
}

/// Feeds the output in pieces of these sizes, over and over, and collects what is reported on the way.
fn rendered(output: &[u8], pieces: &[usize]) -> Rows {
    let mut screen = Screen::new(ROWS);
    let mut rows = BTreeMap::new();
    let (mut fed, mut sizes) = (0, pieces.iter().cycle());
    while fed < output.len() {
        let size = sizes.next().copied().unwrap_or(1).min(output.len() - fed);
        fed += screen.feed(&output[fed..fed + size], fed as u64);
        rows.extend(screen.take_changes().into_iter().map(|row| (row.id, row)));
    }
    let mut rows: Rows = rows.into_values().map(without_trailing_blanks).collect();
    let used = rows.iter().rposition(|row| !row.is_empty()).map_or(0, |index| index + 1);
    rows.truncate(used);
    rows
}

fn without_trailing_blanks(mut row: Row) -> Vec<Span> {
    while let Some(last) = row.spans.last_mut() {
        last.text.truncate(last.text.trim_end_matches(' ').len());
        if !last.text.is_empty() {
            break;
        }
        row.spans.pop();
    }
    assert!(row.text().len() < COLUMNS * 4, "too wide for the pane: {}", row.text());
    row.spans
}

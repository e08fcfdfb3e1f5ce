//! The boot page: the journal as a waterfall.

use std::time::{Duration, UNIX_EPOCH};

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use journal::Phase;
use kit::duration::{seconds, words};
use kit::units::{format_bytes, format_count};
use kit::{quote, rfc3339};

use crate::app_state::AppState;
use crate::boot_report::{BootReport, StageReport, StageState, TreeCopy};
use crate::client::Client;
use crate::frame::{self, Frame, Page};
use crate::page_access::require_owner;
use crate::pages::render;

/// Width of a timeline in units of its image.
const WIDTH: f64 = 1_000.0;
/// Smallest width of a bar, so that it can be seen.
const MIN_WIDTH: f64 = 4.0;
/// Seconds between two marks of the scale; beyond, the last one is doubled.
const STEPS: [f64; 15] =
    [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0];
/// Number of parts of the scale.
const PARTS: u8 = 4;

#[derive(Template)]
#[template(path = "boot.html")]
struct BootPage {
    frame: Frame,
    /// Class and words for the progress.
    phase: (&'static str, String),
    /// Time of the start, and time since then.
    began: String,
    age: String,
    /// Labels of the scale.
    marks: Vec<String>,
    /// Position of ready on the scale.
    ready: Option<String>,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    start: String,
    duration: String,
    /// Class and word for the result.
    result: (&'static str, &'static str),
    /// Start and width of the bar.
    bar: (String, String),
    in_background: bool,
    message: Option<String>,
    remedy: Option<String>,
    log: Option<&'static str>,
    copies: Vec<CopyRow>,
    notes: Vec<String>,
}

/// Progress of the copy of a tree.
struct CopyRow {
    tree: String,
    /// Percentage that is done; `None` once all is.
    percent: Option<u64>,
    text: String,
}

/// `GET /leonardo/boot`: shows the boot; an open page replaces its content every few seconds.
pub async fn boot_page(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    match require_owner(&state, client) {
        Ok(verdict) => {
            let report = BootReport::new(&frame::entries(&state), journal::unix_time());
            let frame = Frame::new(&state, client, verdict, Page::Boot);
            render(StatusCode::OK, &BootPage::new(frame, report))
        }
        Err(refusal) => *refusal,
    }
}

impl BootPage {
    fn new(frame: Frame, report: BootReport) -> Self {
        let step = step(report.length());
        let scale = step * f64::from(PARTS);
        let init = report.init_seconds().map(|length| init_row(length, scale));
        Self {
            frame,
            phase: phase(&report),
            began: moment(report.began),
            age: seconds((report.now - report.began).floor()),
            marks: (0..=PARTS).map(|part| seconds(step * f64::from(part))).collect(),
            ready: report.ready_after.map(|after| units(after, scale)),
            rows: init.into_iter().chain(report.stages.into_iter().map(|stage| row(stage, scale))).collect(),
        }
    }
}

/// Returns the distance of the marks for a waterfall of this length.
fn step(length: f64) -> f64 {
    let fits = |step: &f64| step * f64::from(PARTS) >= length;
    let doubled = std::iter::successors(Some(STEPS[STEPS.len() - 1]), |step| Some(step * 2.0)).take(30);
    STEPS.into_iter().chain(doubled).find(fits).unwrap_or(length)
}

fn phase(report: &BootReport) -> (&'static str, String) {
    match report.phase {
        Phase::Starting => ("busy", "Services are starting".to_owned()),
        Phase::Running => ("busy", format!("Running for {}", seconds(report.now - report.began))),
        Phase::Ready => ("good", format!("Ready after {}", seconds(report.ready_after.unwrap_or_default()))),
        Phase::Interrupted => ("bad", "Killed; supervisord starts it again".to_owned()),
        Phase::Stopped => ("warn", "Stopped; to resume, run: supervisorctl start boot".to_owned()),
        Phase::Abandoned => ("bad", "Abandoned after too many failures".to_owned()),
    }
}

fn init_row(length: f64, scale: f64) -> Row {
    Row {
        name: "init".to_owned(),
        start: seconds(0.0),
        duration: seconds(length),
        result: result(StageState::Done),
        bar: (units(0.0, scale), width(length, scale)),
        in_background: false,
        message: None,
        remedy: None,
        log: None,
        copies: Vec::new(),
        notes: Vec::new(),
    }
}

fn row(stage: StageReport, scale: f64) -> Row {
    let is_skipped = stage.state == StageState::Skipped;
    Row {
        name: stage.stage.to_string(),
        start: seconds(stage.start),
        duration: seconds(stage.seconds),
        result: result(stage.state),
        bar: (units(stage.start, scale), width(stage.seconds, scale)),
        in_background: stage.in_background,
        message: stage.message.map(|message| quote::escape_control(&message)),
        remedy: stage.remedy.map(|remedy| quote::escape_control(&remedy)),
        // The log of a skipped stage is empty.
        log: (!is_skipped).then_some(stage.log),
        copies: stage.copies.into_iter().map(|copy| copy_row(copy, stage.state)).collect(),
        notes: stage.notes.into_iter().map(|note| format!("{}: {}", note.tree, note.message)).collect(),
    }
}

fn result(state: StageState) -> (&'static str, &'static str) {
    match state {
        StageState::Running => ("busy", "running"),
        StageState::Done => ("good", "done"),
        StageState::Skipped => ("muted", "nothing to do"),
        StageState::Failed => ("bad", "failed"),
        StageState::Interrupted => ("warn", "interrupted"),
    }
}

/// Describes a copy. The last progress before the end of a successful stage is not the end.
fn copy_row(copy: TreeCopy, state: StageState) -> CopyRow {
    let TreeCopy { tree, bytes, bytes_total, entries, entries_total, bytes_per_second, seconds_left } = copy;
    let rate = format_bytes(bytes_per_second);
    if state == StageState::Done {
        return CopyRow { tree, percent: None, text: format!("{} at {rate}/s", format_bytes(bytes_total)) };
    }
    let percent = bytes.saturating_mul(100).checked_div(bytes_total).unwrap_or(100).min(100);
    let mut text = format!(
        "{percent} %, {} of {}, {} of {} files, {rate}/s",
        format_bytes(bytes),
        format_bytes(bytes_total),
        format_count(entries),
        format_count(entries_total),
    );
    if let Some(left) = seconds_left {
        text.extend([", ", &words(left), " left"]);
    }
    CopyRow { tree, percent: Some(percent), text }
}

/// Returns a moment as `2026-11-24 00:25:58 UTC`.
fn moment(at: f64) -> String {
    let since = Duration::try_from_secs_f64(at).unwrap_or_default();
    rfc3339::seconds(UNIX_EPOCH + since).replace('T', " ").replace('Z', " UTC")
}

/// Returns a position on a timeline.
fn units(at: f64, scale: f64) -> String {
    format!("{:.1}", (at / scale * WIDTH).clamp(0.0, WIDTH - MIN_WIDTH))
}

/// Returns the width of a bar.
fn width(length: f64, scale: f64) -> String {
    format!("{:.1}", (length / scale * WIDTH).clamp(MIN_WIDTH, WIDTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_has_round_marks_and_holds_the_waterfall() {
        for (length, expected) in [
            (0.1, 0.1),
            (0.4, 0.1),
            (0.41, 0.25),
            (12.0, 5.0),
            (41.0, 15.0),
            (7_000.0, 1_800.0),
            (7_201.0, 3_600.0),
            (1e5, 28_800.0),
        ] {
            assert!((step(length) - expected).abs() < 1e-9, "{length}: {}", step(length));
        }
    }

    #[test]
    fn every_bar_is_visible_and_inside() {
        assert_eq!(moment(1_795_954_211.4), "2026-11-29 12:10:11 UTC");
        assert_eq!((units(5.0, 10.0), width(0.001, 10.0)), ("500.0".to_owned(), "4.0".to_owned()));
        assert_eq!((units(11.0, 10.0), width(11.0, 10.0)), ("996.0".to_owned(), "1000.0".to_owned()));
    }

    #[test]
    fn a_copy_is_described_with_its_rate() {
        let copy = TreeCopy {
            tree: "micromamba".into(),
            bytes: 2_300_000_000,
            bytes_total: 5_450_000_000,
            entries: 12_000,
            entries_total: 63_000,
            bytes_per_second: 170_000_000,
            seconds_left: Some(32),
        };
        let row = copy_row(copy.clone(), StageState::Running);
        let text = "42 %, 2.3 GB of 5.5 GB, 12,000 of 63,000 files, 170.0 MB/s, 32 s left";
        assert_eq!((row.percent, row.text.as_str()), (Some(42), text));
        let row = copy_row(copy, StageState::Done);
        assert_eq!((row.percent, row.text.as_str()), (None, "5.5 GB at 170.0 MB/s"));
    }
}

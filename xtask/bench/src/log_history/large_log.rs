//! A large log, and what a viewer does with it.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use kit::rfc3339;
use log_history::file_id::FileId;
use log_history::time_index::{self, Recorder};
use log_history::{Budget, Event, Logs, Pattern, Query, search};

/// Time of the first line, in seconds since 1970.
pub const BEGIN: u64 = 1_795_478_400;
/// Bytes of the log in one second of its time.
pub const SECOND: u64 = 1 << 20;
/// Lines of a screen.
const SCREEN: usize = 200;

/// Times of a viewer.
pub struct Times {
    pub first_screen: Duration,
    pub jump: Duration,
    /// Until the search has found a line.
    pub first_hit: Duration,
    pub search: Duration,
    pub hits: u64,
}

/// Writes a log and its time index, one line in 1,000,000 with "needle"; `logtail` is the merged log.
pub fn write(root: &Path, name: &str, gigabytes: u64) -> Result<()> {
    let is_merged = name == "logtail";
    let directory = root.join(if is_merged { "var/log" } else { "var/log/supervisor" });
    fs::create_dir_all(&directory)?;
    let file = File::create(directory.join(format!("{name}.log")))?;
    let id = FileId::from_metadata(&file.metadata()?);
    let mut recorder = Recorder::new(time_index::directory(root));
    let (mut out, mut offset, mut number) = (BufWriter::with_capacity(1 << 20, file), 0, 0_u64);
    while offset < gigabytes * 1_000_000_000 {
        let time = UNIX_EPOCH + Duration::from_secs(BEGIN + offset / SECOND);
        if !is_merged {
            recorder.note(id, offset, time);
            recorder.save();
        }
        let stamp = if is_merged { format!("{} caddy | ", rfc3339::millis(time)) } else { String::new() };
        for _ in 0..SECOND / 100 {
            number += 1;
            let what = if number.is_multiple_of(1_000_000) { "needle" } else { "thread" };
            let line = format!(
                "{stamp}INFO request {number} of a client took 17 ms in a {what} of its own, and 304 is its answer\n"
            );
            out.write_all(line.as_bytes())?;
            offset += line.len() as u64;
        }
    }
    out.flush()?;
    Ok(())
}

/// Reads the log as a viewer does.
pub fn read(root: &Path, name: &str) -> Result<Times> {
    let logs = Logs::new(root);
    let started = Instant::now();
    let mut log = logs.open(name)?;
    let screen = log.lines_before(log.end(), SCREEN, 1 << 20)?;
    let first_screen = started.elapsed();
    let bytes = log.bytes_between(log.start(), log.end());
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let middle = (BEGIN + bytes / SECOND / 2) as f64;
    let started = Instant::now();
    let mut log = logs.open(name)?;
    let at = log.position_at(middle)?;
    let lines = log.lines_after(at, SCREEN, 1 << 20)?;
    let jump = started.elapsed();
    let found = lines.first().and_then(|line| line.time).context("no line at this time")?;
    if screen.len() != SCREEN || lines.len() != SCREEN || (found - middle).abs() > 2.0 {
        bail!("{} and {} lines, the first of {found} instead of {middle}", screen.len(), lines.len());
    }
    let (mut first, mut hits) = (None, 0);
    let pattern = Pattern::new("needle", false).map_err(anyhow::Error::msg)?;
    let query = Query { pattern: Some(pattern), ..Query::default() };
    let started = Instant::now();
    search(&mut [logs.open(name)?], &query, &Budget::default(), |event| {
        if let Event::Hit { .. } = event {
            first.get_or_insert_with(|| started.elapsed());
            hits += 1;
        }
        ControlFlow::Continue(())
    })?;
    Ok(Times { first_screen, jump, first_hit: first.unwrap_or_default(), search: started.elapsed(), hits })
}

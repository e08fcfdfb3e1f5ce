//! A live view: several logs, merged, in batches that a browser can show.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use log_history::Logs;

use super::MAX_ROWS;
use super::live_log::LiveLog;
use super::merge;
use super::message::Message;
use super::row::LogRow;
use super::view::{MAX_LOGS, View};

/// Maximum size of the rows of a batch, in bytes: about two seconds of a slow connection.
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// Interval at which new logs are looked for.
const LIST_INTERVAL: Duration = Duration::from_secs(2);

/// Live view of one visitor.
pub struct LiveView {
    logs: Logs,
    view: View,
    /// Where logs continue that are not open yet.
    cursor: BTreeMap<String, String>,
    live: BTreeMap<String, LiveLog>,
    listed: Option<Instant>,
    /// Logs that cannot be opened, which was reported.
    missing: BTreeMap<String, String>,
}

impl LiveView {
    /// Creates a view that continues at a cursor.
    pub fn new(logs: Logs, view: View, cursor: BTreeMap<String, String>) -> Self {
        Self { logs, view, cursor, live: BTreeMap::new(), listed: None, missing: BTreeMap::new() }
    }

    /// Reads the next batch; the first has at least a cursor. True if there is more to read now.
    pub fn read(&mut self, now: f64) -> (Vec<Message>, bool) {
        let is_first = self.listed.is_none();
        let mut messages = self.open_new();
        let (mut lists, mut has_more) = (Vec::new(), false);
        let mut skipped: BTreeMap<String, (Option<u64>, u64)> = BTreeMap::new();
        for live in self.live.values_mut() {
            let update = match live.read(&self.view.filter, now) {
                Ok(update) => update,
                Err(error) => {
                    let text = format!("{error:#}");
                    if self.missing.insert(live.service().to_owned(), text.clone()).as_ref() != Some(&text) {
                        messages.push(notice(live.service(), text, false));
                    }
                    continue;
                }
            };
            has_more |= update.has_more;
            messages.extend(update.notices.into_iter().map(|(text, new)| notice(live.service(), text, new)));
            if let Some(found) = update.skipped {
                skipped.insert(live.service().to_owned(), found);
            }
            if !update.rows.is_empty() {
                lists.push(update.rows);
            }
        }
        for (service, lines) in limit(&mut lists) {
            let entry = skipped.entry(service).or_insert((Some(0), 0));
            entry.0 = entry.0.map(|known| known + lines);
        }
        let count = |(service, (lines, bytes))| Message::Skipped { service, lines, bytes };
        let has_skipped = !skipped.is_empty();
        messages.extend(skipped.into_iter().map(count));
        let rows = merge::by_time(lists, |row: &LogRow| row.time);
        if !rows.is_empty() || has_skipped {
            messages.push(Message::Rows { rows, cursor: self.cursor() });
        } else if is_first || !messages.is_empty() {
            messages.push(Message::Cursor { cursor: self.cursor() });
        }
        (messages, has_more)
    }

    /// Returns where every log continues.
    fn cursor(&self) -> BTreeMap<String, String> {
        let live = self.live.iter().map(|(service, live)| (service.clone(), live.cursor()));
        self.cursor.clone().into_iter().chain(live).collect()
    }

    /// Opens logs that are new, and those that could not be opened before.
    fn open_new(&mut self) -> Vec<Message> {
        if self.listed.is_some_and(|listed| listed.elapsed() < LIST_INTERVAL) {
            return Vec::new();
        }
        let is_first = self.listed.replace(Instant::now()).is_none();
        let names = if self.view.services.is_empty() {
            let listed = self.logs.names().unwrap_or_default();
            listed.into_iter().map(|log| log.name).take(MAX_LOGS).collect()
        } else {
            self.view.services.clone()
        };
        let mut messages = Vec::new();
        for name in names {
            if self.live.contains_key(&name) {
                continue;
            }
            let cursor = self.cursor.get(&name).map(String::as_str);
            match LiveLog::open(&self.logs, &name, cursor) {
                Ok(live) => {
                    // One that did not exist before is shown from its first line.
                    let is_known = is_first && self.cursor.is_empty() && !self.missing.contains_key(&name);
                    let is_new = cursor.is_none() && !is_known;
                    let live = if is_new { live.at_start() } else { live };
                    self.missing.remove(&name);
                    self.live.insert(name, live);
                }
                Err(error) => {
                    let text = format!("{error:#}");
                    if self.missing.insert(name.clone(), text.clone()).as_ref() != Some(&text) {
                        messages.push(notice(&name, text, false));
                    }
                }
            }
        }
        messages
    }
}

fn notice(service: &str, text: String, restarted: bool) -> Message {
    Message::Notice { service: service.to_owned(), text, restarted }
}

/// Removes the oldest rows of the longest lists until a browser can show the rest; returns how many each log lost.
fn limit(lists: &mut [Vec<LogRow>]) -> Vec<(String, u64)> {
    let lengths: Vec<usize> = lists.iter().map(Vec::len).collect();
    let share = merge::fair_share(&lengths, MAX_ROWS);
    let weights: Vec<usize> = lists.iter().map(|rows| rows.iter().map(LogRow::weight).sum()).collect();
    let bytes = merge::fair_share(&weights, MAX_BATCH_BYTES);
    let mut lost = Vec::new();
    for (rows, mut weight) in lists.iter_mut().zip(weights) {
        let mut removed = rows.len().saturating_sub(share);
        weight -= rows[..removed].iter().map(LogRow::weight).sum::<usize>();
        while weight > bytes && removed + 1 < rows.len() {
            weight -= rows[removed].weight();
            removed += 1;
        }
        if removed > 0 {
            lost.push((rows[0].service.clone(), removed as u64));
            rows.drain(..removed);
        }
    }
    lost
}

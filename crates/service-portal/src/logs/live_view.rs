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
        let is_new = self.listed.replace(Instant::now()).is_none() && self.cursor.is_empty();
        let mut messages = Vec::new();
        let names = if !self.view.services.is_empty() {
            self.view.services.clone()
        } else if let Ok(listed) = self.logs.names() {
            let names: Vec<String> = listed.into_iter().map(|log| log.name).take(MAX_LOGS).collect();
            messages.extend(self.forget_others(&names));
            names
        } else {
            Vec::new()
        };
        for name in names {
            if self.live.contains_key(&name) {
                continue;
            }
            let cursor = self.cursor.get(&name).map(String::as_str);
            match LiveLog::open(&self.logs, &name, cursor) {
                Ok(live) => {
                    // One that did not exist before is shown from its first line.
                    let is_known = is_new && !self.missing.contains_key(&name);
                    let live = if cursor.is_none() && !is_known { live.at_start() } else { live };
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

impl LiveView {
    /// Forgets logs that are gone, or too many, with a notice: a program may have a log for each of its jobs.
    fn forget_others(&mut self, names: &[String]) -> Vec<Message> {
        let is_listed = |name: &String| names.binary_search(name).is_ok();
        let is_full = names.len() >= MAX_LOGS;
        let is_forgotten =
            |name: &String, live: &mut LiveLog| !is_listed(name) && (live.is_gone() || is_full);
        let forgotten: Vec<_> =
            self.live.extract_if(.., is_forgotten).filter(|(_, live)| !live.is_gone()).collect();
        self.cursor.retain(|name, _| is_listed(name) || self.live.contains_key(name));
        let text = format!("is no longer shown: a view has at most {MAX_LOGS} logs");
        forgotten.iter().map(|(name, _)| notice(name, text.clone(), false)).collect()
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::view::ViewRequest;
    use super::*;

    #[test]
    fn a_view_of_all_logs_forgets_those_that_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("var/log/supervisor");
        fs::create_dir_all(&path).unwrap();
        for name in ["job-1.log", "job-2.log"] {
            fs::write(path.join(name), "line\n").unwrap();
        }
        let cursor = BTreeMap::from([("job-0".to_owned(), "1-1.5".to_owned())]);
        let view = View::new(&ViewRequest::default()).unwrap();
        let mut live = LiveView::new(Logs::new(directory.path()), view, cursor);
        let names = |live: &LiveView| live.cursor().into_keys().collect::<Vec<_>>();
        live.read(1.0);
        assert_eq!(names(&live), ["job-1", "job-2"]);
        fs::remove_file(path.join("job-1.log")).unwrap();
        let (messages, _) = live.read(2.0);
        assert!(matches!(&messages[0], Message::Notice { service, .. } if service == "job-1"));
        live.listed = Instant::now().checked_sub(LIST_INTERVAL);
        live.read(3.0);
        assert_eq!(names(&live), ["job-2"]);
        for number in 0..MAX_LOGS {
            fs::write(path.join(format!("a-{number}.log")), "").unwrap();
        }
        live.listed = Instant::now().checked_sub(LIST_INTERVAL);
        let (messages, _) = live.read(4.0);
        assert!(matches!(&messages[0], Message::Notice { service, .. } if service == "job-2"));
    }
}

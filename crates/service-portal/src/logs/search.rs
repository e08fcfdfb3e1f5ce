//! The newest lines that the filter shows, as they are found, with progress.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use log_history::{Budget, Event, Log, Logs, Order, Query, search};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::timeout;

use super::message::Message;
use super::rendering;
use super::row::LogRow;
use super::transports::lines;
use super::view::{View, ViewRequest};
use crate::app_state::AppState;

/// Maximum number of lines; the script continues when its reader scrolls.
const MAX_HITS: usize = 500;
/// Rows of one message.
const MAX_ROWS: usize = 50;
/// Time after which a search ends; the script continues it.
const MAX_TIME: Duration = Duration::from_secs(20);
/// Time after which a search ends whose visitor takes nothing: others wait.
const SEAT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time after which a visitor who takes nothing is disconnected.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Minimum time between two messages about progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);
/// Minimum time between two messages with rows; the first is sent at once.
const ROWS_INTERVAL: Duration = Duration::from_millis(30);

/// `POST /leonardo/logs/search`: returns messages as lines: progress, rows with the newest first, and the end.
pub async fn search_logs(State(state): State<AppState>, Json(request): Json<ViewRequest>) -> Response {
    let view = match View::new(&request) {
        Ok(view) => view,
        Err(invalid) => return invalid.into_response(),
    };
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let logs = state.log_pages().logs().clone();
        let Some(seat) = take_seat(state.log_pages().searches(), &sender).await else { return };
        let output = sender.clone();
        let rest = tokio::task::spawn_blocking(move || run(&logs, &view, output)).await;
        drop(seat);
        for message in rest.unwrap_or_default() {
            if !matches!(timeout(SEND_TIMEOUT, sender.send(message)).await, Ok(Ok(()))) {
                return;
            }
        }
    });
    lines(receiver)
}

/// Waits until no other search runs; `None` if the visitor has gone.
async fn take_seat<'a>(seats: &'a Semaphore, sender: &mpsc::Sender<String>) -> Option<SemaphorePermit<'a>> {
    if let Ok(seat) = seats.try_acquire() {
        return Some(seat);
    }
    let text = "Waiting until another search has ended.".to_owned();
    let notice = Message::Notice { service: String::new(), text, restarted: false };
    sender.send(notice.to_json()).await.ok()?;
    tokio::select! {
        seat = seats.acquire() => seat.ok(),
        () = sender.closed() => None,
    }
}

/// Searches, and sends messages until the visitor is gone; returns those that a visitor did not take, who takes nothing.
fn run(logs: &Logs, view: &View, sender: mpsc::Sender<String>) -> Vec<String> {
    let (mut opened, notices) = view.open(logs);
    let mut output = Output {
        runtime: Handle::current(),
        sender,
        rows: Vec::new(),
        rest: Vec::new(),
        sent_rows: None,
        sent_progress: None,
    };
    for text in notices {
        let _ = output.send(&Message::Notice { service: String::new(), text, restarted: false });
    }
    let names: Vec<String> = opened.iter().map(|log| log.name().to_owned()).collect();
    let to = live_places(&mut opened);
    let from = view.until.map(|until| {
        opened.iter_mut().map(|log| log.position_at(until).unwrap_or_else(|_| log.end())).collect()
    });
    let query = Query { order: Order::NewestFirst, from, ..view.query() };
    let budget = Budget { hits: MAX_HITS, deadline: Some(Instant::now() + MAX_TIME), ..Budget::default() };
    let ended = search(&mut opened, &query, &budget, |event| match event {
        Event::Hit { log, line } => output.hit(rendering::single(&names[log], &line)),
        Event::Progress { done, total } => output.progress(done, total),
    });
    let _ = output.flush();
    let done = match ended {
        Ok(ended) => {
            for (file, reason) in ended.problems {
                let text = format!("cannot search {file}: {reason}");
                let _ = output.send(&Message::Notice { service: String::new(), text, restarted: false });
            }
            let from = names.iter().cloned().zip(ended.from.iter().map(ToString::to_string)).collect();
            Message::Done { from, to, at_start: ended.complete }
        }
        Err(error) => Message::Error { message: format!("{error:#}"), field: "view" },
    };
    let _ = output.send(&done);
    output.rest
}

/// Returns where a live view of each log continues: at its end, or at its unfinished line.
fn live_places(logs: &mut [Log]) -> BTreeMap<String, String> {
    let place = |log: &mut Log| {
        let end = log.end();
        let last = log.lines_before(end, 1, 1).ok().and_then(|lines| lines.into_iter().next());
        last.filter(|line| !line.ended).map_or(end, |line| line.position).to_string()
    };
    logs.iter_mut().map(|log| (log.name().to_owned(), place(log))).collect()
}

/// Messages to the visitor.
struct Output {
    runtime: Handle,
    sender: mpsc::Sender<String>,
    rows: Vec<LogRow>,
    /// Messages that were not taken in time.
    rest: Vec<String>,
    sent_rows: Option<Instant>,
    sent_progress: Option<Instant>,
}

impl Output {
    fn hit(&mut self, row: Option<LogRow>) -> ControlFlow<()> {
        self.rows.extend(row);
        let is_due = self.sent_rows.is_none_or(|sent| sent.elapsed() >= ROWS_INTERVAL);
        if is_due || self.rows.len() >= MAX_ROWS { self.flush() } else { ControlFlow::Continue(()) }
    }

    fn progress(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        if self.sent_progress.is_some_and(|sent| sent.elapsed() < PROGRESS_INTERVAL) {
            return ControlFlow::Continue(());
        }
        self.sent_progress = Some(Instant::now());
        self.flush()?;
        self.send(&Message::Progress { done, total })
    }

    fn flush(&mut self) -> ControlFlow<()> {
        if self.rows.is_empty() {
            return ControlFlow::Continue(());
        }
        self.sent_rows = Some(Instant::now());
        let rows = std::mem::take(&mut self.rows);
        self.send(&Message::Rows { rows, cursor: BTreeMap::new() })
    }

    /// Sends a message; breaks if the visitor is gone. One who takes nothing stops the search, and gets the rest later.
    fn send(&mut self, message: &Message) -> ControlFlow<()> {
        if self.rest.is_empty() {
            let sending = self.sender.reserve();
            match self.runtime.block_on(async { timeout(SEAT_TIMEOUT, sending).await }) {
                Ok(Ok(place)) => {
                    place.send(message.to_json());
                    return ControlFlow::Continue(());
                }
                Ok(Err(_)) => return ControlFlow::Break(()),
                Err(_) => {}
            }
        }
        self.rest.push(message.to_json());
        ControlFlow::Break(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_search_waits_with_a_message_until_its_visitor_has_gone() {
        let seats = Semaphore::new(1);
        let (sender, mut receiver) = mpsc::channel(4);
        let seat = take_seat(&seats, &sender).await;
        assert!(seat.is_some() && receiver.is_empty());
        let gone = async {
            assert!(receiver.recv().await.unwrap().contains("another search"));
            drop(receiver);
        };
        let (second, ()) = tokio::join!(take_seat(&seats, &sender), gone);
        assert!(second.is_none());
    }

    #[tokio::test]
    async fn a_visitor_who_takes_nothing_ends_the_search_and_gets_its_end_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("var/log/supervisor");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("app.log"), "line\n".repeat(400)).unwrap();
        let (sender, mut receiver) = mpsc::channel(1);
        let logs = Logs::new(directory.path());
        let view = View::new(&ViewRequest { filter: "line".to_owned(), ..ViewRequest::default() }).unwrap();
        let rest = tokio::task::spawn_blocking(move || run(&logs, &view, sender)).await.unwrap();
        assert!(receiver.recv().await.unwrap().starts_with("{\"type\":\"rows\""));
        assert_eq!(receiver.recv().await, None);
        let last = rest.last().unwrap();
        assert!(last.contains("\"done\"") && last.contains("\"at_start\":false"), "{rest:?}");
    }
}

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
/// Rows of one message, and their size in bytes: a slow connection must take it in time.
const MAX_ROWS: usize = 50;
const MAX_BYTES: usize = 32 * 1024;
/// Time after which a search ends; the script continues it.
const MAX_TIME: Duration = Duration::from_secs(20);
/// Time after which a search ends whose visitor takes nothing: others wait.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
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
        let _ = tokio::task::spawn_blocking(move || run(&logs, &view, sender)).await;
        drop(seat);
    });
    lines(receiver)
}

/// Waits until no other search runs; `None` if the visitor has gone.
async fn take_seat<'a>(seats: &'a Semaphore, sender: &mpsc::Sender<String>) -> Option<SemaphorePermit<'a>> {
    if let Ok(seat) = seats.try_acquire() {
        return Some(seat);
    }
    sender.send(Message::Waiting.to_json()).await.ok()?;
    tokio::select! {
        seat = seats.acquire() => seat.ok(),
        () = sender.closed() => None,
    }
}

/// Searches, and sends messages until the visitor is gone, or takes nothing.
fn run(logs: &Logs, view: &View, sender: mpsc::Sender<String>) {
    let (mut opened, notices) = view.open(logs);
    let mut output = Output {
        runtime: Handle::current(),
        sender: Some(sender),
        rows: Vec::new(),
        sent_rows: None,
        sent_progress: None,
    };
    for text in notices {
        let _ = output.send(&Message::Notice { service: String::new(), text, restarted: false });
    }
    let names: Vec<String> = opened.iter().map(|log| log.name().to_owned()).collect();
    let to = live_places(&mut opened);
    let query = Query { order: Order::NewestFirst, ..view.query() };
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
    /// `None` after the visitor took nothing.
    sender: Option<mpsc::Sender<String>>,
    rows: Vec<LogRow>,
    sent_rows: Option<Instant>,
    sent_progress: Option<Instant>,
}

impl Output {
    fn hit(&mut self, row: Option<LogRow>) -> ControlFlow<()> {
        self.rows.extend(row);
        let is_due = self.sent_rows.is_none_or(|sent| sent.elapsed() >= ROWS_INTERVAL);
        let is_full = || self.rows.iter().map(LogRow::weight).sum::<usize>() >= MAX_BYTES;
        if is_due || self.rows.len() >= MAX_ROWS || is_full() {
            self.flush()
        } else {
            ControlFlow::Continue(())
        }
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

    /// Sends a message; breaks if the visitor is gone, or takes nothing.
    fn send(&mut self, message: &Message) -> ControlFlow<()> {
        let Some(sender) = &self.sender else { return ControlFlow::Break(()) };
        let sending = sender.send(message.to_json());
        if let Ok(Ok(())) = self.runtime.block_on(async { timeout(SEND_TIMEOUT, sending).await }) {
            return ControlFlow::Continue(());
        }
        self.sender = None;
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
            assert!(receiver.recv().await.unwrap().contains("waiting"));
            drop(receiver);
        };
        let (second, ()) = tokio::join!(take_seat(&seats, &sender), gone);
        assert!(second.is_none());
    }
}

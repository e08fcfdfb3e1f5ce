//! Live messages for one connection: reads, waits for changes, and checks that the visitor is still logged in.

use std::time::Duration;

use axum::http::HeaderMap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::live_view::LiveView;
use super::message::Message;
use super::view::{View, ViewRequest};
use super::{LogPages, unix_seconds};
use crate::app_state::AppState;
use crate::client::Client;
use crate::page_access;

/// Minimum time between two batches.
const BATCH_INTERVAL: Duration = Duration::from_millis(100);
/// Time after which a view is read even without a notification.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// Time after which a silent connection gets a message.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Interval at which the login is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Time after which a visitor who takes nothing is disconnected.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);

/// Starts a live view; messages are JSON. It ends when the receiver is dropped; the second receiver notices its end.
pub fn start(
    state: AppState,
    headers: HeaderMap,
    request: ViewRequest,
) -> (mpsc::Receiver<String>, oneshot::Receiver<()>) {
    // One message waits while another is sent: a visitor who reads slowly holds no more.
    let (sender, receiver) = mpsc::channel(1);
    let (running, ended) = oneshot::channel();
    tokio::spawn(async move {
        let _running = running;
        let connection = Connection { state, headers, sender };
        connection.run(request).await;
    });
    (receiver, ended)
}

struct Connection {
    state: AppState,
    headers: HeaderMap,
    sender: mpsc::Sender<String>,
}

/// The connection is closed, or the visitor is logged out.
struct Closed;

impl Connection {
    async fn run(self, request: ViewRequest) {
        let pages = self.state.log_pages().clone();
        let result = match (View::new(&request), pages.take_seat()) {
            (Err(invalid), _) => {
                self.send(&Message::Error { message: invalid.message, field: invalid.field }).await
            }
            (_, None) => {
                let message =
                    "too many live views are open; close other tabs, then reload this page".to_owned();
                self.send(&Message::Error { message, field: "view" }).await
            }
            (Ok(view), Some(_seat)) => {
                let view = LiveView::new(pages.logs().clone(), view, request.cursor);
                self.follow(&pages, view).await
            }
        };
        let Err(Closed) = result else { return };
        if !self.is_allowed() {
            let _ = timeout(BATCH_INTERVAL, self.sender.send(Message::End.to_json())).await;
        }
    }

    async fn follow(&self, pages: &LogPages, mut view: LiveView) -> Result<(), Closed> {
        let mut changes = pages.subscribe();
        let mut check = interval(CHECK_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent = Instant::now();
        loop {
            let began = Instant::now();
            let _ = changes.borrow_and_update();
            let (back, messages, has_more) = pages
                .read(move || {
                    let (messages, has_more) = view.read(unix_seconds());
                    let messages: Vec<String> = messages.iter().map(Message::to_json).collect();
                    (view, messages, has_more)
                })
                .await
                .ok_or(Closed)?;
            view = back;
            if !messages.is_empty() {
                sent = Instant::now();
            }
            for message in messages {
                self.send_text(message).await?;
            }
            if sent.elapsed() >= PING_INTERVAL {
                self.send(&Message::Ping).await?;
                sent = Instant::now();
            }
            let earliest = sleep_until(began + BATCH_INTERVAL);
            let latest = if has_more { began } else { began + READ_INTERVAL };
            let wake = async {
                let notified = async {
                    if changes.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    () = notified => {}
                    () = sleep_until(latest) => {}
                }
                earliest.await;
            };
            tokio::pin!(wake);
            loop {
                tokio::select! {
                    () = &mut wake => break,
                    () = self.sender.closed() => return Err(Closed),
                    _ = check.tick() => if !self.is_allowed() { return Err(Closed) },
                }
            }
        }
    }

    async fn send(&self, message: &Message) -> Result<(), Closed> {
        self.send_text(message.to_json()).await
    }

    /// Sends a message; checks the login while the visitor takes nothing.
    async fn send_text(&self, message: String) -> Result<(), Closed> {
        let sending = timeout(SEND_TIMEOUT, self.sender.send(message));
        tokio::pin!(sending);
        loop {
            match timeout(CHECK_INTERVAL, &mut sending).await {
                Ok(Ok(Ok(()))) => return Ok(()),
                Ok(_) => return Err(Closed),
                Err(_) if !self.is_allowed() => return Err(Closed),
                Err(_) => {}
            }
        }
    }

    /// True while the visitor's session is valid.
    fn is_allowed(&self) -> bool {
        page_access::require_owner(&self.state, Client(&self.headers)).is_ok()
    }
}

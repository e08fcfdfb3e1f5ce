//! The log page: one log, several, or all merged by time; live, with history back to the first byte on disk.
//!
//! Reading is done by `log-history` on other threads, a few at a time, so that the gate keeps answering. The live protocol is in
//! [`message`]; `assets/logs.js` is its other half.

mod download;
mod events;
mod history;
mod live;
mod live_log;
mod live_view;
mod log_page;
mod merge;
mod message;
mod rendering;
mod row;
mod search;
mod transports;
mod view;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use log_history::Logs;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::app_state::AppState;
use crate::client::Client;
use crate::page_access::require_owner_form;
use crate::response;
use events::LogEvents;
pub use view::LEVELS;

/// Maximum number of rows in one batch.
const MAX_ROWS: usize = 300;
/// Maximum size of a request, in bytes: a cursor names a place in every log.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// Time within which the body of a request must arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of live views.
const MAX_VIEWERS: usize = 64;
/// Maximum number of threads that read.
const MAX_READERS: usize = 2;
/// Maximum number of searches at a time; others wait. Each has two threads.
const MAX_SEARCHES: usize = 1;
/// Maximum number of downloads at a time.
const MAX_DOWNLOADS: usize = 8;

pub fn routes(state: &AppState) -> Router<AppState> {
    let of_script = Router::new()
        .route("/leonardo/logs/socket", get(transports::socket))
        .route("/leonardo/logs/stream", post(transports::stream))
        .route("/leonardo/logs/poll", post(transports::poll))
        .route("/leonardo/logs/history", post(history::history))
        .route("/leonardo/logs/search", post(search::search_logs))
        .route_layer(from_fn_with_state(state.clone(), check))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES));
    of_script
        .route("/leonardo/logs", get(log_page::log_page))
        .route("/leonardo/logs/download", get(download::download))
}

/// Passes on requests of the page's script by the owner; reads the body of no other, so that a stranger cannot hold a connection.
async fn check(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if let Err(refusal) = require_owner_form(&state, Client(request.headers())) {
        return *refusal;
    }
    let (head, body) = request.into_parts();
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_REQUEST_BYTES)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(head, Body::from(body))).await,
        Ok(Err(_)) => response::json_error(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large"),
        Err(_) => response::json_error(StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time"),
    }
}

/// The logs, and limits for reading them; cheap to clone.
#[derive(Clone)]
pub struct LogPages(Arc<Shared>);

struct Shared {
    logs: Logs,
    events: LogEvents,
    seats: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    searches: Semaphore,
    downloads: Arc<Semaphore>,
}

impl LogPages {
    /// Names the logs below a root directory.
    pub fn new(root: &Path) -> Self {
        let directories = ["var/log", "var/log/supervisor"].map(|directory| root.join(directory));
        Self(Arc::new(Shared {
            logs: Logs::new(root),
            events: LogEvents::new(directories.to_vec()),
            seats: Arc::new(Semaphore::new(MAX_VIEWERS)),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            searches: Semaphore::new(MAX_SEARCHES),
            downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
        }))
    }

    pub fn logs(&self) -> &Logs {
        &self.0.logs
    }

    /// Returns the permit for a live view; `None` if there are too many.
    fn take_seat(&self) -> Option<OwnedSemaphorePermit> {
        self.0.seats.clone().try_acquire_owned().ok()
    }

    fn take_download(&self) -> Option<OwnedSemaphorePermit> {
        self.0.downloads.clone().try_acquire_owned().ok()
    }

    /// Returns a receiver that changes with the logs.
    fn subscribe(&self) -> watch::Receiver<()> {
        self.0.events.subscribe()
    }

    /// Reads on another thread; `None` if that failed. A reader whose request has ended counts until it is done.
    pub async fn read<T: Send + 'static>(&self, read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let permit = self.0.readers.clone().acquire_owned().await.ok()?;
        let read = move || {
            let _permit = permit;
            read()
        };
        tokio::task::spawn_blocking(read).await.ok()
    }

    /// Limits searches.
    fn searches(&self) -> &Semaphore {
        &self.0.searches
    }
}

/// Returns the time in seconds since the epoch.
fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

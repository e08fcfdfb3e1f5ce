//! One login for every web service, and a page of links to them.
//!
//! Caddy asks this program for every request to a proxied port (`GET /gate/verify`, see [`gate`]) and hands it the
//! login form and the page of links directly. It listens on a Unix socket that only Caddy can reach, runs as an
//! unprivileged user, and keeps every comparison of a secret here, in constant time, out of the proxy's configuration.

mod answer;
mod cli;
mod client;
mod cookies;
mod credentials;
mod gate;
mod links;
mod login;
mod next;
mod pages;
mod routes;
mod sessions;
mod state;
mod throttle;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Parser;
use kit::{Env, Exit, Outcome};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

pub use cli::command;

/// Runs the command line; returns when it is told to stop.
pub fn run() -> Outcome {
    let cli = cli::Cli::try_parse()?;
    kit::lean::keep_only(is_needed)?;
    let state = state::State::new(&cli, Env::of_process())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    runtime.block_on(serve(&cli.socket, state))?;
    Ok(Exit::Done)
}

/// What the portal uses of the container's environment: a setting, and where the provider publishes ports.
fn is_needed(name: &str) -> bool {
    matches!(name, "LANG" | "WEB_ENABLE_AUTH") || cloud::is_used(name)
}

async fn serve(socket: &Path, state: state::State) -> Result<()> {
    let listener = listen(socket)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    log::info!("listening on {}", socket.display());
    tokio::select! {
        served = axum::serve(listener, routes::router(state)).into_future() => served.context("the server ended"),
        // Requests are answered in microseconds: there is nothing to wait for.
        _ = terminate.recv() => Ok(()),
    }
}

/// Takes over the socket's name from an earlier instance; the group (Caddy's) may connect, nobody else.
fn listen(socket: &Path) -> Result<UnixListener> {
    let cannot = || format!("cannot listen on {}", socket.display());
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(cannot),
        _ => {}
    }
    let listener = UnixListener::bind(socket).with_context(cannot)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o660)).with_context(cannot)?;
    Ok(listener)
}

//! Serve the login, the gate and the page of services.
//!
//! Caddy sends a subrequest for every request to a proxied port (`GET /gate/verify`, see [`gate`]) and forwards requests
//! for the login form and the page of services. The portal runs as an unprivileged user and listens on a Unix socket that
//! only Caddy can reach. Secrets are compared here, in constant time, and are not in the proxy's configuration. Commands
//! inside the container (`share`, `portal-link`) use a second socket, see [`control_api`].

mod access_page;
mod api;
mod api_tokens;
mod app_state;
mod assets;
mod audit;
mod boot_page;
mod boot_problems;
mod boot_report;
mod cli;
mod client;
mod client_network;
mod control_api;
mod cookies;
mod credentials;
mod error_page;
mod frame;
mod frame_page;
mod gate;
mod host;
mod known_device;
mod leaky_bucket;
mod link_redemption;
mod log_limit;
mod login;
mod login_codes;
mod login_handover;
mod logs;
mod origins;
mod page_access;
mod pages;
mod problems;
mod processes;
mod qr_code;
mod qr_page;
mod request_guard;
mod requester;
mod response;
mod return_path;
mod routes;
mod selftest_page;
mod server;
mod service_address;
mod service_links;
mod service_state;
mod service_streams;
mod services_page;
mod session_start;
mod sessions;
mod shares;
mod signing;
mod state_file;
mod status;
mod storage_status;
mod system;
mod throttle;
mod unavailable;
mod url_token;
mod user_agent;
mod verdict;

use std::fs;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use kit::lock::Lock;
use kit::{Env, Exit, HintExt, Outcome};
use tokio::signal::unix::{SignalKind, signal};

pub use cli::command;

/// Runs the command line; returns after SIGTERM.
pub fn run() -> Outcome {
    let cli = cli::Cli::try_parse()?;
    kit::privileges::drop_to("portal")?;
    kit::env_scrub::reexec_with(is_relevant_variable)?;
    if let Err(error) = fs::create_dir_all(&cli.state) {
        log::warn!("cannot create {}: {error}", cli.state.display());
    }
    // A second portal would replace the sockets of the first.
    let _only = Lock::lock_directory(&cli.state)
        .context("cannot start the portal")
        .hint(|| "run: supervisorctl status serviceportal".to_owned())?;
    let state = app_state::AppState::new(&cli, Env::from_process())?;
    // The pages work without figures.
    if let Err(error) = state.system().start(&system::paths(state.env())) {
        log::error!("{error:#}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(Duration::from_secs(u32::MAX.into()))
        .build()
        .context("cannot start the asynchronous runtime")?;
    runtime.block_on(start_blocking_threads())?;
    let served = runtime.block_on(serve(&cli, state));
    // Everything is saved. A thread that reads a slow disk or waits for a restart of this portal is not waited for.
    runtime.shutdown_background();
    served?;
    Ok(Exit::Done)
}

/// Threads that read logs and ask other programs.
const BLOCKING_THREADS: usize = 16;

/// Starts all blocking threads, which then never end: the runtime panics if it cannot start one later, such as in a container
/// that has reached its limit of processes.
async fn start_blocking_threads() -> Result<()> {
    let all = Arc::new(Barrier::new(BLOCKING_THREADS));
    let start = |_| {
        let all = Arc::clone(&all);
        tokio::task::spawn_blocking(move || _ = all.wait())
    };
    let started: Vec<_> = (0..BLOCKING_THREADS).map(start).collect();
    for thread in started {
        thread.await.context("cannot start a thread")?;
    }
    Ok(())
}

/// True if the portal or its C library uses this environment variable: a setting, or a published port of the provider.
fn is_relevant_variable(name: &str) -> bool {
    matches!(
        name,
        "IMAGE_TITLE"
            | "LANG"
            | "MALLOC_ARENA_MAX"
            | "SSH_PORT"
            | "WEB_ENABLE_AUTH"
            | "WORKSPACE"
            | cloud::ALLOWED_HOSTS
            | cloud::HTTPS
            | cloud::ONE_CLICK_VARIABLE
    ) || cloud::is_relevant_variable(name)
}

async fn serve(cli: &cli::Cli, state: app_state::AppState) -> Result<()> {
    let (visitors, commands) = (server::listen(&cli.socket)?, server::listen(&cli.control)?);
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut tick = tokio::time::interval(FLUSH_INTERVAL);
    log::info!("listening on {} and {}", cli.socket.display(), cli.control.display());
    tokio::spawn(server::serve(visitors, routes::router(state.clone())));
    tokio::spawn(server::serve(commands, control_api::router(state.clone())));
    loop {
        tokio::select! {
            _ = tick.tick() => {
                state.sessions().flush();
                state.shares().flush();
                state.api_tokens().flush();
                state.key_file().flush();
                audit::flush(false);
            }
            // Requests take microseconds, so none is waited for.
            _ = terminate.recv() => {
                state.sessions().flush();
                state.api_tokens().flush();
                audit::flush(true);
                return Ok(());
            }
        }
    }
}

/// Interval at which unsaved state is written.
const FLUSH_INTERVAL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;

//! Start, stop and list the programs of supervisord for the portal.
//!
//! Access to supervisord's socket equals root: its interface starts, signals and reconfigures anything. The portal faces
//! the network, so its account must not have it. This program stands in between: it runs as root, listens on a socket for
//! the portal's account, and knows five requests only: list, start, stop and restart of programs that supervisord has, and
//! the self-test.
//!
//! The library is the portal's side: [`list`], [`act`] and [`selftest`].

mod action;
mod base_programs;
mod cli;
mod client;
mod connection;
mod control;
pub mod limits;
mod outcome;
mod process_info;
mod process_tree;
mod program_list;
mod protocol;
mod rate_limit;
mod selection;
mod selftest_run;
mod server;
mod supervisord;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use kit::Outcome as ExitOutcome;
use kit::lock::Lock;

pub use base_programs::{BASE_PROGRAMS, BaseProgram, is_base_program};
pub use cli::command;
pub use client::{act, list, selftest};
pub use protocol::{Action, Exit, Outcome, Program, Refusal, RefusalKind, SOCKET};

/// Runs the command line; never returns without an error.
pub fn run() -> ExitOutcome {
    let cli = cli::Cli::try_parse()?;
    let directory = cli.socket.parent().unwrap_or(Path::new("/"));
    // A second one would replace the socket of the first. The portal can read the directory but not open this file, so it
    // cannot hold the lock.
    let only = Lock::open(&directory.join("lock"))?;
    only.acquire(Duration::from_secs(5))?;
    let client = server::client_uid(&cli.account)?;
    let control = Arc::new(control::Control::new(&cli.supervisord, &cli.journal));
    let listener = server::listen(&cli.socket)?;
    log::info!("listening on {}", cli.socket.display());
    let starting = Arc::clone(&control);
    if std::thread::Builder::new().spawn(move || starting.start_protected()).is_err() {
        control.start_protected();
    }
    server::serve(listener, client, control)?;
    Ok(kit::Exit::Done)
}

//! Open Cloudflare tunnels to the portal and the services, and keep them open.
//!
//! `tunnel-run quick` runs one cloudflared for the portal and for each registered service that asks for a login; `tunnel-run
//! named` runs the one of `CF_TUNNEL_TOKEN`. A quick tunnel leads to a port on which Caddy listens, never to a service itself,
//! which asks for no login. An address is published when its tunnel has been connected for five seconds, and never looked up from here: the
//! answer to an early look-up has no addresses, and resolvers keep it for half an hour.
//!
//! Addresses and causes are in the status files of the library `tunnels`. cloudflared runs as an account of its own, with an
//! empty environment, a configuration of root's, and the token in a file; it is killed with this program. Its output is
//! copied to a log of bounded size, and read for causes.
//!
//! Decisions are pure: [`wanted`] selects the ports, [`lifecycle`] advances one tunnel by what was seen in a second.

mod backoff;
mod child;
mod cli;
mod cloudflared;
mod diagnosis;
mod ingress;
mod lifecycle;
mod listeners;
mod managed_tunnel;
mod metrics;
mod named;
mod output_log;
mod quick;
mod settings;
mod times;
mod wanted;

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use kit::account_db::AccountDb;
use kit::lock::Lock;
use kit::{Env, Exit, HintExt, Outcome, threads, wait};
use nix::sys::signal::{SigSet, Signal};
use tunnels::{Cause, Kind, Status};

pub use cli::command;
use cli::{Cli, Task};
use managed_tunnel::ManagedTunnel;
use named::NamedTunnel;
use quick::QuickTunnels;
use settings::Settings;
use times::{STOP, TICK, Times};

/// Time for the kernel to end killed processes.
const REAP_TIMEOUT: Duration = Duration::from_secs(1);

/// The tunnels of one kind.
trait Program {
    /// Opens, keeps and closes tunnels.
    fn tick(&mut self, now: Instant);
    /// Returns the content of the status file.
    fn status(&self, now: Instant) -> Status;
    /// Returns all tunnels.
    fn tunnels(&mut self) -> Vec<&mut ManagedTunnel>;
}

/// Runs the command line; returns after a signal.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    let kind = match &cli.task {
        Task::Child { parent, command } => return child::run(&cli.account, *parent, command),
        Task::Quick => Kind::Quick,
        Task::Named => Kind::Named,
    };
    // The token may be among the others.
    kit::env_scrub::reexec_with(settings::is_relevant_variable)?;
    let (settings, problems) = Settings::read(&Env::from_process());
    problems.iter().for_each(|problem| log::warn!("{problem}"));
    let lock = Lock::open(&cli.status.join(format!(".{}.lock", kind.program())))?;
    lock.acquire(Duration::ZERO)
        .with_context(|| format!("another tunnel-run keeps the tunnels of {} open", kind.program()))
        .hint(|| format!("run: supervisorctl status {}", kind.program()))?;
    // Blocked before any thread exists, so that every thread inherits the mask.
    let signals = signals()?;
    let times = Times(cli.time_divisor);
    let now = Instant::now();
    let mut program: Box<dyn Program> = match kind {
        Kind::Quick => Box::new(QuickTunnels::new(&cli, settings, user_id(&cli.proxy_account)?, times, now)),
        Kind::Named => Box::new(NamedTunnel::new(&cli, times, now)),
    };
    if kind == Kind::Quick && !settings.has_login {
        // Anyone who knows an address could use everything.
        log::warn!("quick tunnels need the login, which WEB_ENABLE_AUTH=false turns off; none is opened");
        signals.recv()?;
        return Ok(Exit::Done);
    }
    serve(kind, &cli, program.as_mut(), &signals, times)?;
    kit::remove_file(&kind.file(&cli.status))?;
    stop(program.as_mut());
    Ok(Exit::Done)
}

fn user_id(account: &str) -> Result<u32> {
    let accounts = AccountDb::read()?;
    Ok(accounts.user(account).with_context(|| format!("user {account} does not exist"))?.ids.uid)
}

/// Returns a queue that gets an entry for SIGTERM and SIGINT.
fn signals() -> Result<Receiver<()>> {
    let set = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    set.thread_block().context("cannot install the signal handler")?;
    let (sender, receiver) = channel();
    threads::start(move || while set.wait().is_ok() && sender.send(()).is_ok() {})?;
    Ok(receiver)
}

/// Looks at everything once a second, and writes the status file when something has changed, until a signal.
fn serve(
    kind: Kind,
    cli: &Cli,
    program: &mut dyn Program,
    signals: &Receiver<()>,
    times: Times,
) -> Result<()> {
    let (mut last, mut is_written, mut has_failed): (Option<Status>, _, _) = (None, false, false);
    loop {
        let now = Instant::now();
        program.tick(now);
        let status = program.status(now);
        if !is_written || last.as_ref() != Some(&status) {
            report_missing(kind, last.as_ref(), &status);
            let written = status.write(kind, &cli.status);
            (is_written, last) = (written.is_ok(), Some(status));
            match written {
                Ok(()) => has_failed = false,
                // It is tried again in a second, and reported once.
                Err(error) if !has_failed => {
                    log::warn!("{error:#}");
                    has_failed = true;
                }
                Err(_) => {}
            }
        }
        match signals.recv_timeout(times.of(TICK)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) => return Ok(()),
            Err(error) => return Err(error).context("lost the signals"),
        }
    }
}

/// Logs that cloudflared is missing, once.
fn report_missing(kind: Kind, before: Option<&Status>, now: &Status) {
    let is_missing = |status: &Status| status.cause == Some(Cause::Missing);
    if !is_missing(now) || before.is_some_and(is_missing) {
        return;
    }
    let message = Cause::Missing.message(kind, None);
    let remedy = Cause::Missing.remedy(kind, 0).unwrap_or_default();
    let level = if kind == Kind::Named { log::Level::Warn } else { log::Level::Info };
    log::log!(level, "no tunnels: {message}; {remedy}");
}

/// Ends every cloudflared.
fn stop(program: &mut dyn Program) {
    let mut ended = |signal, timeout| {
        program.tunnels().iter().for_each(|tunnel| tunnel.signal(signal));
        let mut all_exited =
            || program.tunnels().into_iter().all(|tunnel| tunnel.has_exited(Instant::now())).then_some(());
        wait::until(timeout, "cloudflared to exit", &mut all_exited).is_ok()
    };
    if !ended(Signal::SIGTERM, Duration::from_secs(STOP)) && !ended(Signal::SIGKILL, REAP_TIMEOUT) {
        log::warn!("cloudflared did not exit");
    }
}

//! One `rclone mount` for each configured remote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use kit::{Env, Problem, cmd, wait};
use nix::sys::signal::Signal;
use workspace::Workspace;

use crate::cli::Cli;
use crate::configuration::{self, Changes};
use crate::environment;
use crate::fuse;
use crate::mount_point::RemoteDirectory;
use crate::pending_uploads;
use crate::remotes::{self, Remotes};
use crate::report_once;
use crate::stop_signal::StopSignal;
use crate::supervised::{self, KILL_TIMEOUT, Supervised};

/// Pause after an unsuccessful request for the list of remotes.
const RETRY: Duration = Duration::from_secs(30);
/// Time for uploads before the mounts are detached. The whole stop takes less than supervisord's `stopwaitsecs`.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for rclone to exit after SIGTERM.
const EXIT_TIMEOUT: Duration = Duration::from_millis(500);
/// Number of files that a message names.
const LISTED: usize = 5;

/// The mounts of this container.
pub struct Mounter<'a> {
    cli: &'a Cli,
    start: SystemTime,
    env: Env,
    workspace: Workspace,
    directory: RemoteDirectory,
    obstacle: Option<String>,
    changes: Changes,
    retry: Option<Instant>,
    /// Reasons that are in the log already.
    failure: Option<String>,
    refused: Vec<String>,
    mounts: BTreeMap<String, Supervised>,
}

impl<'a> Mounter<'a> {
    /// Detaches mounts of an earlier run, whose rclone processes have been killed with it.
    pub fn new(cli: &'a Cli) -> Self {
        let (workspace, problems) = Workspace::from_env(&Env::from_process());
        problems.iter().for_each(|problem| log::warn!("{problem}"));
        let directory = RemoteDirectory::new(workspace.clone());
        if let Err(error) = directory.detach_all() {
            log::warn!("{error:#}");
        }
        let env = environment::environment(Env::from_process(), &cli.store, &workspace);
        Self {
            cli,
            start: SystemTime::now(),
            env,
            workspace,
            directory,
            obstacle: fuse::obstacle(),
            changes: Changes::default(),
            retry: None,
            failure: None,
            refused: Vec::new(),
            mounts: BTreeMap::new(),
        }
    }

    /// Mounts remotes that were added, unmounts those that were removed, and starts again what has exited.
    pub fn update(&mut self, stop: &StopSignal) {
        let file = environment::configuration(&self.env);
        let is_changed = self.changes.detect(&[file.clone(), self.cli.store.clone()]);
        if is_changed || self.retry.is_some_and(|due| due <= Instant::now()) {
            self.env = environment::environment(Env::from_process(), &self.cli.store, &self.workspace);
            if let Err(error) = configuration::share_with_group(&file) {
                log::warn!("{error:#}");
            }
            match self.list(&file, stop) {
                Ok(remotes) => self.apply(remotes, stop),
                Err(_) if stop.is_received() => {}
                Err(error) => self.fail(format!("{error:#}")),
            }
        }
        let Self { cli, env, directory, mounts, .. } = self;
        for (name, mount) in mounts {
            if mount.update(|| start(cli, env, directory, name)) {
                log::info!("rclone mount {name}: has ended; to start it again: supervisorctl restart rclone");
            }
        }
    }

    fn fail(&mut self, reason: String) {
        self.retry = Some(Instant::now() + RETRY);
        if self.failure.as_ref() != Some(&reason) {
            log::error!("{reason}; will retry every {} s", RETRY.as_secs());
            self.report("cannot read the configured remotes; see logtail rclone for the reason".to_owned());
            self.failure = Some(reason);
        }
    }

    fn report(&self, message: String) {
        report_once(&self.cli.journal, Problem::new("rclone", message))
            .unwrap_or_else(|error| log::warn!("{error:#}"));
    }

    /// Returns the remotes. Most containers have none: then rclone is not started.
    fn list(&self, file: &Path, stop: &StopSignal) -> Result<Remotes> {
        if !file.exists() && !environment::defines_remote(&self.env) {
            return Ok(Remotes { names: Vec::new(), refused: Vec::new() });
        }
        remotes::list(rclone(self.cli, &self.env), || stop.is_received())
    }

    fn apply(&mut self, remotes: Remotes, stop: &StopSignal) {
        (self.retry, self.failure) = (None, None);
        if remotes.refused != self.refused {
            remotes.refused.iter().for_each(|reason| log::warn!("{reason}"));
            self.refused = remotes.refused;
        }
        if let Some(obstacle) = &self.obstacle {
            if !remotes.names.is_empty() {
                self.report(format!(
                    "remotes are not mounted: {obstacle}; start the container with --device /dev/fuse --cap-add \
                     SYS_ADMIN --security-opt apparmor=unconfined; the rclone command works without"
                ));
            }
            return;
        }
        let mut removed = self.mounts.extract_if(.., |name, _| !remotes.names.contains(name)).collect();
        self.wait_for_uploads(&mut removed, || stop.is_received());
        if stop.is_received() {
            // All are unmounted together.
            self.mounts.append(&mut removed);
            return;
        }
        self.unmount(removed);
        for name in remotes.names {
            let process = format!("rclone mount {name}:");
            self.mounts.entry(name).or_insert_with(|| Supervised::new(process));
        }
    }

    /// Unmounts everything, within [`UPLOAD_TIMEOUT`] and two seconds.
    pub fn stop(mut self) {
        let mut mounts = std::mem::take(&mut self.mounts);
        self.wait_for_uploads(&mut mounts, || false);
        self.unmount(mounts);
    }

    fn unmount(&self, mut mounts: BTreeMap<String, Supervised>) {
        for name in mounts.keys() {
            if let Err(error) = self.directory.detach(name) {
                log::warn!("{error:#}");
            }
        }
        if !supervised::end(mounts.values_mut(), Signal::SIGTERM, EXIT_TIMEOUT) {
            log::info!("killing rclone: a remote does not answer");
            if !supervised::end(mounts.values_mut(), Signal::SIGKILL, KILL_TIMEOUT) {
                log::warn!("rclone does not exit");
            }
        }
    }

    /// rclone exits with its last uploads undone once its mount is gone, so these come first. Ends early if
    /// `is_stopping` becomes true.
    fn wait_for_uploads(&self, mounts: &mut BTreeMap<String, Supervised>, is_stopping: impl Fn() -> bool) {
        if !mounts.values_mut().any(Supervised::is_running) {
            return;
        }
        let cache = environment::cache(&self.env);
        let deadline = Instant::now() + UPLOAD_TIMEOUT;
        let mut pending = Vec::new();
        // Reported below.
        let _ = wait::until(UPLOAD_TIMEOUT, "uploads", || {
            pending =
                if is_stopping() { Vec::new() } else { pending_uploads::find(&cache, self.start, deadline)? };
            pending.is_empty().then_some(())
        });
        if !pending.is_empty() {
            let listed = pending.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let others = pending.len().saturating_sub(LISTED);
            let others = if others == 0 { String::new() } else { format!(" and {others} more") };
            log::warn!(
                "not uploaded yet: {listed}{others}; they are in RCLONE_CACHE_DIR and are uploaded while their \
                 remote is mounted"
            );
        }
    }
}

/// Returns rclone with its environment. It ends with this process.
fn rclone(cli: &Cli, env: &Env) -> Command {
    let mut command = cmd::killed_with_parent(&cli.rclone);
    command.env_clear().envs(env.iter()).stdin(Stdio::null());
    command
}

/// Mounts a remote.
fn start(cli: &Cli, env: &Env, directory: &RemoteDirectory, name: &str) -> Result<Child> {
    directory.detach(name)?;
    directory.create(name)?;
    let path: PathBuf = directory.mount_point(name);
    log::info!("mounting {name}: on {}", path.display());
    let mut command = rclone(cli, env);
    command.args(["mount", &format!("{name}:")]).arg(path);
    command.spawn().with_context(|| format!("cannot run {}", cmd::describe(&command)))
}

//! One `rclone mount` for each configured remote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kit::{Env, Problem, cmd, wait};
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
use crate::supervised::Supervised;

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
    env: Env,
    workspace: Workspace,
    directory: RemoteDirectory,
    obstacle: Option<String>,
    changes: Changes,
    retry: Option<Instant>,
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
            env,
            workspace,
            directory,
            obstacle: fuse::obstacle(),
            changes: Changes::default(),
            retry: None,
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
                Ok(remotes) => self.apply(remotes),
                Err(error) => {
                    log::error!("{error:#}; next attempt in {} s", RETRY.as_secs());
                    self.retry = Some(Instant::now() + RETRY);
                }
            }
        }
        let Self { cli, env, directory, mounts, .. } = self;
        for (name, mount) in mounts {
            mount.update(|| start(cli, env, directory, name));
        }
    }

    /// Returns the remotes. Most containers have none: then rclone is not started.
    fn list(&self, file: &Path, stop: &StopSignal) -> Result<Remotes> {
        if !file.exists() && !environment::defines_remote(&self.env) {
            return Ok(Remotes { names: Vec::new(), refused: Vec::new() });
        }
        remotes::list(rclone(self.cli, &self.env), || stop.is_received())
    }

    fn apply(&mut self, remotes: Remotes) {
        self.retry = None;
        remotes.refused.iter().for_each(|reason| log::warn!("{reason}"));
        if let Some(obstacle) = &self.obstacle {
            if !remotes.names.is_empty() {
                let message = format!(
                    "remotes are not mounted: {obstacle}; start it with --device /dev/fuse --cap-add SYS_ADMIN \
                     --security-opt apparmor=unconfined; the rclone command works without"
                );
                report_once(&self.cli.journal, Problem::new("rclone", message))
                    .unwrap_or_else(|error| log::warn!("{error:#}"));
            }
            return;
        }
        let removed = self.mounts.extract_if(.., |name, _| !remotes.names.contains(name)).collect();
        self.unmount(removed);
        for name in remotes.names {
            let process = format!("rclone mount {name}:");
            self.mounts.entry(name).or_insert_with(|| Supervised::new(process));
        }
    }

    /// Unmounts everything, within [`UPLOAD_TIMEOUT`] and two seconds.
    pub fn stop(mut self) {
        let mounts = std::mem::take(&mut self.mounts);
        self.unmount(mounts);
    }

    /// rclone exits with its last uploads undone once its mount is gone, so these come first.
    fn unmount(&self, mut mounts: BTreeMap<String, Supervised>) {
        if mounts.values_mut().any(Supervised::is_running) {
            self.wait_for_uploads();
        }
        for name in mounts.keys() {
            if let Err(error) = self.directory.detach(name) {
                log::warn!("{error:#}");
            }
        }
        mounts.values_mut().for_each(Supervised::terminate);
        let have_exited = || (!mounts.values_mut().any(Supervised::is_running)).then_some(());
        if wait::until(EXIT_TIMEOUT, "rclone to exit", have_exited).is_err() {
            log::info!("killing rclone: a remote does not answer");
        }
        mounts.into_values().for_each(Supervised::kill);
    }

    fn wait_for_uploads(&self) {
        let cache = environment::cache(&self.env);
        let deadline = Instant::now() + UPLOAD_TIMEOUT;
        let mut pending = Vec::new();
        // Reported below.
        let _ = wait::until(UPLOAD_TIMEOUT, "uploads", || {
            pending = pending_uploads::find(&cache, deadline)?;
            pending.is_empty().then_some(())
        });
        if !pending.is_empty() {
            let listed = pending.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let others = pending.len().saturating_sub(LISTED);
            let others = if others == 0 { String::new() } else { format!(" and {others} more") };
            log::warn!(
                "not uploaded yet: {listed}{others}; will be uploaded when this container starts again"
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

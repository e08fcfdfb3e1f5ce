//! Corrects owners, modes and ACLs of `/opt` and of the workspace.
//!
//! Only wrong entries are written: on an overlay file system each write copies the whole file into the container's layer.
//! A second run changes nothing. The tool can be killed at any time and run again.
//!
//! # `/opt` (`--only container`)
//!
//! Everything is shared with the group `leonardo`: the group gets the owner's permissions, and new entries of a directory
//! inherit the group (set-group-ID, on directories only). Permissions are only added. Skipped are
//!
//! * programs that root runs, and trees of services or packages: the table is in `opt_rules.rs`;
//! * private entries (no bits for group and others) with their content, which are counted, and `.ssh`;
//! * privileged programs: set-user-ID, set-group-ID, capabilities;
//! * symbolic links. `/opt/NAME` is often one: its tree is corrected at its real path.
//!
//! # The workspace (`--only workspace`)
//!
//! Programs in a container run as root, and the volume's owner (`WORKSPACE_UID`) has to be able to use their files:
//!
//! * each directory has a default ACL `user:WORKSPACE_UID:rwx`, so new entries are open to that user;
//! * entries of root get an ACL that gives that user the permissions that the mode gives root.
//!
//! The same entries are skipped, except that the volume owner's own private directories are entered. A file with several
//! hard links is changed only if all of them are in the workspace: otherwise the link may have been made without its owner's
//! consent. In a `.ssh` directory no access is ever added, and modes that ssh refuses are corrected: no write access for
//! others, none at all to private keys (`id_*`), no default ACL.
//!
//! # Limits
//!
//! A file system that has no ACLs, modes or groups, that refuses a change, or is mounted read-only: one warning for each kind
//! of change, with a count and the first path, and exit code 0, because another run would fail the same way. A workspace
//! that root may not open is skipped, with the reason. Any other failure (no space, a broken device) is an error.
//! Links are not followed, other mounts are not entered, and entries that vanish during the walk are ignored.

mod acl;
mod acl_batch;
mod change;
mod cli;
mod entry;
mod entry_handle;
mod hard_links;
mod opt_rules;
mod report;
mod rules;
mod summary;
mod target_workspace;
mod walk;
mod workspace_rules;

use std::io;
use std::iter;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use kit::{Env, Exit, HintExt, Outcome};
use nix::errno::Errno;

pub use change::{Change, ChangeKind};
pub use cli::command;
pub use summary::{EntryCount, ErrorCount, Summary};
pub use walk::{Step, StepCallback};

use acl::{Acl, AclKind};
use cli::{Cli, Part};
use entry::ALL;
use entry_handle::{EntryHandle, set_acls};
use report::Report;
use target_workspace::TargetWorkspace;

/// A tree to correct, and the group or user to give access to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// Shared with a group, by the rules of `/opt`.
    Container {
        /// Path of the tree: `/opt`.
        path: PathBuf,
        /// The group.
        gid: u32,
    },
    /// Accessible to a volume's owner, by the rules of the workspace.
    Workspace {
        /// Path of the tree; on a mount other than `/`.
        path: PathBuf,
        /// The volume's owner; not root.
        uid: u32,
    },
}

/// Corrects a tree, or with `dry_run` only finds the changes that are needed; calls `on_step` for each, from several threads.
///
/// Fails if the tree cannot be opened, or with the error of `on_step`. Errors of single entries are in the summary.
pub fn fix_tree(tree: &Tree, dry_run: bool, on_step: StepCallback<'_>) -> Result<Summary> {
    match tree {
        Tree::Container { path, gid } => {
            let root = open(path)?;
            Ok(walk::walk(&opt_rules::OptRules { gid: *gid }, path, root, dry_run, on_step)?)
        }
        Tree::Workspace { path, uid } => {
            let root = open(path)?;
            let mount = |open: &OwnedFd| Ok::<_, Errno>((dirfd::mount_id(open), dirfd::identity(open)?.0));
            if mount(&root)? == mount(&dirfd::open_root("/")?)? {
                bail!("{} is not on a mounted volume", path.display());
            }
            Ok(walk::walk(&workspace_rules::WorkspaceRules { uid: *uid }, path, root, dry_run, on_step)?)
        }
    }
}

/// Gives `uid` access to the directory `path` itself and to its future entries, by ACLs; `Unsupported` if its file system has
/// none. If `uid` owns the directory, on which an ACL has no effect, only future entries are concerned.
pub fn grant_access(path: &Path, uid: u32) -> io::Result<()> {
    grant_access_to(dirfd::open_root(path)?, uid)
}

/// Does the same for an open directory.
pub fn grant_access_to(directory: OwnedFd, uid: u32) -> io::Result<()> {
    let handle = EntryHandle::open(Arc::new(directory));
    let entry = handle.stat()?;
    let access = handle.acl(AclKind::Access)?.unwrap_or_else(|| Acl::from_mode(&entry));
    let default = handle.acl(AclKind::Default)?.unwrap_or_else(|| access.clone().into_default());
    let access = (entry.uid != uid).then(|| Change::Access(uid, ALL, access.with_user(uid, ALL)));
    let changes = access.into_iter().chain([Change::Default(uid, default.with_user(uid, ALL))]);
    changes.into_iter().try_for_each(|change| set_acls(iter::once(&handle), &change))
}

fn open(path: &Path) -> Result<OwnedFd> {
    dirfd::open_root(path).map_err(io::Error::from).with_context(|| format!("cannot open {}", path.display()))
}

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    cli.verbosity.apply();
    if !cli.dry_run && !nix::unistd::geteuid().is_root() {
        return Err(anyhow!("changing owners and modes requires root"))
            .hint(|| "run: sudo fix-perms, or fix-perms --dry-run".to_owned());
    }
    let is_selected = |part| cli.only.is_none_or(|only| only == part);
    let on_step = |step: &Step<'_>| {
        if cli.dry_run {
            return report::print_step(step, cli.json);
        }
        log::debug!("{step}");
        Ok(())
    };
    let mut report = Report::new(cli.dry_run);
    let mut complete = true;
    let mut fix = |report: &mut Report, part, tree: &Tree, path: &Path| -> Result<()> {
        let summary = fix_tree(tree, cli.dry_run, &on_step)?;
        report::warn(&summary);
        complete &= summary.is_complete();
        report.add(part, path, &summary);
        Ok(())
    };
    if is_selected(Part::Container) {
        let tree = Tree::Container { path: cli.opt.clone(), gid: group(&cli.group)? };
        fix(&mut report, "container", &tree, &cli.opt)?;
    }
    if is_selected(Part::Workspace) {
        // sudo passes on few variables, and `docker exec` those that the container was created with.
        let env = env_store::settings_in_force(Env::from_process(), Path::new(env_store::PATH));
        match target_workspace::from_env(&env)? {
            TargetWorkspace::None(reason) => report.skip("workspace", reason),
            TargetWorkspace::Mounted { path, uid } => {
                let tree = Tree::Workspace { path: path.clone(), uid };
                match fix(&mut report, "workspace", &tree, &path) {
                    // Another run would fail the same way.
                    Err(error) if is_access_denied(&error) => {
                        report.skip("workspace", format!("{error:#}"));
                    }
                    fixed => fixed?,
                }
            }
        }
    }
    report.print(cli.json)?;
    Ok(if complete { Exit::Done } else { Exit::No })
}

fn is_access_denied(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) == Some(Errno::EACCES as i32)
}

fn group(name: &str) -> Result<u32> {
    let group = uzers::get_group_by_name(name).ok_or_else(|| anyhow!("group {name} does not exist"));
    group
        .map(|group| group.gid())
        .hint(|| "fix-perms runs inside a container made from the base image".to_owned())
}

//! Owners, modes and ACLs of `/opt` and of the workspace, made right where they are wrong.
//!
//! A second run finds nothing to change and writes nothing; on an overlay file system each needless change would copy a
//! whole file into the container's layer. The tool may be killed at any time and started again.
//!
//! # `/opt` (`--only container`)
//!
//! Everything is shared with the group `leonardo`: it may do what an entry's owner may do, and what is made in a directory
//! gets the group too (set-group-ID, on directories alone). Rights are only ever added. Left alone are
//!
//! * what root runs, and what belongs to services or packages: the table is in `container.rs`;
//! * what its owner keeps to itself (no bits for group and others), with all that is in it, and `.ssh`;
//! * programs that run with somebody else's rights: set-user-ID, set-group-ID, capabilities;
//! * links, which have no mode and whose owner means nothing. `/opt/NAME` is often one: its tree is met where it really is.
//!
//! # The workspace (`--only workspace`)
//!
//! Programs in a container run as root, and the volume's owner (`WORKSPACE_UID`) shall be able to use what they make:
//!
//! * each directory has a default ACL `user:WORKSPACE_UID:rwx`, so new entries are open to that user;
//! * what root owns already gets an ACL that gives that user what its mode gives root.
//!
//! Left alone is the same as above, except that the volume owner's own private directories are entered. A file with several
//! names is changed if all of them are in the workspace: otherwise it may be somebody's who never put it there. In a `.ssh`
//! directory nothing is ever given to anybody; what ssh would refuse is closed: others may not write, private keys
//! (`id_*`) are their owner's alone, and no ACL is inherited.
//!
//! # What cannot be done
//!
//! A file system that keeps no ACLs, modes or groups, that refuses, or is mounted read-only: one warning for each kind of
//! change, with a count and the first path, and exit code 0, because nothing would be right after another run either. A
//! workspace that root may not open is skipped, with the reason. What else fails (no space, a broken device) is an error.
//! Links are not followed, other mounts are not entered, and entries that vanish meanwhile are no problem.

mod acl;
mod apply;
mod batch;
mod change;
mod cli;
mod container;
mod entry;
mod names;
mod report;
mod rules;
mod tally;
mod volume;
mod walk;
mod workspace;

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
pub use tally::{Tally, Trouble};
pub use walk::{Step, Tell};

use acl::{Acl, List};
use apply::{Held, set_acls};
use cli::{Cli, Part};
use entry::ALL;
use report::Report;
use volume::Volume;

/// A tree to correct, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// Shared with a group, by the rules of `/opt`.
    Container {
        /// Where it is: `/opt`.
        path: PathBuf,
        /// The group.
        gid: u32,
    },
    /// Open to a volume's owner, by the rules of the workspace.
    Workspace {
        /// Where it is; on a mount other than `/`.
        path: PathBuf,
        /// The volume's owner; not root.
        uid: u32,
    },
}

/// Corrects a tree, or with `dry_run` only finds out what is wrong; `tell` hears of each step from several threads.
///
/// Fails if the tree cannot be opened, or with the error of `tell`. What goes wrong with an entry is in the tally.
pub fn fix(tree: &Tree, dry_run: bool, tell: Tell<'_>) -> Result<Tally> {
    match tree {
        Tree::Container { path, gid } => {
            let top = open(path)?;
            Ok(walk::walk(&rules::Container { gid: *gid }, path, top, dry_run, tell)?)
        }
        Tree::Workspace { path, uid } => {
            let top = open(path)?;
            let mount = |open: &OwnedFd| Ok::<_, Errno>((dirfd::mount_id(open), dirfd::identity(open)?.0));
            if mount(&top)? == mount(&dirfd::open_root("/")?)? {
                bail!("{} is not on a mounted volume", path.display());
            }
            Ok(walk::walk(&rules::Workspace { uid: *uid }, path, top, dry_run, tell)?)
        }
    }
}

/// Lets `uid` use the directory `top` itself and what is made in it, by ACLs; `Unsupported` where its file system keeps none.
/// Where `uid` owns `top`, on which an ACL has no effect, it is what is made there alone.
pub fn open_to(top: &Path, uid: u32) -> io::Result<()> {
    let held = Held::open(Arc::new(dirfd::open_root(top)?));
    let entry = held.look()?;
    let access = held.acl(List::Access)?.unwrap_or_else(|| Acl::of(&entry));
    let default = held.acl(List::Default)?.unwrap_or_else(|| access.clone().into_default());
    let access = (entry.uid != uid).then(|| Change::Access(uid, ALL, access.granting(uid, ALL)));
    let changes = access.into_iter().chain([Change::Default(uid, default.granting(uid, ALL))]);
    changes.into_iter().try_for_each(|change| set_acls(iter::once(&held), &change))
}

fn open(path: &Path) -> Result<OwnedFd> {
    dirfd::open_root(path).map_err(io::Error::from).with_context(|| format!("cannot open {}", path.display()))
}

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    if !cli.dry_run && !nix::unistd::geteuid().is_root() {
        return Err(anyhow!("changing owners and modes requires root"))
            .hint(|| "sudo fix-perms, or fix-perms --dry-run".to_owned());
    }
    let wants = |part| cli.only.is_none_or(|only| only == part);
    let tell = |step: &Step<'_>| if cli.dry_run { report::print_step(step, cli.json) } else { Ok(()) };
    let mut report = Report::new(cli.dry_run);
    let mut complete = true;
    let mut settle = |report: &mut Report, part, tree: &Tree, path: &Path| -> Result<()> {
        let tally = fix(tree, cli.dry_run, &tell)?;
        report::warn(&tally);
        complete &= tally.is_complete();
        report.add(part, path, &tally);
        Ok(())
    };
    if wants(Part::Container) {
        let tree = Tree::Container { path: cli.opt.clone(), gid: group(&cli.group)? };
        settle(&mut report, "container", &tree, &cli.opt)?;
    }
    if wants(Part::Workspace) {
        // sudo and `docker exec` hand on little; what init settled is in the store.
        match volume::find(&env_store::session_env(Env::from_process(), Path::new(env_store::PATH)))? {
            Volume::None(reason) => report.skip("workspace", reason),
            Volume::Mounted { path, uid } => {
                let tree = Tree::Workspace { path: path.clone(), uid };
                match settle(&mut report, "workspace", &tree, &path) {
                    // Nothing would be right after another run either.
                    Err(error) if is_closed(&error) => {
                        report.skip("workspace", format!("{error:#}"));
                    }
                    settled => settled?,
                }
            }
        }
    }
    report.print(cli.json)?;
    Ok(if complete { Exit::Done } else { Exit::No })
}

fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) == Some(Errno::EACCES as i32)
}

fn group(name: &str) -> Result<u32> {
    let group = uzers::get_group_by_name(name).ok_or_else(|| anyhow!("there is no group {name}"));
    group
        .map(|group| group.gid())
        .hint(|| "fix-perms runs inside a container made from the base image".to_owned())
}

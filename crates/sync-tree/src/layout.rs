//! The layout of a tree, and the steps that lead to it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::{HintExt, missing_ok};
use nix::errno::Errno;

/// Paths of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    name: String,
    /// `/opt/NAME`, the path for programs.
    pub link: PathBuf,
    /// `/opt/.image/NAME`, the image's tree.
    pub tree: PathBuf,
}

/// An entry at one of the two paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// A symbolic link to this path.
    Link(PathBuf),
    /// Another kind of file.
    Other,
}

/// A step towards the layout. After a kill, the rest of the steps follows from what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Create an empty tree.
    CreateTree,
    /// Move the directory at the link's path to the tree's path.
    MoveDirectory,
    /// Create the link.
    CreateLink,
}

/// A layout that would need someone's files to be replaced: what is in the way, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What is in the way.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Layout {
    /// Returns the paths of the tree `name` below `opt`.
    pub fn new(opt: &Path, name: &str) -> Self {
        Self { name: name.to_owned(), link: opt.join(name), tree: opt.join(".image").join(name) }
    }

    /// Reads the entries at both paths, link first.
    pub fn read(&self) -> Result<(Entry, Entry)> {
        Ok((Entry::at(&self.link)?, Entry::at(&self.tree)?))
    }

    /// Returns the missing steps.
    pub fn plan(&self, link: &Entry, tree: &Entry) -> Result<Vec<Step>, Conflict> {
        let (at_link, at_tree) = (self.link.display(), self.tree.display());
        let conflict = |message, remedy| Err(Conflict { message, remedy });
        match (link, tree) {
            (_, Entry::Link(_) | Entry::Other) => {
                conflict(format!("{at_tree} is not a directory"), format!("remove it: rm {at_tree}"))
            }
            (Entry::Other, _) => {
                conflict(format!("{at_link} is not a directory"), "choose another name".to_owned())
            }
            (Entry::Link(to), _) if *to != self.tree => conflict(
                format!("{at_link} is a link to {}", to.display()),
                format!("remove it, if nothing needs it: rm {at_link}"),
            ),
            (Entry::Directory, Entry::Directory) => conflict(
                format!("{at_link} and {at_tree} are both directories"),
                "remove the one that is not needed".to_owned(),
            ),
            (Entry::Directory, Entry::Missing) => Ok(vec![Step::MoveDirectory, Step::CreateLink]),
            (Entry::Missing, Entry::Missing) => Ok(vec![Step::CreateTree, Step::CreateLink]),
            (Entry::Missing, Entry::Directory) => Ok(vec![Step::CreateLink]),
            (Entry::Link(_), Entry::Missing) => Ok(vec![Step::CreateTree]),
            (Entry::Link(_), Entry::Directory) => Ok(vec![]),
        }
    }

    /// Makes one step.
    pub fn apply(&self, step: Step, gid: u32) -> Result<()> {
        match step {
            Step::CreateTree => self.create_tree(gid),
            Step::MoveDirectory => self.move_directory(),
            Step::CreateLink => symlink(&self.tree, &self.link)
                .with_context(|| format!("cannot create the link {}", self.link.display())),
        }
    }

    /// With the owner and mode that `fix-perms` gives to directories of trees.
    fn create_tree(&self, gid: u32) -> Result<()> {
        fs::create_dir(&self.tree)
            // A new group clears the set-group-ID bit, so the mode comes last.
            .and_then(|()| chown(&self.tree, None, Some(gid)))
            .and_then(|()| fs::set_permissions(&self.tree, Permissions::from_mode(0o2775)))
            .with_context(|| format!("cannot create {}", self.tree.display()))
    }

    fn move_directory(&self) -> Result<()> {
        let Self { name, link, tree } = self;
        let moved = fs::rename(link, tree);
        let is_of_lower_layer =
            moved.as_ref().is_err_and(|error| error.raw_os_error() == Some(Errno::EXDEV as i32));
        let moved = moved.with_context(|| format!("cannot move {} to {}", link.display(), tree.display()));
        if !is_of_lower_layer {
            return moved;
        }
        moved.context(format!("{} is of an earlier step of the Dockerfile, or a mount", link.display())).hint(
            || {
                format!(
                    "run sync-tree in the step that creates it: RUN sync-tree add {name} && … ; for COPY, in a step before: \
                     RUN sync-tree add {name}, then COPY … {}/",
                    link.display()
                )
            },
        )
    }
}

impl Entry {
    /// Reads the entry at a path.
    pub fn at(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot access {}", path.display());
        let Some(meta) = missing_ok(fs::symlink_metadata(path)).with_context(cannot)? else {
            return Ok(Self::Missing);
        };
        Ok(match () {
            () if meta.is_dir() => Self::Directory,
            () if meta.is_symlink() => Self::Link(fs::read_link(path).with_context(cannot)?),
            () => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_steps_follow_from_what_is_there_and_nothing_is_replaced() {
        let layout = Layout::new(Path::new("/opt"), "app");
        let own = || Entry::Link("/opt/.image/app".into());
        let switched = || Entry::Link("/workspace/app".into());
        let conflict = |message: &str, remedy: &str| {
            Err(Conflict { message: message.to_owned(), remedy: remedy.to_owned() })
        };
        for (link, tree, expected) in [
            (Entry::Missing, Entry::Missing, Ok(vec![Step::CreateTree, Step::CreateLink])),
            (Entry::Missing, Entry::Directory, Ok(vec![Step::CreateLink])),
            (Entry::Directory, Entry::Missing, Ok(vec![Step::MoveDirectory, Step::CreateLink])),
            (own(), Entry::Missing, Ok(vec![Step::CreateTree])),
            (own(), Entry::Directory, Ok(vec![])),
            (
                Entry::Directory,
                Entry::Directory,
                conflict(
                    "/opt/app and /opt/.image/app are both directories",
                    "remove the one that is not needed",
                ),
            ),
            (
                switched(),
                Entry::Directory,
                conflict(
                    "/opt/app is a link to /workspace/app",
                    "remove it, if nothing needs it: rm /opt/app",
                ),
            ),
            (Entry::Other, Entry::Missing, conflict("/opt/app is not a directory", "choose another name")),
            (
                Entry::Missing,
                Entry::Other,
                conflict("/opt/.image/app is not a directory", "remove it: rm /opt/.image/app"),
            ),
        ] {
            assert_eq!(layout.plan(&link, &tree), expected, "{link:?} {tree:?}");
        }
    }
}

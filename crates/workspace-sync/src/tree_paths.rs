//! Paths of one tree.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::opt_sync;

/// A directory of the image that may live on the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreePaths {
    /// The name below `/opt`.
    pub name: String,
    /// Path of the tree for programs: `/opt/NAME`, a symbolic link.
    pub active_link: PathBuf,
    /// The image's own copy: `/opt/.image/NAME`. It is never deleted.
    pub image: PathBuf,
    /// Parent directory of the workspace's copy.
    pub parent: PathBuf,
    /// The workspace's copy.
    pub copy: PathBuf,
    /// The copy while it is made.
    pub partial: PathBuf,
    /// The copy that a refresh replaced.
    pub previous: PathBuf,
}

impl TreePaths {
    /// Returns the paths of the tree `name`, with its copy in `workspace`: environments in a directory for this family
    /// of images (`slug`), because those of different images do not mix; anything else at the top of the workspace.
    #[must_use]
    pub fn new(name: &str, opt: &Path, workspace: &Path, slug: &str) -> Self {
        let (parent, base) = if name == opt_sync::ENVIRONMENTS {
            (workspace.join("environments"), format!("{name}-{slug}"))
        } else {
            (workspace.to_owned(), name.to_owned())
        };
        let beside = |suffix: &str| {
            let mut file = OsString::from(&base);
            file.push(suffix);
            parent.join(file)
        };
        Self {
            name: name.to_owned(),
            active_link: opt.join(name),
            image: opt.join(".image").join(name),
            copy: beside(""),
            partial: beside(".partial"),
            previous: beside(".previous"),
            parent,
        }
    }

    /// Returns the image's tree: a directory at the active link, or the image's copy. A directory of a lower layer that
    /// the link replaced is gone.
    #[must_use]
    pub fn image_tree(&self) -> Option<&Path> {
        [self.active_link.as_path(), &self.image]
            .into_iter()
            .find(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir()))
    }

    /// Returns the command, or the steps, to bring the copy to the image's generation.
    #[must_use]
    pub fn refresh_hint(&self) -> String {
        if self.image.is_dir() {
            return format!("workspace-sync refresh {}", self.name);
        }
        format!(
            "rename {} and start a new container with WORKSPACE_SYNC=true, which copies the image's; what you had \
             added is in the renamed one",
            self.copy.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_kept_apart_by_family_and_other_trees_lie_where_people_look() {
        let tree = |name| TreePaths::new(name, Path::new("/opt"), Path::new("/workspace"), "comfyui");
        let environments = tree("micromamba");
        assert_eq!(environments.copy, Path::new("/workspace/environments/micromamba-comfyui"));
        assert_eq!(environments.partial, Path::new("/workspace/environments/micromamba-comfyui.partial"));
        let other = tree("ComfyUI");
        assert_eq!(other.copy, Path::new("/workspace/ComfyUI"));
        assert_eq!(other.previous, Path::new("/workspace/ComfyUI.previous"));
        assert_eq!(other.image, Path::new("/opt/.image/ComfyUI"));
    }
}

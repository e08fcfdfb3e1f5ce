//! Steps as `plan` shows them.

use std::fmt;
use std::path::PathBuf;

use kit::quote::quoted;

/// One step that a pass would make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A link where nothing is.
    Link(PathBuf, PathBuf),
    /// Our own link gets another text.
    Relink(PathBuf, PathBuf),
    /// Our own link goes.
    Unlink(PathBuf),
    /// A directory where nothing is.
    MakeDirectory(PathBuf),
    /// Our own, empty directory goes.
    RemoveDirectory(PathBuf),
}

impl Shown {
    /// What the step is about.
    pub fn path(&self) -> &PathBuf {
        match self {
            Self::Link(path, _)
            | Self::Relink(path, _)
            | Self::Unlink(path)
            | Self::MakeDirectory(path)
            | Self::RemoveDirectory(path) => path,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = quoted(self.path());
        match self {
            Self::Link(_, to) => write!(formatter, "link {path} -> {}", quoted(to)),
            Self::Relink(_, to) => write!(formatter, "relink {path} -> {}", quoted(to)),
            Self::Unlink(_) => write!(formatter, "unlink {path}"),
            Self::MakeDirectory(_) => write!(formatter, "mkdir {path}"),
            Self::RemoveDirectory(_) => write!(formatter, "rmdir {path}"),
        }
    }
}

//! Finds all differences between two trees.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{FileType, Stat, major, minor};

use crate::aspect::Aspect;
use crate::entry::{self, Entry};

/// Returns all differences between `one` and `other`, roots included, one per line; empty if they are equal.
///
/// A line is `PATH: ASPECT ONE, not OTHER`, with paths relative to the roots and odd bytes escaped. Access times, inode
/// numbers and where the holes of a file are do not matter. A tree that cannot be read is a line too.
#[must_use]
pub fn difference(one: &Path, other: &Path) -> Vec<String> {
    difference_except(one, other, &[])
}

/// As [`difference`], without what a file system is known to lose.
#[must_use]
pub fn difference_except(one: &Path, other: &Path, without: &[Aspect]) -> Vec<String> {
    let mut found = Comparison { without, lines: Vec::new(), one: BTreeMap::new(), other: BTreeMap::new() };
    if let Err(error) = found.roots(one, other) {
        found.lines.push(format!("{error:#}"));
    }
    found.hard_links();
    found.lines
}

/// Names of the inodes that have several, by device and inode number.
type Names = BTreeMap<(u64, u64), BTreeSet<Vec<u8>>>;

struct Comparison<'a> {
    without: &'a [Aspect],
    lines: Vec<String>,
    one: Names,
    other: Names,
}

impl Comparison<'_> {
    fn roots(&mut self, one: &Path, other: &Path) -> Result<()> {
        let (one, other) = (entry::open_root(one)?, entry::open_root(other)?);
        let dot = CString::from(c".");
        let look = |root| Entry::stat(root, &dot).and_then(|entry| entry.context("it is gone"));
        let (ours, theirs) = (look(one.as_fd())?, look(other.as_fd())?);
        self.entries(b".", &ours, &theirs)?;
        self.directories(b"", one.as_fd(), other.as_fd())
    }

    fn directories(&mut self, path: &[u8], one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<()> {
        let mut names = BTreeSet::from_iter(entry::names(one)?);
        names.extend(entry::names(other)?);
        for name in names {
            let path = [path, if path.is_empty() { b"".as_slice() } else { b"/" }, name.to_bytes()].concat();
            if let Err(error) = self.name(&path, &name, one, other) {
                self.lines.push(format!("{}: {error:#}", path.escape_ascii()));
            }
        }
        Ok(())
    }

    fn name(
        &mut self,
        path: &[u8],
        name: &CString,
        one: BorrowedFd<'_>,
        other: BorrowedFd<'_>,
    ) -> Result<()> {
        let (ours, theirs) = (Entry::stat(one, name)?, Entry::stat(other, name)?);
        note(&mut self.one, path, ours.as_ref());
        note(&mut self.other, path, theirs.as_ref());
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours.kind() == theirs.kind() => self.both(path, &ours, &theirs)?,
            (Some(ours), Some(theirs)) => self.report(path, Aspect::Kind, kind(&ours), kind(&theirs)),
            (Some(ours), None) => self.report(path, Aspect::Presence, kind(&ours), "nothing"),
            (None, Some(theirs)) => self.report(path, Aspect::Presence, "nothing", kind(&theirs)),
            (None, None) => {}
        }
        Ok(())
    }

    /// Two entries of one kind.
    fn both(&mut self, path: &[u8], ours: &Entry<'_>, theirs: &Entry<'_>) -> Result<()> {
        self.entries(path, ours, theirs)?;
        match ours.kind() {
            FileType::Directory => self.directories(path, ours.open()?.as_fd(), theirs.open()?.as_fd())?,
            FileType::RegularFile => self.content(path, ours, theirs)?,
            FileType::Symlink => self.check(path, Aspect::Target, &ours.target()?, &theirs.target()?),
            FileType::CharacterDevice | FileType::BlockDevice => {
                let numbers = |stat: &Stat| format!("{}:{}", major(stat.st_rdev), minor(stat.st_rdev));
                self.check(path, Aspect::Device, &numbers(&ours.stat), &numbers(&theirs.stat));
            }
            _ => {}
        }
        Ok(())
    }

    /// Compares what entries of every kind have.
    fn entries(&mut self, path: &[u8], ours: &Entry<'_>, theirs: &Entry<'_>) -> Result<()> {
        // The kernel gives every symbolic link the same mode.
        if ours.kind() != FileType::Symlink {
            let mode = |entry: &Entry<'_>| format!("{:04o}", entry.permissions());
            self.check(path, Aspect::Mode, &mode(ours), &mode(theirs));
        }
        let owner = |stat: &Stat| format!("{}:{}", stat.st_uid, stat.st_gid);
        self.check(path, Aspect::Owner, &owner(&ours.stat), &owner(&theirs.stat));
        let time = |stat: &Stat| format!("{}.{:09}", stat.st_mtime, stat.st_mtime_nsec);
        self.check(path, Aspect::Time, &time(&ours.stat), &time(&theirs.stat));
        self.check(path, Aspect::Attributes, &attributes(ours)?, &attributes(theirs)?);
        Ok(())
    }

    fn content(&mut self, path: &[u8], ours: &Entry<'_>, theirs: &Entry<'_>) -> Result<()> {
        if ours.stat.st_size != theirs.stat.st_size {
            self.report(path, Aspect::Size, ours.stat.st_size, theirs.stat.st_size);
            return Ok(());
        }
        if self.without.contains(&Aspect::Content) {
            return Ok(());
        }
        if let Some(offset) = entry::first_difference(ours.open()?, theirs.open()?).context("cannot read")? {
            self.report(path, Aspect::Content, "this", format!("that, from byte {offset} on"));
        }
        Ok(())
    }

    fn check(&mut self, path: &[u8], aspect: Aspect, ours: &str, theirs: &str) {
        if ours != theirs {
            self.report(path, aspect, ours, theirs);
        }
    }

    fn report(
        &mut self,
        path: &[u8],
        aspect: Aspect,
        ours: impl std::fmt::Display,
        theirs: impl std::fmt::Display,
    ) {
        if !self.without.contains(&aspect) {
            self.lines.push(format!("{}: {} {ours}, not {theirs}", path.escape_ascii(), aspect.word()));
        }
    }

    /// Compares which names share an inode; names that only one tree has are another difference.
    fn hard_links(&mut self) {
        if self.without.contains(&Aspect::HardLinks) {
            return;
        }
        let groups = |names: &Names| -> BTreeMap<Vec<u8>, String> {
            let shared = names.values().filter(|group| group.len() > 1);
            let described = shared.flat_map(|group| {
                let shown: Vec<String> = group.iter().map(|name| name.escape_ascii().to_string()).collect();
                let shown = shown.join(" = ");
                group.iter().map(move |name| (name.clone(), shown.clone()))
            });
            described.collect()
        };
        let (ours, theirs) = (groups(&self.one), groups(&self.other));
        let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        let alone = "alone".to_owned();
        for name in names {
            let (ours, theirs) = (ours.get(name).unwrap_or(&alone), theirs.get(name).unwrap_or(&alone));
            if ours != theirs {
                self.lines.push(format!(
                    "{}: {} {ours}, not {theirs}",
                    name.escape_ascii(),
                    Aspect::HardLinks.word()
                ));
            }
        }
    }
}

fn note(names: &mut Names, path: &[u8], entry: Option<&Entry<'_>>) {
    if let Some(entry) = entry.filter(|entry| !entry.is_directory() && entry.stat.st_nlink > 1) {
        names.entry((entry.stat.st_dev, entry.stat.st_ino)).or_default().insert(path.to_owned());
    }
}

fn kind(entry: &Entry<'_>) -> &'static str {
    match entry.kind() {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "something unknown",
    }
}

fn attributes(entry: &Entry<'_>) -> Result<String> {
    let mut shown = String::from("[");
    for (name, value) in entry.attributes()? {
        write!(shown, " {}={}", name.escape_ascii(), value.escape_ascii())?;
    }
    Ok(shown + " ]")
}

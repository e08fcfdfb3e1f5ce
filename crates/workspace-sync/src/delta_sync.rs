//! Copies changes that were made in the old tree after the copy: until the switch, and later through open files.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use dirfd::FileType;
use dirfd::walk::{self, Descend, Entry};
use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use tree_copy::{Capabilities, NoObserver};

use crate::change_origin::ChangeOrigin;
use crate::copy_job;
use crate::directory_entry;
use crate::ensure_beneath::{ensure_beneath, open_root};
use crate::image_listing::Listing;
use crate::merge_policy::{self, NewEntry, Relation, Step};
use crate::reserved_names;
use crate::round_result::DeltaRound;
use crate::sync_state::{self, AppendedBytes, OwnWrite, PendingDelta};
use crate::tree_paths::TreePaths;
use crate::volume_clock::Timestamp;
use crate::write_check::{self, WriteCheck};

/// The two trees of a switch.
#[derive(Debug)]
pub struct DeltaSync<'a> {
    tree: &'a TreePaths,
    old: &'a Path,
    new: OwnedFd,
    capabilities: &'a Capabilities,
    write_check: WriteCheck<'a>,
    origin: ChangeOrigin,
    /// Directory in which temporary entries were removed last.
    swept: RefCell<Option<PathBuf>>,
    removes: bool,
}

impl<'a> DeltaSync<'a> {
    /// Copies from the tree at `old` to the copy of `tree` at `new`, with the state directory of the container and the
    /// listing of the image.
    pub fn new(
        tree: &'a TreePaths,
        old: &'a Path,
        new: OwnedFd,
        capabilities: &'a Capabilities,
        state_dir: &'a Path,
        listing: Option<Listing>,
    ) -> Self {
        let (write_check, origin) = (WriteCheck::new(tree, state_dir), ChangeOrigin::new(listing));
        Self { tree, old, new, capabilities, write_check, origin, swept: RefCell::default(), removes: true }
    }

    /// Disables removals from the new tree, for an old tree that is being emptied.
    #[must_use]
    pub fn without_removals(self) -> Self {
        Self { removes: false, ..self }
    }

    /// Copies all entries of the old tree that changed since the time in `leftover`, and advances that time. A killed
    /// caller that stored it resumes there. An entry that fails does not stop the others.
    pub fn round(&self, leftover: &mut PendingDelta) -> Result<DeltaRound> {
        let cannot = || format!("cannot copy changes from {}", self.old.display());
        let above = self.old.parent().unwrap_or(Path::new("/"));
        let next = Timestamp::now(open_root(above)?)?.safely_before();
        let mut round = DeltaRound::default();
        self.swept.take();
        if let Err(error) = self.walk(leftover, &mut round) {
            round.failed.get_or_insert(error.context(cannot()));
        }
        // Copied entries are not compared again, and the old tree may be removed.
        if !round.is_quiet()
            && let Err(error) = tree_copy::sync_to_disk(&copy_job::path_of(&self.new))
        {
            let cannot = format!("cannot force {} to the disk", self.tree.copy.display());
            round.failed.get_or_insert(anyhow!(error).context(cannot));
        }
        if round.failed.is_none() {
            leftover.source_since = leftover.source_since.max(next);
        }
        Ok(round)
    }

    fn walk(&self, leftover: &mut PendingDelta, round: &mut DeltaRound) -> Result<()> {
        let old = open_root(self.old)?;
        if Timestamp::changed(&File::from(old.try_clone()?).metadata()?) >= leftover.source_since {
            self.directory(Path::new(""), true, leftover, round)?;
        }
        walk::walk_tree::<io::Error>(&old, &mut |entry| {
            if entry.name.as_os_str() == entry.base && reserved_names::all().contains(&entry.base) {
                return Ok(Descend::Skip);
            }
            if Timestamp::change_time(&entry.stat) < leftover.source_since {
                return Ok(Descend::Enter);
            }
            let next = (|| -> Result<Descend> {
                let is_container_change = self.origin.is_container_change(entry, leftover)?;
                if entry.is_directory() {
                    return self.directory(entry.name, is_container_change, leftover, round);
                }
                if is_container_change {
                    self.entry(entry, leftover, round)?;
                }
                Ok(Descend::Enter)
            })();
            Ok(next.unwrap_or_else(|error| {
                // It vanished meanwhile: the next round finds that in its parent.
                if dirfd::stat(entry.directory, entry.base).is_ok_and(|there| there.is_none()) {
                    return Descend::Skip;
                }
                let cannot = format!("cannot copy {}", self.old.join(entry.name).display());
                round.failed.get_or_insert(error.context(cannot));
                Descend::Skip
            }))
        })?;
        Ok(())
    }

    /// Handles a directory whose names changed; one that is copied with its content is not entered.
    fn directory(
        &self,
        name: &Path,
        is_container_change: bool,
        leftover: &mut PendingDelta,
        round: &mut DeltaRound,
    ) -> Result<Descend> {
        match dirfd::open_beneath(&self.new, name) {
            Ok(there) => {
                self.sweep(name, &there);
                // The content of a mount was not copied from here.
                if self.removes && is_on_one_mount(&self.new, name) {
                    self.removals(name, &there, leftover, round)?;
                }
                Ok(Descend::Enter)
            }
            // It was removed from the copy, or replaced.
            Err(_) if !is_container_change => Ok(Descend::Enter),
            Err(Errno::ENOENT) => {
                self.replicate(name, name.file_name(), leftover, round)?;
                Ok(Descend::Skip)
            }
            // A file or link replaced it after the switch: its content is kept.
            Err(_) => {
                self.keep_beside(name, leftover, round)?;
                Ok(Descend::Skip)
            }
        }
    }

    fn entry(&self, entry: &Entry<'_>, leftover: &mut PendingDelta, round: &mut DeltaRound) -> Result<()> {
        let (name, base) = (entry.name, entry.base);
        let above_name = name.parent().unwrap_or(Path::new(""));
        let above = match ensure_beneath(&self.new, above_name) {
            // A file or link replaced it after the switch: the directory is kept beside it.
            Err(error) if dirfd::is_not_directory(error) => {
                let mut steps: Vec<&Path> = above_name.ancestors().collect();
                steps.reverse();
                let taken = steps.into_iter().find(|step| dirfd::open_beneath(&self.new, step).is_err());
                return self.keep_beside(taken.unwrap_or(above_name), leftover, round);
            }
            above => above.map_err(io::Error::from)?,
        };
        self.sweep(above_name, &above);
        let mut there = self.write_check.inspect(name, &above, base, leftover)?;
        let old = if entry.kind() == FileType::RegularFile {
            dirfd::open_file(entry.directory, entry.base)?
        } else {
            None
        };
        let new =
            (there != NewEntry::Missing).then(|| directory_entry::open_for_appending(&above, base)).flatten();
        if there == NewEntry::Written
            && new.as_ref().is_some_and(|new| write_check::is_replaced(name, new, leftover))
        {
            there = NewEntry::Replaced;
        }
        let before = new.as_ref().map(directory_entry::state).transpose()?;
        let relation = match (&old, &new) {
            (Some(old), Some(new)) => Some(merge_policy::compare(old, new)?),
            _ => None,
        };
        let after = new.as_ref().map(directory_entry::state).transpose()?;
        if before.zip(after).is_some_and(|(before, after)| !after.has_content_of(&before))
            && there == NewEntry::Untouched
        {
            // It was written while it was read.
            there = NewEntry::Written;
        }
        if relation.is_none()
            && there != NewEntry::Missing
            && directory_entry::is_same_special(entry, &above, base)
        {
            return Ok(());
        }
        let key = sync_state::key(name);
        let now = old.as_ref().map(fstat).transpose()?;
        let appended = now.as_ref().and_then(|now| leftover.carried.get(&key)?.of(now));
        let from = match relation {
            Some(Relation::Diverged { common }) => appended.unwrap_or(common),
            _ => 0,
        };
        let is_text = old.as_ref().is_some_and(|old| merge_policy::is_text(old, from).unwrap_or(false));
        let wanted = match &new {
            Some(new) if there == NewEntry::Untouched => {
                Some(self.write_check.permissions(entry, new, leftover)?)
            }
            _ => None,
        };
        match merge_policy::merge_step(there, relation, is_text, appended) {
            Step::Nothing => {}
            Step::Replace => {
                self.replicate(name, Some(base), leftover, round)?;
                if let (Some(displaced), Some(before)) = (&new, before) {
                    directory_entry::append_displaced(displaced, before.size, &above, base)?;
                }
            }
            Step::KeepBoth => self.keep_beside(name, leftover, round)?,
            Step::Append { from } => {
                if let (Some(old), Some(new), Some(now)) = (&old, &new, now) {
                    let end = merge_policy::append(old, new, from)?;
                    leftover.carried.insert(key, AppendedBytes { inode: now.st_ino, bytes: end });
                    if end > from {
                        round.copied += 1;
                    }
                    if there == NewEntry::Untouched {
                        remember(name, &above, base, leftover);
                    }
                }
            }
        }
        wanted.map_or(Ok(()), |bits| self.permit(entry, &above, bits, leftover, round))
    }

    /// Sets the permissions of a new file, and records the old file's.
    fn permit(
        &self,
        entry: &Entry<'_>,
        above: &OwnedFd,
        bits: u32,
        leftover: &mut PendingDelta,
        round: &mut DeltaRound,
    ) -> Result<()> {
        let Some(new) = directory_entry::open_for_appending(above, entry.base) else { return Ok(()) };
        let stat = fstat(&new)?;
        let given = Some((entry.stat.st_mode & 0o777, bits));
        if stat.st_mode & 0o777 == bits || !self.capabilities.mode {
            leftover.written.entry(sync_state::key(entry.name)).and_modify(|ours| ours.permissions = given);
            return Ok(());
        }
        fchmod(&new, Mode::from_bits_truncate(stat.st_mode & 0o7000 | bits))?;
        leftover.written.entry(sync_state::key(entry.name)).or_insert(OwnWrite::of(&stat)).permissions =
            given;
        round.copied += 1;
        Ok(())
    }

    /// Removes temporary entries of killed processes from a directory of the new tree, once for consecutive entries.
    fn sweep(&self, name: &Path, directory: &OwnedFd) {
        if self.swept.borrow().as_deref() == Some(name) {
            return;
        }
        if let Err(error) = tree_copy::sweep(directory.as_fd()) {
            log::debug!("cannot tidy up {}: {error}", self.tree.copy.join(name).display());
        }
        *self.swept.borrow_mut() = Some(name.to_owned());
    }

    fn replicate(
        &self,
        name: &Path,
        target: Option<&OsStr>,
        leftover: &mut PendingDelta,
        round: &mut DeltaRound,
    ) -> Result<()> {
        let (Some(base), Some(target)) = (name.file_name(), target) else { return Ok(()) };
        let above_name = name.parent().unwrap_or(Path::new(""));
        let old = dirfd::open_beneath(open_root(self.old)?, above_name).map_err(io::Error::from)?;
        let above = ensure_beneath(&self.new, above_name).map_err(io::Error::from)?;
        self.sweep(above_name, &above);
        tree_copy::replicate(old.as_fd(), base, above.as_fd(), target, self.capabilities, &NoObserver)?;
        round.copied += 1;
        if target == base {
            remember(name, &above, base, leftover);
        }
        Ok(())
    }

    /// Copies the old entry beside the new one: to the name of the previous round, or a free one.
    fn keep_beside(&self, name: &Path, leftover: &mut PendingDelta, round: &mut DeltaRound) -> Result<()> {
        let above =
            ensure_beneath(&self.new, name.parent().unwrap_or(Path::new(""))).map_err(io::Error::from)?;
        for number in 1_u32.. {
            let base = directory_entry::before_switch_name(name.file_name().unwrap_or_default(), number);
            let beside = name.with_file_name(&base);
            let known = leftover.written.get(&sync_state::key(&beside)).copied();
            match dirfd::stat(&above, base.as_os_str())? {
                None => round.kept.push(self.tree.copy.join(&beside)),
                Some(found) if known.is_some_and(|ours| ours.is_still(&found)) => {}
                Some(_) => continue,
            }
            self.replicate(name, Some(&base), leftover, round)?;
            remember(&beside, &above, &base, leftover);
            break;
        }
        Ok(())
    }

    /// Removes entries from the new directory that the old one lost, unless they were written since.
    fn removals(
        &self,
        name: &Path,
        there: &OwnedFd,
        leftover: &PendingDelta,
        round: &mut DeltaRound,
    ) -> Result<()> {
        let old = dirfd::open_beneath(open_root(self.old)?, name).map_err(io::Error::from)?;
        for base in dirfd::names(there).map_err(io::Error::from)? {
            let is_kept = name.as_os_str().is_empty() && reserved_names::all().contains(&base.as_os_str());
            let is_ours = base.as_bytes().ends_with(directory_entry::BEFORE_SWITCH.as_bytes());
            // An entry that cannot be read was not lost.
            if is_kept || is_ours || dirfd::stat(&old, base.as_os_str()) != Ok(None) {
                continue;
            }
            self.remove(&name.join(&base), there.as_fd(), &base, leftover, round)?;
        }
        Ok(())
    }

    /// Removes an entry and its content, except entries written since the copy and their directories.
    fn remove(
        &self,
        name: &Path,
        above: BorrowedFd<'_>,
        base: &OsStr,
        leftover: &PendingDelta,
        round: &mut DeltaRound,
    ) -> Result<()> {
        let above = above.try_clone_to_owned()?;
        let Some(stat) = dirfd::stat(&above, base)? else { return Ok(()) };
        let is_directory = dirfd::file_type(&stat) == FileType::Directory;
        // Creating or removing an entry writes its directory as well.
        if self.write_check.inspect(name, &above, base, leftover)? != NewEntry::Untouched {
            return Ok(());
        }
        if is_directory {
            let directory = dirfd::open_dir(&above, base).map_err(io::Error::from)?;
            for child in dirfd::names(&directory).map_err(io::Error::from)? {
                self.remove(&name.join(&child), directory.as_fd(), &child, leftover, round)?;
            }
        }
        let flag = if is_directory { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
        match unlinkat(&above, base, flag) {
            Ok(()) => round.removed += 1,
            Err(nix::Error::ENOENT | nix::Error::ENOTEMPTY | nix::Error::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Records that an entry was written by us, with the permissions of the old one.
fn remember(name: &Path, above: &OwnedFd, base: &OsStr, leftover: &mut PendingDelta) {
    if let Ok(Some(stat)) = dirfd::stat(above, base) {
        let bits = stat.st_mode & 0o777;
        leftover.remember(name, OwnWrite { permissions: Some((bits, bits)), ..OwnWrite::of(&stat) });
    }
}

/// True if neither a directory nor one above it is a mount point.
fn is_on_one_mount(root: &OwnedFd, name: &Path) -> bool {
    root.try_clone().is_ok_and(|root| name.iter().try_fold(root, dirfd::open_dir).is_ok())
}

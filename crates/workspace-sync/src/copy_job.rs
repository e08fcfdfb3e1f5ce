//! Copies a tree to `NAME.partial`, compares it, writes its marker, and renames it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use journal::Journal;
use kit::HintExt;
use nix::fcntl::{RenameFlags, renameat, renameat2};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown};
use tree_copy::{Capabilities, Check, NoObserver, Options, PassStats, Survey};

use crate::changed_since::find_changed;
use crate::claim_lease::ClaimLease;
use crate::copy_marker::Marker;
use crate::ensure_beneath::{ensure_beneath, open_root};
use crate::failure::Failure;
use crate::generation;
use crate::image_listing::Listing;
use crate::journal_notes;
use crate::listing_file;
use crate::mount_check;
use crate::partial_claim::{self, Claim, ClaimResult};
use crate::progress::{Phase, Progress, Total};
use crate::reserved_names;
use crate::sync_state::{PendingDelta, SyncState};
use crate::tree_paths::TreePaths;
use crate::volume_clock::Timestamp;
use kit::hex;

/// Maximum number of passes for changes made during the copy, and of corrections; later changes are copied after the
/// switch.
const MAX_ATTEMPTS: usize = 6;
/// Upper bound of one scan, in seconds. Later timestamps cannot come from changes during the scan.
const SCAN_MARGIN_SECONDS: i64 = 60;
/// Bytes that stay free on the volume for the user.
const RESERVED_BYTES: u64 = 64 << 20;

/// Input of a copy.
#[derive(Debug, Clone, Copy)]
pub struct CopyJob<'a> {
    /// The tree.
    pub tree: &'a TreePaths,
    /// Directory to copy: the image's own copy, or a directory at `/opt/NAME`.
    pub source: &'a Path,
    /// Listing of the image.
    pub listing: &'a Listing,
    /// Root of the workspace; links below it are not followed.
    pub workspace: &'a Path,
    /// Claim of the copy.
    pub claim: &'a Claim,
    /// State directory of the container.
    pub state_dir: &'a Path,
    /// Journal that gets the progress.
    pub journal: &'a Journal,
    /// True to compare every byte at the end.
    pub compare_content: bool,
}

/// Returns a path of an open directory that stays valid if the directory is renamed.
pub fn path_of(directory: &OwnedFd) -> PathBuf {
    dirfd::fd_path(directory).join(".")
}

/// Opens the parent directory of the copy of `tree`; creates it if it is missing.
pub fn open_parent(tree: &TreePaths, workspace: &Path) -> Result<OwnedFd> {
    Ok(make_parent(tree, workspace)?)
}

fn make_parent(tree: &TreePaths, workspace: &Path) -> Result<OwnedFd, Failure> {
    let relative = tree.parent.strip_prefix(workspace).unwrap_or(Path::new(""));
    let cannot = || format!("cannot use {} as a directory", tree.parent.display());
    match ensure_beneath(open_root(workspace)?, relative) {
        Err(error) if dirfd::is_not_directory(error) => Err(Failure::Permanent(kit::exit::with_hint(
            anyhow::Error::new(io::Error::from(error)).context(cannot()),
            "move the link or file at this path away".to_owned(),
        ))),
        opened => Ok(opened.map_err(io::Error::from).with_context(cannot)?),
    }
}

/// A copy under way.
#[derive(Debug)]
pub enum StartedCopy {
    /// Everything was copied once.
    Partial(PartialCopy),
    /// A complete copy that was in use has the partial name.
    Complete(ReadyCopy),
}

/// A partial copy that lacks what changed since its last pass.
#[derive(Debug)]
pub struct PartialCopy {
    parent: OwnedFd,
    lease: ClaimLease,
    capabilities: Capabilities,
    total: Total,
    /// A time before the last pass, by the source's clock.
    since: Timestamp,
}

impl PartialCopy {
    fn options<'a>(&'a self, keep: &'a [&'a OsStr]) -> Options<'a> {
        Options { keep, check: Check::Metadata, ..Options::new(&self.capabilities) }
    }
}

/// A complete copy before its rename.
#[derive(Debug)]
pub struct ReadyCopy {
    /// Its parent directory.
    pub parent: OwnedFd,
    /// Its root.
    pub directory: OwnedFd,
    /// Its marker.
    pub marker: Marker,
    /// Our claim, unless it is a copy that was in use.
    pub lease: Option<ClaimLease>,
}

impl ReadyCopy {
    /// Fails if another container has taken it over: the last check before its rename.
    pub fn check(&self) -> Result<()> {
        self.lease.as_ref().map_or(Ok(()), ClaimLease::check)
    }
}

impl CopyJob<'_> {
    /// Completes the copy and renames it into place; the active link still leads to the source afterwards.
    ///
    /// After a failure the source stays in use, and the next attempt resumes the partial copy.
    pub fn commit(&self, started: StartedCopy) -> Result<Marker, Failure> {
        let prepared = self.complete(started)?;
        prepared.check()?;
        rename_into_place(&prepared.parent, &self.tree.partial, &self.tree.copy)?;
        partial_claim::release(&prepared.directory)?;
        Ok(prepared.marker)
    }

    /// Makes a complete copy with its marker under its temporary name. It keeps its claim: a complete copy of that name
    /// without a claim is one that was in use.
    pub fn prepare(&self) -> Result<ReadyCopy, Failure> {
        self.complete(self.start()?)
    }

    /// Copies everything once.
    pub fn start(&self) -> Result<StartedCopy, Failure> {
        self.refuse_nesting()?;
        mount_check::refuse(self.tree, &[self.source, &self.tree.partial])?;
        let parent = make_parent(self.tree, self.workspace)?;
        let name = self.tree.partial.file_name().unwrap_or_default();
        let (directory, trusted) = match self.claim.take(&parent, name)? {
            ClaimResult::Ours { directory, trusted } => (directory, trusted),
            ClaimResult::Complete { directory, marker } => {
                return Ok(StartedCopy::Complete(ReadyCopy { parent, directory, marker, lease: None }));
            }
            ClaimResult::Busy { host } => {
                let busy = anyhow!("container {host:?} is currently creating {}", self.tree.copy.display());
                return Err(kit::exit::with_hint(busy, partial_claim::USED_ONCE_COMPLETE.to_owned()).into());
            }
            ClaimResult::Foreign => {
                let foreign = anyhow!("{} was not created by workspace-sync", self.tree.partial.display());
                let hint = "move it away; it is never overwritten".to_owned();
                return Err(Failure::Permanent(kit::exit::with_hint(foreign, hint)));
            }
        };
        let lease = ClaimLease::new(self.claim, &parent, &self.tree.partial, &directory)?;
        let survey = tree_copy::survey(self.source, tree_copy::default_threads(), &[], &NoObserver)?;
        let capabilities = self.check_volume(&parent, lease.directory(), &survey)?;
        let total = Total { entries: survey.entries, bytes: survey.bytes };
        let since = self.now()?.safely_before();
        let copied = PartialCopy { parent, lease, capabilities, total, since };
        // After a power failure, a file may have its size and time without its content.
        let check = if trusted { Check::Metadata } else { Check::Content };
        self.pass(
            &copied.lease,
            &Options { check, ..copied.options(&reserved_names::all()) },
            &self.progress(&copied),
        )?;
        if !trusted {
            copied.lease.confirm()?;
        }
        Ok(StartedCopy::Partial(copied))
    }

    fn progress<'a>(&'a self, copied: &'a PartialCopy) -> Progress<'a> {
        Progress::new(&self.tree.name, copied.total, self.journal, Some(&copied.lease))
    }

    /// Records in the claim that the copy waits for its switch.
    pub fn wait(&self, started: &StartedCopy) -> Result<()> {
        let StartedCopy::Partial(PartialCopy { lease, .. }) = started else { return Ok(()) };
        lease.check()?;
        Claim { waiting: true, ..self.claim.clone() }.write(lease.directory())
    }

    /// Copies changes since the last pass; returns a changed entry, if there is one.
    pub fn catch_up(&self, started: &mut StartedCopy) -> Result<Option<PathBuf>, Failure> {
        let StartedCopy::Partial(copied) = started else { return Ok(None) };
        let now = self.now()?;
        let next = now.safely_before();
        // Compares only against the source; scanning the volume would be slower. Timestamps in the future, from before
        // the clock was set back, prove nothing; a pass finds the changes of that moment.
        let changed = if next < copied.since {
            Some(self.source.to_owned())
        } else {
            find_changed(self.source, copied.since..=Timestamp(now.0 + SCAN_MARGIN_SECONDS, 0))?
        };
        if changed.is_none() {
            return Ok(None);
        }
        let progress = self.progress(copied);
        progress.enter(Phase::Waiting);
        self.pass(&copied.lease, &copied.options(&reserved_names::all()), &progress)?;
        drop(progress);
        copied.since = next;
        Ok(changed)
    }

    /// Refuses a copy of a directory into itself: it would never end, and its removal would destroy both.
    fn refuse_nesting(&self) -> Result<(), Failure> {
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (source, workspace, copy) = (real(self.source), real(self.workspace), real(&self.tree.copy));
        if workspace.starts_with(&source) || copy.starts_with(&source) || source.starts_with(&copy) {
            let nested = anyhow!("{} and {} contain each other", source.display(), self.tree.copy.display());
            return Err(Failure::Permanent(nested));
        }
        Ok(())
    }

    /// Copies the last changes, compares, and writes the marker.
    fn complete(&self, started: StartedCopy) -> Result<ReadyCopy, Failure> {
        let copied = match started {
            StartedCopy::Complete(prepared) => return Ok(prepared),
            StartedCopy::Partial(copied) => copied,
        };
        let keep = reserved_names::all();
        let (lease, options, progress) = (&copied.lease, copied.options(&keep), self.progress(&copied));
        progress.enter(Phase::Following);
        let mut since = copied.since;
        for _ in 0..MAX_ATTEMPTS {
            since = self.now()?;
            let round = self.pass(lease, &options, &progress)?;
            if round.updated + round.removed == 0 {
                break;
            }
        }
        progress.enter(Phase::Comparing);
        let seen = self.compare(lease, &options, &progress, &mut since)?;
        let marker = Marker {
            tree: self.tree.name.clone(),
            generation: generation::id(self.listing),
            manifest: hex::encode(&seen.digest),
            entries: seen.entries,
            bytes: seen.bytes,
            completed_at: kit::unix_time::now(),
        };
        SyncState {
            leftover: Some(PendingDelta::new(
                &marker,
                since.safely_before(),
                Timestamp::now(&copied.parent)?,
            )),
            needs_sweep: false,
        }
        .store(self.state_dir, &self.tree.name)?;
        self.write_marker(lease, &marker)?;
        drop(progress);
        let directory = copied.lease.directory().try_clone().context("cannot duplicate a file descriptor")?;
        Ok(ReadyCopy { parent: copied.parent, directory, marker, lease: Some(copied.lease) })
    }

    /// Tests the volume: reports what a copy there loses, and fails if the copy is impossible or too large.
    fn check_volume(
        &self,
        parent: &OwnedFd,
        directory: &OwnedFd,
        survey: &Survey,
    ) -> Result<Capabilities, Failure> {
        let at = || self.tree.parent.display();
        let capabilities =
            tree_copy::probe(&path_of(parent)).map_err(|error| self.named(&error, directory))?;
        log::debug!("capabilities of {}:\n{capabilities}", at());
        let lost = tree_copy::check_compatibility(&survey.needs, &capabilities).map_err(|refusal| {
            let refused = anyhow!("the volume at {} cannot hold {}: {refusal}", at(), self.tree.name);
            let hint = "use a volume with another file system; the image's copy stays in use";
            Failure::Permanent(kit::exit::with_hint(refused, hint.to_owned()))
        })?;
        for degradation in lost {
            journal_notes::add(self.journal, &self.tree.name, &format!("on this volume, {degradation}"));
        }
        let have = tree_copy::survey(
            &path_of(directory),
            tree_copy::default_threads(),
            &reserved_names::all(),
            &NoObserver,
        )?;
        let free_space = tree_copy::free_space(&path_of(parent))?.with_reused(&have);
        tree_copy::fits(survey, &free_space, capabilities.hard_links, RESERVED_BYTES)
            .map_err(|shortage| anyhow!("not enough space for {} at {}: {shortage}", self.tree.name, at()))
            .hint(|| {
                format!(
                    "free up space, then run: workspace-sync run; it resumes from {}",
                    self.tree.partial.display()
                )
            })?;
        Ok(capabilities)
    }

    /// Compares and corrects until only entries differ that programs are writing.
    fn compare(
        &self,
        lease: &ClaimLease,
        options: &Options<'_>,
        progress: &Progress<'_>,
        since: &mut Timestamp,
    ) -> Result<PassStats, Failure> {
        let check = if self.compare_content { Check::Content } else { Check::Metadata };
        let look = Options { write: false, check, ..*options };
        for _ in 0..MAX_ATTEMPTS {
            let seen = self.pass(lease, &look, progress)?;
            let differing = progress.take_differing();
            if differing.iter().all(|name| self.is_busy(name, *since)) {
                return Ok(seen);
            }
            let count = seen.differing + seen.vanished;
            log::debug!("{count} entries differ, such as {}", differing[0].display());
            let now = self.now()?;
            self.pass(lease, &Options { check, ..*options }, progress)?;
            // What vanished during this pass is no result of the next comparison.
            progress.take_differing();
            *since = now;
        }
        let seen = self.pass(lease, &look, progress)?;
        let differing = progress.take_differing();
        match differing.iter().find(|name| !self.is_busy(name, *since)) {
            None => Ok(seen),
            Some(name) => {
                let name = self.tree.partial.join(name);
                let differs =
                    anyhow!("{} still differs from its source after {MAX_ATTEMPTS} attempts", name.display());
                let hint = "the volume does not store data reliably; the image's copy is still used";
                Err(Failure::Permanent(kit::exit::with_hint(differs, hint.to_owned())))
            }
        }
    }

    fn is_busy(&self, name: &Path, since: Timestamp) -> bool {
        is_busy(self.source, name, since)
    }

    fn pass(&self, lease: &ClaimLease, options: &Options<'_>, progress: &Progress<'_>) -> Result<PassStats> {
        lease.check()?;
        let directory = lease.directory();
        tree_copy::pass(self.source, &path_of(directory), options, progress).or_else(|error| {
            // The loss of the claim stops a pass, and its message is more helpful.
            if matches!(error, tree_copy::Error::Stopped) {
                lease.check()?;
            }
            Err(self.named(&error, directory))
        })
    }

    /// Returns the current time of the source's file system.
    fn now(&self) -> Result<Timestamp> {
        Timestamp::now(open_root(self.source.parent().unwrap_or(Path::new("/")))?)
    }

    /// Replaces the path of an open file in an error by the path that the user knows.
    fn named(&self, error: &tree_copy::Error, directory: &OwnedFd) -> anyhow::Error {
        let shown = self.tree.partial.display().to_string();
        let name = |text: &str| text.replace(&path_of(directory).display().to_string(), &shown);
        match error {
            tree_copy::Error::Full(..) => kit::exit::with_hint(
                anyhow!(name(&error.to_string())),
                format!("free up space, then run: workspace-sync run; it resumes from {shown}"),
            ),
            tree_copy::Error::Source(trouble) | tree_copy::Error::Target(trouble) => {
                let cannot = format!("cannot {} {}", trouble.action, trouble.path.display());
                let cause =
                    trouble.cause.raw_os_error().map_or(io::Error::other(""), io::Error::from_raw_os_error);
                anyhow::Error::new(cause).context(name(&cannot))
            }
            tree_copy::Error::Stopped => anyhow!("{error}"),
        }
    }

    /// Writes the listing and the marker, which completes the copy.
    fn write_marker(&self, lease: &ClaimLease, marker: &Marker) -> Result<()> {
        let directory = lease.directory();
        lease.check()?;
        self.set_root_attributes(directory)?;
        write(directory, reserved_names::MANIFEST, &listing_file::render(self.listing))?;
        // Last, because the marker makes the directory a copy.
        write(directory, reserved_names::MARKER, &marker.render()?)
    }

    /// Sets owner and mode of the root, which is not an entry of the pass.
    fn set_root_attributes(&self, directory: &OwnedFd) -> Result<()> {
        let meta =
            self.source.metadata().with_context(|| format!("cannot read {}", self.source.display()))?;
        // Volumes without owners or modes were reported already.
        let _ = fchown(directory, Some(Uid::from_raw(meta.uid())), Some(Gid::from_raw(meta.gid())));
        let _ = fchmod(directory, Mode::from_bits_truncate(meta.mode() & 0o7777));
        Ok(())
    }
}

/// Renames a directory to a free name in the same parent, and syncs the parent.
pub fn rename_into_place(parent: &OwnedFd, from: &Path, to: &Path) -> Result<()> {
    let cannot = || format!("cannot rename {} to {}", from.display(), to.display());
    let (old, new) = (from.file_name().unwrap_or_default(), to.file_name().unwrap_or_default());
    match renameat2(parent, old, parent, new, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => {}
        // Not every file system knows the flag. Without it, only an empty directory can be replaced.
        Err(nix::Error::EINVAL | nix::Error::ENOSYS | nix::Error::EOPNOTSUPP) => {
            renameat(parent, old, parent, new).with_context(cannot)?;
        }
        Err(error) => return Err(error).with_context(cannot),
    }
    sync(parent).with_context(cannot)
}

/// Writes one of our files into the root of a copy, atomically.
fn write(directory: &OwnedFd, name: &str, content: &[u8]) -> Result<()> {
    let cannot = || format!("cannot write {name}");
    let temporary = format!("{}.new", reserved_names::CLAIM);
    let mut file = dirfd::create_file(directory, temporary.as_str(), 0o644).with_context(cannot)?;
    file.write_all(content).with_context(cannot)?;
    file.sync_all().with_context(cannot)?;
    renameat(directory, temporary.as_str(), directory, name).with_context(cannot)?;
    sync(directory).with_context(cannot)
}

/// Syncs a directory, if its file system supports that.
pub fn sync(directory: &OwnedFd) -> io::Result<()> {
    match File::from(directory.try_clone()?).sync_all() {
        Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => Ok(()),
        synced => synced,
    }
}

/// True if an entry, or the nearest existing directory above it, changed since the last pass, which explains a difference.
fn is_busy(source: &Path, name: &Path, since: Timestamp) -> bool {
    let path = source.join(name);
    let changed = |path: &Path| path.symlink_metadata().map(|meta| Timestamp::changed(&meta) >= since);
    let mut above = path.ancestors().skip(1).take_while(|above| above.starts_with(source));
    changed(&path).is_ok_and(|changed| changed) || above.find_map(|above| changed(above).ok()) == Some(true)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_entry_whose_directories_were_removed_is_busy_and_an_old_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("tree");
        fs::create_dir_all(source.join("a/b/c")).unwrap();
        let name = Path::new("a/b/c/file");
        fs::write(source.join(name), "").unwrap();
        let now = || Timestamp::now(open_root(dir.path()).unwrap()).unwrap();
        let mut since = now();
        while is_busy(&source, name, since) {
            since = now();
        }
        fs::remove_dir_all(source.join("a/b")).unwrap();
        assert!(is_busy(&source, name, since));
        assert!(!is_busy(&source, Path::new(""), since), "the tree's own directory was not changed");
    }
}

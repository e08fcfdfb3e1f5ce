//! What a pass does with each entry: look at both sides, judge, and make the target's like the source's.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dirfd::FileType;
use dirfd::xattr::Node;
use nix::errno::Errno;
use nix::fcntl::readlinkat;

use crate::attributes::{self, Carried, Fault};
use crate::compare::{Moments, Verdict, compare, difference};
use crate::error::{Error, Result};
use crate::file::{self, Making};
use crate::folder::{Folder, Pair, TargetSide, visit};
use crate::links::{First, Links, Turn};
use crate::meta::Meta;
use crate::observer::{Difference, What};
use crate::options::{Check, Options};
use crate::walk::{Hand, Task, Visitor, Walk};
use crate::{content, directory, make};

/// How often an entry is looked at that becomes something else while it is looked at.
const LOOKS: u32 = 5;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub files: AtomicU64,
    pub copied_files: AtomicU64,
    pub updated: AtomicU64,
    pub removed: AtomicU64,
    pub differing: AtomicU64,
    pub restless: AtomicU64,
    pub skipped: AtomicU64,
}

pub(crate) fn one_more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The visitor of a pass.
pub(crate) struct Copier<'a> {
    pub options: &'a Options<'a>,
    pub links: Links,
    pub tally: Tally,
    pub making: Making<'a>,
    pub moments: Moments,
}

/// An entry that is no directory, on its way through the pass.
struct Entry<'a> {
    walk: &'a Walk<'a>,
    folder: &'a Arc<Folder>,
    pair: &'a Pair,
    name: &'a CString,
    source: Meta,
    /// What a symbolic link says.
    text: OsString,
}

/// What became of an entry.
enum Outcome {
    /// The target has it, as this inode where that is known.
    There(Option<u64>),
    /// The target lacks it: only comparing, or it cannot be made there.
    Missing,
    /// It is not what it was a moment ago.
    Gone,
}

impl Entry<'_> {
    fn error(&self, action: &'static str, fault: Fault) -> Error {
        match fault {
            Fault::Source(cause) => self.walk.source_error(action, self.folder, Some(self.name), cause),
            Fault::Target(cause) => self.walk.target_error(action, self.folder, Some(self.name), cause),
            Fault::Stopped => Error::Stopped,
        }
    }

    fn target(&self) -> Option<BorrowedFd<'_>> {
        self.pair.target.as_ref().map(AsFd::as_fd)
    }

    fn source_node(&self) -> Node<'static> {
        Node::named(self.pair.source.as_fd(), self.name)
    }
}

/// What is at a name; `None` if nothing is.
pub(crate) fn look(directory: BorrowedFd<'_>, name: &CStr) -> std::result::Result<Option<Meta>, Errno> {
    Ok(dirfd::stat(directory, name)?.map(Meta::from))
}

impl Visitor for Copier<'_> {
    fn entry(
        &self,
        walk: &Walk,
        folder: &Arc<Folder>,
        pair: &Pair,
        name: CString,
        hand: &mut Hand,
    ) -> Result<()> {
        for _ in 0..LOOKS {
            let unreadable = |cause| walk.source_error("read", folder, Some(&name), cause);
            let Some(source) = look(pair.source.as_fd(), &name).map_err(unreadable)? else { break };
            if source.is_directory() {
                walk.enter(folder, name);
                return Ok(());
            }
            let text = if source.is_link() {
                match readlinkat(&pair.source, name.as_c_str()) {
                    Ok(text) => text,
                    Err(Errno::ENOENT | Errno::EINVAL) => continue,
                    Err(cause) => return Err(unreadable(cause)),
                }
            } else {
                OsString::new()
            };
            let entry = Entry { walk, folder, pair, name: &name, source, text };
            let there = match entry.target() {
                Some(target) if !folder.fresh => {
                    look(target, &name).map_err(|cause| entry.error("read", Fault::Target(cause)))?
                }
                _ => None,
            };
            if self.carry_over(&entry, there, hand)? {
                return Ok(());
            }
        }
        walk.vanished(folder, &name);
        Ok(())
    }

    fn enter(
        &self,
        walk: &Walk,
        parent: &Folder,
        pair: &Pair,
        name: &CString,
        source: &Meta,
    ) -> Result<TargetSide> {
        directory::enter(self, walk, parent, pair, name, source)
    }

    fn leave(&self, walk: &Walk, folder: &Arc<Folder>) -> Result<()> {
        directory::leave(self, walk, folder)
    }

    fn mount(&self, walk: &Walk, folder: &Folder, pair: &Pair, name: &CString) -> Result<()> {
        one_more(&self.tally.skipped);
        let source = look(pair.source.as_fd(), name)
            .map_err(|cause| walk.source_error("read", folder, Some(name), cause))?;
        match source {
            Some(source) => directory::enter(self, walk, folder, pair, name, &source).map(drop),
            None => Ok(()),
        }
    }
}

impl Copier<'_> {
    /// Handles an entry, with regard to the other names of its file; false if it has to be looked at again.
    fn carry_over(&self, entry: &Entry<'_>, there: Option<Meta>, hand: &mut Hand) -> Result<bool> {
        let Entry { walk, folder, source, .. } = *entry;
        if source.links <= 1 || !self.options.capabilities.hard_links {
            let outcome = self.bring(entry, there, true, hand)?;
            return Ok(self.count(entry, &outcome, true, hand));
        }
        // A name that has to wait keeps its folder waiting. Counted first: it may be called back at once.
        folder.pending.fetch_add(1, Ordering::AcqRel);
        let turn = self.links.arrive(&source, folder, entry.name);
        if matches!(turn, Turn::Later) {
            return Ok(true);
        }
        folder.pending.fetch_sub(1, Ordering::AcqRel);
        if let Turn::Link(first) = turn {
            if let Some(outcome) = self.link(entry, there, &first, hand)? {
                return Ok(self.count(entry, &outcome, false, hand));
            }
            // No more links to that file: a copy of its own.
            let outcome = self.bring(entry, there, false, hand)?;
            return Ok(self.count(entry, &outcome, false, hand));
        }
        let own = there.is_none_or(|there| there.links <= 1 || self.links.claim(there.inode, &source));
        let outcome = self.bring(entry, there, own, hand)?;
        let inode = match outcome {
            Outcome::There(inode) => inode,
            Outcome::Missing => None,
            Outcome::Gone => {
                call_back(walk, self.links.abandon(&source));
                return Ok(false);
            }
        };
        let first = First { folder: Arc::clone(folder), name: entry.name.clone(), inode };
        call_back(walk, self.links.settle(&source, first));
        Ok(self.count(entry, &outcome, true, hand))
    }

    fn count(&self, entry: &Entry<'_>, outcome: &Outcome, first: bool, hand: &mut Hand) -> bool {
        match outcome {
            Outcome::Gone => return false,
            Outcome::There(_) => {
                entry.folder.shared.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Missing => {}
        }
        let source = &entry.source;
        hand.sum.add_entry(&entry.folder.place, entry.name, source, entry.text.as_bytes());
        let bytes = if source.is_file() && first { source.size } else { 0 };
        if source.is_file() {
            one_more(&self.tally.files);
        }
        entry.walk.counters.add(1, bytes, 0);
        true
    }

    pub(crate) fn differs(&self, walk: &Walk, folder: &Folder, name: &CStr, how: Difference) {
        one_more(&self.tally.differing);
        walk.note(folder, name, What::Differs(how));
    }

    /// Makes the name another one of a file that the target has; `None` if that file has too many.
    fn link(
        &self,
        entry: &Entry<'_>,
        there: Option<Meta>,
        first: &First,
        hand: &mut Hand,
    ) -> Result<Option<Outcome>> {
        let linked = there.is_some_and(|there| Some(there.inode) == first.inode);
        if linked {
            return Ok(Some(Outcome::There(first.inode)));
        }
        let Some(target) = entry.target().filter(|_| self.options.write) else {
            let how = self.difference(entry, there, Some(Verdict::Other), false, hand)?;
            self.differs(entry.walk, entry.folder, entry.name, how);
            return Ok(Some(if there.is_some() { Outcome::There(None) } else { Outcome::Missing }));
        };
        if first.inode.is_none() {
            return Ok(Some(self.skip(entry)));
        }
        let from = visit(&first.folder).map_err(|lost| entry.walk.lost(&first.folder, lost))?;
        let Some(from) = &from.target else { return Ok(None) };
        let made = make::hard_link(from.as_fd(), &first.name, target, entry.name, there.is_none())
            .map_err(|fault| entry.error("link", fault))?;
        if !made {
            return Ok(None);
        }
        one_more(&self.tally.updated);
        Ok(Some(Outcome::There(first.inode)))
    }

    fn skip(&self, entry: &Entry<'_>) -> Outcome {
        one_more(&self.tally.skipped);
        entry.walk.note(entry.folder, entry.name, What::SkippedSpecial(kind_name(entry.source.kind)));
        Outcome::Missing
    }

    /// Makes one entry of the target like the source's, or finds that it is. `own`: what is there may be it.
    fn bring(&self, entry: &Entry<'_>, there: Option<Meta>, own: bool, hand: &mut Hand) -> Result<Outcome> {
        let verdict = match &there {
            Some(there) if own => self.judge(entry, there, hand)?,
            Some(_) => Some(Verdict::Other),
            None => None,
        };
        let Some(target) = entry.target().filter(|_| self.options.write) else {
            return self.report(entry, there, verdict, own, hand);
        };
        let inode = there.map(|there| there.inode);
        match (verdict, &there) {
            (Some(Verdict::Same), Some(there)) => {
                if self.hidden_differ(entry, there, target)? {
                    one_more(&self.tally.updated);
                }
                Ok(Outcome::There(inode))
            }
            (Some(Verdict::Access), _) => {
                let from = entry.source_node();
                let carried = make::adjust(&entry.source, &from, target, entry.name, false, &self.making);
                let carried = match carried {
                    Err(Fault::Source(Errno::ENOENT)) => return Ok(Outcome::Gone),
                    answer => answer.map_err(|fault| entry.error("adjust", fault))?,
                };
                dropped(entry.walk, entry.folder, entry.name, carried);
                one_more(&self.tally.updated);
                Ok(Outcome::There(inode))
            }
            _ if entry.source.is_file() => self.make_file(entry, target, there.is_none(), hand),
            _ => self.make_node(entry, target, there.is_none()),
        }
    }

    /// Compares what can be seen without writing.
    fn judge(&self, entry: &Entry<'_>, there: &Meta, hand: &mut Hand) -> Result<Option<Verdict>> {
        let verdict = compare(&entry.source, there, self.options.capabilities);
        let Some(target) = entry.target() else { return Ok(None) };
        if verdict == Verdict::Other {
            return Ok(Some(verdict));
        }
        if entry.source.is_link() {
            let text = readlinkat(target, entry.name.as_c_str())
                .map_err(|cause| entry.error("read", Fault::Target(cause)))?;
            return Ok(Some(if text == entry.text { verdict } else { Verdict::Other }));
        }
        if entry.source.is_file()
            && (self.options.check == Check::Content || self.moments.may_be_another(&entry.source, there))
        {
            let same = self.same_content(entry, target, hand)?;
            return Ok(Some(if same { verdict } else { Verdict::Other }));
        }
        Ok(Some(verdict))
    }

    /// Whether two files of the same size hold the same bytes; no where the source's is no file any more, which is found
    /// out by who opens it to copy it.
    fn same_content(&self, entry: &Entry<'_>, target: BorrowedFd<'_>, hand: &mut Hand) -> Result<bool> {
        let (source, _) = match file::open_source(entry.pair.source.as_fd(), entry.name) {
            Ok(opened) => opened,
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => return Ok(false),
            Err(cause) => return Err(entry.error("read", Fault::Source(cause))),
        };
        let (target, _) = file::open_source(target, entry.name)
            .map_err(|cause| entry.error("read", Fault::Target(cause)))?;
        let go_on = || entry.walk.go_on().map_err(|_| Fault::Stopped);
        content::same(
            source.as_fd(),
            target.as_fd(),
            entry.source.size,
            self.making.means,
            &mut hand.buffer,
            &go_on,
        )
        .map_err(|fault| entry.error("read", fault))
    }

    /// Carries extended attributes over where they may differ; whether they did.
    fn hidden_differ(&self, entry: &Entry<'_>, there: &Meta, target: BorrowedFd<'_>) -> Result<bool> {
        if self.options.check == Check::Metadata
            && !self.moments.attributes_may_differ(&entry.source, there, self.options.capabilities)
        {
            return Ok(false);
        }
        let to = Node::named(target, entry.name);
        let can = self.options.capabilities;
        let carried = match attributes::carry(&entry.source_node(), &to, false, self.options.write, can) {
            // The next pass will see what became of it.
            Err(Fault::Source(Errno::ENOENT)) => Carried::default(),
            answer => answer.map_err(|fault| entry.error("read the attributes of", fault))?,
        };
        let differed = carried.differed;
        dropped(entry.walk, entry.folder, entry.name, carried);
        Ok(differed)
    }

    /// Counts instead of writing.
    fn report(
        &self,
        entry: &Entry<'_>,
        there: Option<Meta>,
        verdict: Option<Verdict>,
        own: bool,
        hand: &mut Hand,
    ) -> Result<Outcome> {
        let hidden = match (&there, verdict, entry.target()) {
            (Some(there), Some(Verdict::Same), Some(target)) => self.hidden_differ(entry, there, target)?,
            _ => false,
        };
        let ordinary = matches!(entry.source.kind, FileType::RegularFile | FileType::Symlink);
        match (there, verdict) {
            (None, _) if !ordinary => return Ok(self.skip(entry)),
            (Some(there), Some(Verdict::Same)) if !hidden => return Ok(Outcome::There(Some(there.inode))),
            _ => {
                let how = self.difference(entry, there, verdict, own, hand)?;
                self.differs(entry.walk, entry.folder, entry.name, how);
            }
        }
        Ok(there.map_or(Outcome::Missing, |there| Outcome::There(Some(there.inode))))
    }

    /// In what an entry differs. Where names alone do, the bytes have not been looked at yet.
    fn difference(
        &self,
        entry: &Entry<'_>,
        there: Option<Meta>,
        verdict: Option<Verdict>,
        own: bool,
        hand: &mut Hand,
    ) -> Result<Difference> {
        let (Some(there), Some(target)) = (there, entry.target()) else { return Ok(Difference::Missing) };
        let how = difference(&entry.source, &there, verdict, own, self.options.capabilities);
        let look = how == Difference::Names && entry.source.is_file() && self.options.check == Check::Content;
        if look && !self.same_content(entry, target, hand)? {
            return Ok(Difference::Content);
        }
        Ok(how)
    }

    fn make_file(
        &self,
        entry: &Entry<'_>,
        target: BorrowedFd<'_>,
        free: bool,
        hand: &mut Hand,
    ) -> Result<Outcome> {
        let (source, meta) = match file::open_source(entry.pair.source.as_fd(), entry.name) {
            Ok(opened) => opened,
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => return Ok(Outcome::Gone),
            Err(cause) => return Err(entry.error("read", Fault::Source(cause))),
        };
        let progress = |bytes| {
            entry.walk.counters.add(0, 0, bytes);
            entry.walk.observer.counted(&entry.walk.counters);
            entry.walk.go_on().map_err(|_| Fault::Stopped)
        };
        let plain = entry.folder.plain;
        let made = make::put(target, entry.name, free, |name| {
            file::make(source.as_fd(), meta, target, name, plain, &self.making, &mut hand.buffer, &progress)
        });
        let made = match made {
            Err(Fault::Source(cause)) if dirfd::is_absent(cause) => return Ok(Outcome::Gone),
            made => made.map_err(|fault| {
                let action = if matches!(fault, Fault::Source(_)) { "read" } else { "write" };
                entry.error(action, fault)
            })?,
        };
        one_more(&self.tally.updated);
        one_more(&self.tally.copied_files);
        if made.restless {
            one_more(&self.tally.restless);
            entry.walk.note(entry.folder, entry.name, What::Restless);
        }
        let carried = Carried { differed: true, dropped: made.dropped };
        dropped(entry.walk, entry.folder, entry.name, carried);
        Ok(Outcome::There(Some(made.inode)))
    }

    fn make_node(&self, entry: &Entry<'_>, target: BorrowedFd<'_>, free: bool) -> Result<Outcome> {
        let from = entry.source_node();
        let plain = entry.folder.plain;
        let made =
            make::node(&entry.source, &entry.text, &from, target, entry.name, free, plain, &self.making);
        let carried = match made {
            Err(Fault::Source(Errno::ENOENT)) => return Ok(Outcome::Gone),
            answer => answer.map_err(|fault| entry.error("make", fault))?,
        };
        let Some(carried) = carried else { return Ok(self.skip(entry)) };
        dropped(entry.walk, entry.folder, entry.name, carried);
        one_more(&self.tally.updated);
        let inode = if entry.source.links > 1 {
            look(target, entry.name)
                .map_err(|cause| entry.error("read", Fault::Target(cause)))?
                .map(|made| made.inode)
        } else {
            None
        };
        Ok(Outcome::There(inode))
    }
}

/// Names that had to wait come again.
fn call_back(walk: &Walk, waiting: Vec<crate::links::Waiting>) {
    for one in waiting {
        walk.resume(Task::Entries(one.folder, vec![one.name]));
    }
}

/// Says which attributes the target did not take.
pub(crate) fn dropped(walk: &Walk, folder: &Folder, name: &CStr, carried: Carried) {
    for attribute in carried.dropped {
        walk.note(folder, name, What::AttributeDropped(attribute));
    }
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        _ => "special file",
    }
}

//! Plans the steps in one directory of an application, from the wanted links, our links and the present entries; no I/O.
//!
//! The sources come in their order of precedence. Directories of one name are mirrored together; otherwise the first
//! source that has a name gets it, and the others are in conflict.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use dirfd::FileType;
use kit::quote::quoted;

use crate::directory_scan::Listing;
use crate::findings::LISTED;
use crate::ledger::{Ledger, SourceId};

/// Kind of entry that a name should have.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Want {
    /// A link into the source with this index.
    Link(usize),
    /// A directory that mirrors the directories of these sources.
    Directory(Vec<usize>),
}

/// A name that the sources offer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted<'a> {
    name: &'a [u8],
    want: Want,
    /// Sources that have the name too and do not get it.
    losers: Vec<usize>,
}

/// Merges the listings of the sources, in the order of names.
fn merge(sources: &[Listing]) -> impl Iterator<Item = Wanted<'_>> {
    let mut heads: Vec<_> = sources.iter().map(|listing| listing.iter().peekable()).collect();
    std::iter::from_fn(move || {
        let name = heads.iter_mut().filter_map(|head| head.peek().map(|&(name, _)| &**name)).min()?;
        let mut want = None;
        let mut losers = Vec::new();
        for (index, head) in heads.iter_mut().enumerate() {
            let Some((_, kind)) = head.next_if(|(found, _)| **found == *name) else { continue };
            match (&mut want, kind) {
                (None, FileType::Directory) => want = Some(Want::Directory(vec![index])),
                (None, _) => want = Some(Want::Link(index)),
                (Some(Want::Directory(all)), FileType::Directory) => all.push(index),
                (Some(_), _) => losers.push(index),
            }
        }
        want.map(|want| Wanted { name, want, losers })
    })
}

/// A change of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Take over a link that is exactly as we would make it: made before a kill, or by another monitor.
    Adopt(Box<[u8]>, SourceId),
    /// Forget a link that was removed or replaced by another program.
    Forget(Box<[u8]>, SourceId),
    /// Make a link where nothing is.
    Link(Box<[u8]>, SourceId),
    /// Replace our own link by one into another source.
    Relink { name: Box<[u8]>, from: SourceId, to: SourceId },
    /// Remove our own link.
    Unlink(Box<[u8]>, SourceId),
    /// Make a directory where nothing is.
    MakeDirectory(Box<[u8]>),
}

impl Step {
    /// Returns the step as a dry run shows it; `None` if it changes only the ledger.
    pub fn dry_run(&self, target: &Path, ledger: &Ledger) -> Option<DryRunStep> {
        let (action, name, source) = match self {
            Self::Adopt(..) | Self::Forget(..) => return None,
            Self::Link(name, source) => ("link", name, Some(*source)),
            Self::Relink { name, to, .. } => ("relink", name, Some(*to)),
            Self::Unlink(name, _) => ("unlink", name, None),
            Self::MakeDirectory(name) => ("mkdir", name, None),
        };
        let name = OsStr::from_bytes(name);
        let to = source.map(|source| ledger.source(source).join(name));
        Some(DryRunStep { action, path: target.join(name), to })
    }
}

/// A step that a run would make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRunStep {
    /// `link`, `relink`, `unlink`, `mkdir` or `rmdir`.
    pub action: &'static str,
    /// Path that changes.
    pub path: PathBuf,
    /// Text of the link.
    pub to: Option<PathBuf>,
}

impl DryRunStep {
    /// Returns a JSON object, in which names are quoted as in text.
    pub fn json(&self) -> serde_json::Value {
        let to = self.to.as_deref().map(quoted);
        serde_json::json!({ "step": self.action, "path": quoted(&self.path), "to": to })
    }
}

impl fmt::Display for DryRunStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.action, quoted(&self.path))?;
        self.to.as_ref().map_or(Ok(()), |to| write!(formatter, " -> {}", quoted(to)))
    }
}

/// A name that a source does not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameConflict {
    pub name: Box<[u8]>,
    pub source: usize,
    /// The source that gets it; `None` if something that is not ours has it.
    pub winner: Option<usize>,
}

/// Decisions about one directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of names; an `Unlink` comes before the step that replaces the entry.
    pub steps: Vec<Step>,
    /// Directories that mirror others, with the indices of these.
    pub directories: Vec<(OsString, Vec<usize>)>,
    /// The first [`LISTED`] names that some source does not get.
    pub conflicts: Vec<NameConflict>,
    /// Number of such names.
    pub conflict_count: usize,
}

/// Facts that the plan depends on, besides the names.
#[derive(Clone, Copy)]
pub struct PlanContext<'a> {
    /// The ids of the sources, by index.
    pub ids: &'a [SourceId],
    /// True for names that other mappings use as directories.
    pub reserved: &'a dyn Fn(&[u8]) -> bool,
    /// Returns the source that a present link leads into, if it leads to its own name in one that we know. Called only
    /// for names that are wanted or ours.
    pub link_source: &'a dyn Fn(&[u8]) -> Option<SourceId>,
}

/// Decides about every name that the sources offer or that is ours; `links` and `present` are sorted.
pub fn plan<'a>(
    sources: &'a [Listing],
    links: impl Iterator<Item = (&'a [u8], SourceId)>,
    present: &Listing,
    context: PlanContext<'_>,
) -> Plan {
    let mut plan = Plan::default();
    let (mut wanted, mut links, mut present) =
        (merge(sources).peekable(), links.peekable(), present.iter().peekable());
    loop {
        let heads = [wanted.peek().map(|wanted| wanted.name), links.peek().map(|link| link.0)];
        let Some(name) = heads.into_iter().flatten().min() else { return plan };
        while present.next_if(|(other, _)| **other < *name).is_some() {}
        let kind = present.next_if(|(other, _)| **other == *name).map(|(_, kind)| *kind);
        let want = wanted.next_if(|wanted| wanted.name == name);
        let recorded = links.next_if(|link| link.0 == name).map(|(_, source)| source);
        let link_source = (kind == Some(FileType::Symlink)).then(|| (context.link_source)(name)).flatten();
        // Ours only if its target is the recorded one.
        let own = recorded.filter(|source| link_source == Some(*source));
        if let (Some(source), None) = (recorded, own) {
            plan.steps.push(Step::Forget(name.into(), source));
        }
        let Some(Wanted { want, losers, .. }) = want else {
            plan.steps.extend(own.map(|source| Step::Unlink(name.into(), source)));
            continue;
        };
        let winner = match &want {
            Want::Link(index) => *index,
            Want::Directory(indices) => indices[0],
        };
        losers.into_iter().for_each(|source| plan.lose(name, source, Some(winner)));
        match want {
            Want::Directory(indices) => plan.directory(name, indices, own, kind),
            Want::Link(index) => plan.link(name, index, own, kind, link_source, context),
        }
    }
}

impl Plan {
    fn link(
        &mut self,
        name: &[u8],
        index: usize,
        own: Option<SourceId>,
        kind: Option<FileType>,
        link_source: Option<SourceId>,
        context: PlanContext<'_>,
    ) {
        let source = context.ids[index];
        let taken = kind.is_some() && own.is_none() && link_source != Some(source);
        let step = match (kind, own) {
            _ if taken || (context.reserved)(name) => {
                self.lose(name, index, None);
                own.map(|own| Step::Unlink(name.into(), own))
            }
            (None, _) => Some(Step::Link(name.into(), source)),
            (Some(_), Some(from)) => {
                (from != source).then(|| Step::Relink { name: name.into(), from, to: source })
            }
            (Some(_), None) => Some(Step::Adopt(name.into(), source)),
        };
        self.steps.extend(step);
    }

    fn directory(&mut self, name: &[u8], indices: Vec<usize>, own: Option<SourceId>, kind: Option<FileType>) {
        if kind != Some(FileType::Directory) {
            if kind.is_some() && own.is_none() {
                indices.into_iter().for_each(|source| self.lose(name, source, None));
                return;
            }
            self.steps.extend(own.map(|source| Step::Unlink(name.into(), source)));
            self.steps.push(Step::MakeDirectory(name.into()));
        }
        self.directories.push((OsString::from_vec(name.to_vec()), indices));
    }

    fn lose(&mut self, name: &[u8], source: usize, winner: Option<usize>) {
        self.conflict_count += 1;
        if self.conflicts.len() < LISTED {
            self.conflicts.push(NameConflict { name: name.into(), source, winner });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory_scan::listing;

    #[test]
    fn the_first_source_decides_and_directories_join() {
        use FileType::{Directory, RegularFile as File};
        let sources = [
            listing(&[("a", File), ("d", Directory), ("x", File)]),
            listing(&[]),
            listing(&[("a", Directory), ("b", File), ("d", Directory), ("x", File)]),
            listing(&[("d", File), ("x", Directory)]),
        ];
        let wanted = |name: &'static str, want, losers: &[usize]| Wanted {
            name: name.as_bytes(),
            want,
            losers: losers.to_vec(),
        };
        assert_eq!(
            merge(&sources).collect::<Vec<_>>(),
            [
                wanted("a", Want::Link(0), &[2]),
                wanted("b", Want::Link(2), &[]),
                wanted("d", Want::Directory(vec![0, 2]), &[3]),
                wanted("x", Want::Link(0), &[2, 3]),
            ]
        );
        assert_eq!(merge(&[]).count(), 0);
    }

    #[test]
    fn every_meeting_of_wanted_ours_and_present_has_its_answer() {
        use FileType::{Directory, RegularFile as File, Symlink as Link};
        let sources = [
            listing(&[
                ("adopt", File),
                ("dir-file", Directory),
                ("dir-keep", Directory),
                ("dir-new", Directory),
                ("dir-ours", Directory),
                ("foreign", File),
                ("keep", File),
                ("new", File),
                ("replaced", File),
                ("reserved", File),
                ("user", File),
            ]),
            listing(&[("keep", File), ("switched", File)]),
        ];
        let ours = ["dir-ours", "gone", "keep", "replaced", "stale", "switched", "taken-away"];
        let ours = ours.iter().map(|name| (name.as_bytes(), 10));
        let present = listing(&[
            ("adopt", Link),
            ("dir-file", File),
            ("dir-keep", Directory),
            ("dir-ours", Link),
            ("foreign", Link),
            ("keep", Link),
            ("other", File),
            ("replaced", File),
            ("stale", Link),
            ("switched", Link),
            ("taken-away", Link),
            ("unknown", Link),
            ("user", File),
        ]);
        let link_source = |name: &[u8]| match name {
            b"foreign" | b"taken-away" => None,
            b"unknown" => unreachable!("a name that does not matter"),
            _ => Some(10),
        };
        let reserved = |name: &[u8]| name == b"reserved";
        let context = PlanContext { ids: &[10, 11], reserved: &reserved, link_source: &link_source };
        let name = |name: &str| Box::from(name.as_bytes());
        let lost = |lost: &str, source, winner| NameConflict { name: name(lost), source, winner };
        let expected = Plan {
            steps: vec![
                Step::Adopt(name("adopt"), 10),
                Step::MakeDirectory(name("dir-new")),
                Step::Unlink(name("dir-ours"), 10),
                Step::MakeDirectory(name("dir-ours")),
                Step::Forget(name("gone"), 10),
                Step::Link(name("new"), 10),
                Step::Forget(name("replaced"), 10),
                Step::Unlink(name("stale"), 10),
                Step::Relink { name: name("switched"), from: 10, to: 11 },
                Step::Forget(name("taken-away"), 10),
            ],
            directories: ["dir-keep", "dir-new", "dir-ours"].map(|name| (name.into(), vec![0])).into(),
            conflicts: vec![
                lost("dir-file", 0, None),
                lost("foreign", 0, None),
                lost("keep", 1, Some(0)),
                lost("replaced", 0, None),
                lost("reserved", 0, None),
                lost("user", 0, None),
            ],
            conflict_count: 6,
        };
        assert_eq!(plan(&sources, ours, &present, context), expected);
    }

    #[test]
    fn all_conflicts_are_counted_and_the_first_are_listed() {
        let names: Vec<_> = (0..2 * LISTED).map(|number| format!("{number:04}")).collect();
        let all: Vec<_> = names.iter().map(|name| (name.as_str(), FileType::RegularFile)).collect();
        let context = PlanContext { ids: &[1], reserved: &|_| false, link_source: &|_| None };
        let found = plan(&[listing(&all)], std::iter::empty(), &listing(&all), context);
        assert_eq!((found.conflicts.len(), found.conflict_count), (LISTED, 2 * LISTED));
    }
}

//! What has to be done in one directory of an application: pure, from what is wanted, what is ours and what is there.

use std::iter::Peekable;

use crate::held::Source;
use crate::listing::Kind;
use crate::merge::{Want, Wanted};

/// What is decided about one link or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Leave our own link as it is.
    Keep(&'a [u8], Source),
    /// Take for ours a link that is exactly as we would make it: made before a kill, or by our like.
    Adopt(&'a [u8], Source),
    /// Forget a link that somebody else has removed or replaced.
    Forget(&'a [u8], Source),
    /// Make a link where nothing is.
    Link(&'a [u8], Source),
    /// Replace our own link by one into another source.
    Relink(&'a [u8], Source, Source),
    /// Remove our own link.
    Unlink(&'a [u8], Source),
    /// Make a directory where nothing is.
    MakeDirectory(&'a [u8]),
}

/// Why a file of the storage has no link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Something that is not ours has the name.
    Taken,
    /// Another source has the name and comes first.
    To(usize),
}

/// A name that a source does not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The source.
    pub source: usize,
    /// Why.
    pub why: Loss,
}

/// What to do, and what is true afterwards.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Steps, in the order of names; an `Unlink` comes before what takes its place.
    pub steps: Vec<Step<'a>>,
    /// Directories that mirror others, with the indices of these.
    pub directories: Vec<(&'a [u8], Vec<usize>)>,
    /// Names that some source does not get.
    pub conflicts: Vec<Lost<'a>>,
    /// How many entries more there are afterwards than before; fewer, if negative.
    pub more: isize,
}

/// What the decisions depend on, beside the names.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The numbers of the sources, by index.
    pub numbers: &'a [Source],
    /// Names that other mappings use as directories.
    pub reserved: &'a dyn Fn(&[u8]) -> bool,
    /// Into which source a link leads that is there, if it leads to its own name in one that we know; it is asked only
    /// about names that matter.
    pub leads: &'a dyn Fn(&[u8]) -> Option<Source>,
}

/// Names with something about each, in the order of names.
type Sorted<'a, T> = Peekable<Box<dyn Iterator<Item = T> + 'a>>;

/// Decides about a directory, piece by piece: there may be more names than memory for decisions.
pub struct Planner<'a> {
    wanted: Sorted<'a, Wanted<'a>>,
    held: Sorted<'a, (&'a [u8], Source)>,
    links: Sorted<'a, &'a [u8]>,
    /// What was decided; the steps are the caller's to take.
    pub plan: Plan<'a>,
}

impl<'a> Planner<'a> {
    /// From what is wanted, with what has these names now; from what is ours; and from links that nobody asks for.
    pub fn new(
        wanted: impl Iterator<Item = Wanted<'a>> + 'a,
        held: impl Iterator<Item = (&'a [u8], Source)> + 'a,
        links: impl Iterator<Item = &'a [u8]> + 'a,
    ) -> Self {
        Self {
            wanted: (Box::new(wanted) as Box<dyn Iterator<Item = _>>).peekable(),
            held: (Box::new(held) as Box<dyn Iterator<Item = _>>).peekable(),
            links: (Box::new(links) as Box<dyn Iterator<Item = _>>).peekable(),
            plan: Plan::default(),
        }
    }

    /// Decides until there are so many steps, or no names; says whether names may be left.
    pub fn decide(&mut self, known: Known<'_>, steps: usize) -> bool {
        while self.plan.steps.len() < steps {
            let wanted = self.wanted.peek().map(|wanted| wanted.name);
            let heads = [wanted, self.held.peek().map(|held| held.0), self.links.peek().copied()];
            let Some(name) = heads.into_iter().flatten().min() else { return false };
            let want = self.wanted.next_if(|wanted| wanted.name == name);
            let ours = self.held.next_if(|held| held.0 == name).map(|(_, source)| source);
            let link = self.links.next_if(|link| *link == name).map(|_| Kind::Link);
            let kind = want.as_ref().and_then(|wanted| wanted.there).or(link);
            let mattering = want.is_some() || ours.is_some();
            let leads = (mattering && kind == Some(Kind::Link)).then(|| (known.leads)(name)).flatten();
            let reserved = (known.reserved)(name);
            self.plan.decide(name, want, known.numbers, ours, kind, leads, reserved);
        }
        true
    }
}

impl<'a> Plan<'a> {
    #[expect(clippy::too_many_arguments, reason = "all that is known about one name")]
    fn decide(
        &mut self,
        name: &'a [u8],
        want: Option<Wanted<'a>>,
        numbers: &[Source],
        ours: Option<Source>,
        kind: Option<Kind>,
        leads: Option<Source>,
        reserved: bool,
    ) {
        // Ours only if it still leads where we made it lead.
        let own = ours.filter(|source| leads == Some(*source));
        if let (Some(source), None) = (ours, own) {
            self.steps.push(Step::Forget(name, source));
        }
        let Some(Wanted { want, losers, .. }) = want else {
            if let Some(source) = own {
                self.steps.push(Step::Unlink(name, source));
                self.more -= 1;
            }
            return;
        };
        let first = match &want {
            Want::Link(index) => *index,
            Want::Directory(indices) => indices[0],
        };
        self.conflicts.extend(losers.into_iter().map(|source| Lost { name, source, why: Loss::To(first) }));
        match want {
            Want::Directory(indices) => self.directory(name, indices, own, kind),
            Want::Link(index) => {
                let source = numbers[index];
                let taken = kind.is_some() && own.is_none() && leads != Some(source);
                if reserved || taken {
                    if let Some(own) = own {
                        self.steps.push(Step::Unlink(name, own));
                        self.more -= 1;
                    }
                    self.conflicts.push(Lost { name, source: index, why: Loss::Taken });
                    return;
                }
                match (kind, own) {
                    (None, _) => {
                        self.steps.push(Step::Link(name, source));
                        self.more += 1;
                    }
                    (Some(_), Some(own)) if own != source => self.steps.push(Step::Relink(name, own, source)),
                    (Some(_), Some(_)) => self.steps.push(Step::Keep(name, source)),
                    (Some(_), None) => self.steps.push(Step::Adopt(name, source)),
                }
            }
        }
    }

    fn directory(&mut self, name: &'a [u8], indices: Vec<usize>, own: Option<Source>, kind: Option<Kind>) {
        match (kind, own) {
            (Some(Kind::Directory), _) => {}
            (None, _) => {
                self.steps.push(Step::MakeDirectory(name));
                self.more += 1;
            }
            (Some(_), Some(own)) => {
                self.steps.push(Step::Unlink(name, own));
                self.steps.push(Step::MakeDirectory(name));
            }
            (Some(_), None) => {
                self.conflicts.extend(indices.into_iter().map(|source| Lost {
                    name,
                    source,
                    why: Loss::Taken,
                }));
                return;
            }
        }
        self.directories.push((name, indices));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Listing;
    use crate::merge::merge;

    #[test]
    fn every_meeting_of_wanted_ours_and_there_has_its_answer() {
        use Kind::{Directory, File, Link};
        let mut sources = [
            Listing::of(&[
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
            Listing::of(&[("keep", File), ("switched", File)]),
        ];
        let ours = [
            ("dir-ours", 10),
            ("gone", 10),
            ("keep", 10),
            ("replaced", 10),
            ("stale", 10),
            ("switched", 10),
            ("taken-away", 10),
        ];
        let ours = ours.iter().map(|(name, source)| (name.as_bytes(), *source));
        let there = [
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
        ];
        let mut links: Vec<&[u8]> = Vec::new();
        for (name, kind) in &there {
            let name = name.as_bytes();
            if !sources.iter_mut().any(|listing| listing.meet(name, *kind)) && *kind == Link {
                links.push(name);
            }
        }
        let leads = |name: &[u8]| match name {
            b"foreign" | b"taken-away" => None,
            b"unknown" => unreachable!("nobody asks about a name that does not matter"),
            _ => Some(10),
        };
        let reserved = |name: &[u8]| name == b"reserved";
        let known = Known { numbers: &[10, 11], reserved: &reserved, leads: &leads };
        let mut planner = Planner::new(merge(&sources), ours, links.into_iter());
        let mut steps = Vec::new();
        while planner.decide(known, 2) {
            steps.append(&mut planner.plan.steps);
        }
        let plan = planner.plan;
        steps.extend(plan.steps);
        assert_eq!(
            steps,
            [
                Step::Adopt(b"adopt", 10),
                Step::MakeDirectory(b"dir-new"),
                Step::Unlink(b"dir-ours", 10),
                Step::MakeDirectory(b"dir-ours"),
                Step::Forget(b"gone", 10),
                Step::Keep(b"keep", 10),
                Step::Link(b"new", 10),
                Step::Forget(b"replaced", 10),
                Step::Unlink(b"stale", 10),
                Step::Relink(b"switched", 10, 11),
                Step::Forget(b"taken-away", 10),
            ]
        );
        let directories: Vec<_> = plan.directories.iter().map(|(name, _)| *name).collect();
        assert_eq!(directories, [&b"dir-keep"[..], b"dir-new", b"dir-ours"]);
        let lost = |name: &'static [u8], source, why| Lost { name, source, why };
        assert_eq!(
            plan.conflicts,
            [
                lost(b"dir-file", 0, Loss::Taken),
                lost(b"foreign", 0, Loss::Taken),
                lost(b"keep", 1, Loss::To(0)),
                lost(b"replaced", 0, Loss::Taken),
                lost(b"reserved", 0, Loss::Taken),
                lost(b"user", 0, Loss::Taken),
            ]
        );
        assert_eq!(plan.more, 2 - 1);
    }
}

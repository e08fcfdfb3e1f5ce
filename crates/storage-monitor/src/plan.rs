//! What has to be done in one directory of an application: pure, from what is wanted, what is ours and what is there.

use crate::held::{Held, Source};
use crate::listing::{Kind, Listing};
use crate::merge::{Want, Wanted};

/// One step in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
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
    /// Our links after the steps.
    pub held: Held,
    /// Links that are exactly as we would make them, and not in the ledger: after a kill, or made by our like.
    pub adopted: Vec<(&'a [u8], Source)>,
    /// Links of the ledger that somebody else has removed or replaced.
    pub lost: Vec<(&'a [u8], Source)>,
    /// Directories that mirror others, with the indices of these.
    pub directories: Vec<(&'a [u8], Vec<usize>)>,
    /// Names that some source does not get.
    pub conflicts: Vec<Lost<'a>>,
    /// How many entries there are afterwards.
    pub remaining: usize,
}

/// Decides about a directory.
///
/// `numbers` are those of the sources, by index. `leads_to` says into which source a link leads that is there, if it leads
/// to its own name in one that we know; it is asked only about names that matter. `reserved` are names that other mappings
/// use as directories.
pub fn plan<'a>(
    wanted: impl Iterator<Item = Wanted<'a>>,
    numbers: &[Source],
    held: Option<&'a Held>,
    there: &'a Listing,
    reserved: impl Fn(&[u8]) -> bool,
    leads_to: impl Fn(&[u8]) -> Option<Source>,
) -> Plan<'a> {
    let mut held = held.into_iter().flat_map(Held::iter).peekable();
    let mut wanted = wanted.peekable();
    let mut there = there.iter().peekable();
    let mut plan = Plan::default();
    loop {
        let names = [wanted.peek().map(|w| w.name), held.peek().map(|h| h.0), there.peek().map(|t| t.0)];
        let Some(name) = names.into_iter().flatten().min() else { return plan };
        let want = wanted.next_if(|wanted| wanted.name == name);
        let ours = held.next_if(|held| held.0 == name).map(|(_, source)| source);
        let kind = there.next_if(|there| there.0 == name).map(|(_, kind)| kind);
        let mattering = want.is_some() || ours.is_some();
        let leads = (mattering && kind == Some(Kind::Link)).then(|| leads_to(name)).flatten();
        plan.decide(name, want, numbers, ours, kind, leads, reserved(name));
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
            self.lost.push((name, source));
        }
        self.remaining += usize::from(kind.is_some());
        let Some(Wanted { want, losers, .. }) = want else {
            if let Some(source) = own {
                self.steps.push(Step::Unlink(name, source));
                self.remaining -= 1;
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
                        self.remaining -= 1;
                    }
                    self.conflicts.push(Lost { name, source: index, why: Loss::Taken });
                    return;
                }
                match (kind, own) {
                    (None, _) => {
                        self.steps.push(Step::Link(name, source));
                        self.remaining += 1;
                    }
                    (Some(_), Some(own)) if own != source => self.steps.push(Step::Relink(name, own, source)),
                    (Some(_), Some(_)) => {}
                    (Some(_), None) => self.adopted.push((name, source)),
                }
                self.held.push(name, source);
            }
        }
    }

    fn directory(&mut self, name: &'a [u8], indices: Vec<usize>, own: Option<Source>, kind: Option<Kind>) {
        match (kind, own) {
            (Some(Kind::Directory), _) => {}
            (None, _) => {
                self.steps.push(Step::MakeDirectory(name));
                self.remaining += 1;
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
    use crate::held::Draft;
    use crate::merge::merge;

    fn held(links: &[(&str, Source)]) -> Held {
        let mut draft = Draft::default();
        links.iter().for_each(|(name, source)| draft.link(name.as_bytes(), *source));
        draft.finish()
    }

    #[test]
    fn every_meeting_of_wanted_ours_and_there_has_its_answer() {
        use Kind::{Directory, File, Link};
        let sources = [
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
        let ours = held(&[
            ("dir-ours", 10),
            ("gone", 10),
            ("keep", 10),
            ("replaced", 10),
            ("stale", 10),
            ("switched", 10),
            ("taken-away", 10),
        ]);
        let there = Listing::of(&[
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
            ("user", File),
        ]);
        let leads = |name: &[u8]| match name {
            b"foreign" | b"taken-away" => None,
            b"other" => unreachable!("nobody asks about a name that does not matter"),
            _ => Some(10),
        };
        let plan = plan(merge(&sources), &[10, 11], Some(&ours), &there, |name| name == b"reserved", leads);
        assert_eq!(
            plan.steps,
            [
                Step::MakeDirectory(b"dir-new"),
                Step::Unlink(b"dir-ours", 10),
                Step::MakeDirectory(b"dir-ours"),
                Step::Link(b"new", 10),
                Step::Unlink(b"stale", 10),
                Step::Relink(b"switched", 10, 11),
            ]
        );
        let links: Vec<_> = plan.held.iter().collect();
        assert_eq!(links, [(&b"adopt"[..], 10), (b"keep", 10), (b"new", 10), (b"switched", 11)]);
        assert_eq!(plan.adopted, [(&b"adopt"[..], 10)]);
        assert_eq!(plan.lost, [(&b"gone"[..], 10), (b"replaced", 10), (b"taken-away", 10)]);
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
        assert_eq!(plan.remaining, there.len() + 2 - 1);
    }
}

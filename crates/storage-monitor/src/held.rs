//! Links that are ours in one directory, packed: a name and the number of the source directory it leads into.
//!
//! The file that a link leads to has the link's own name, so name and source directory say everything.

use std::collections::BTreeMap;

/// The number of a source directory; see [`crate::ledger::Ledger`].
pub type Source = u32;

/// Our links in one directory, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// For each link: one byte of length, the name, four bytes of source.
    packed: Vec<u8>,
    count: usize,
}

impl Held {
    /// Adds a link; names come in the order of their bytes, and none is longer than the kernel's 255 bytes.
    pub fn push(&mut self, name: &[u8], source: Source) {
        let Ok(length) = u8::try_from(name.len()) else { return };
        self.packed.push(length);
        self.packed.extend_from_slice(name);
        self.packed.extend_from_slice(&source.to_le_bytes());
        self.count += 1;
    }

    /// The links, sorted by name.
    pub fn iter(&self) -> Links<'_> {
        Links { rest: &self.packed }
    }

    /// How many links there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether there is a link of this name.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.iter().any(|(held, _)| held == name)
    }

    /// Gives back what growing took too much.
    pub fn shrink(&mut self) {
        self.packed.shrink_to_fit();
    }
}

/// The links of a [`Held`].
#[derive(Debug, Clone)]
pub struct Links<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Links<'a> {
    type Item = (&'a [u8], Source);

    fn next(&mut self) -> Option<Self::Item> {
        let (&length, rest) = self.rest.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (source, rest) = rest.split_first_chunk()?;
        self.rest = rest;
        Some((name, Source::from_le_bytes(*source)))
    }
}

/// Links as a log tells them: mostly in the order of their names, and then each costs no more than it does in [`Held`].
#[derive(Debug, Default)]
pub struct Draft {
    held: Held,
    last: Vec<u8>,
    changes: BTreeMap<Vec<u8>, Change>,
}

/// What was told about a name after the first time.
#[derive(Debug, Clone, Copy)]
struct Change {
    now: Option<Source>,
    before: Before,
}

/// Where the link may still lead, because nothing says that it was replaced.
#[derive(Debug, Clone, Copy)]
enum Before {
    /// Where it was first said to lead.
    First,
    Other(Source),
    Nowhere,
}

impl Draft {
    /// There is such a link; an earlier one of that name is not there any more.
    pub fn link(&mut self, name: &[u8], source: Source) {
        if self.held.is_empty() || name > self.last.as_slice() {
            self.held.push(name, source);
            name.clone_into(&mut self.last);
            self.changes.remove(name);
            return;
        }
        let first = Change { now: Some(source), before: Before::First };
        let change = self.changes.entry(name.to_vec()).or_insert(first);
        if let Some(other) = change.now.filter(|other| *other != source) {
            change.before = Before::Other(other);
        }
        change.now = Some(source);
    }

    /// There is no such link any more, unless it was replaced by one into another source.
    pub fn unlink(&mut self, name: &[u8], source: Source) {
        let now = self.changes.get(name).and_then(|change| change.now).filter(|other| *other != source);
        self.changes.insert(name.to_vec(), Change { now, before: Before::Nowhere });
    }

    /// What is left.
    pub fn finish(self) -> Held {
        self.settle().0
    }

    /// What is left; and of links that were about to be replaced, where they led: a kill may have come in between.
    pub fn settle(self) -> (Held, BTreeMap<Vec<u8>, Source>) {
        let mut result = Held::default();
        let mut doubts = BTreeMap::new();
        let mut changes = self.changes.into_iter().peekable();
        let mut told = self.held.iter().peekable();
        loop {
            let change = changes.peek().map(|(name, _)| name.as_slice());
            match (told.peek(), change) {
                (Some((name, source)), change) if change.is_none_or(|change| *name < change) => {
                    result.push(name, *source);
                    told.next();
                }
                (_, Some(change)) => {
                    let first = told.next_if(|(name, _)| *name == change).map(|(_, source)| source);
                    let Some((name, Change { now: Some(source), before })) = changes.next() else { continue };
                    result.push(&name, source);
                    let before = match before {
                        Before::First => first,
                        Before::Other(other) => Some(other),
                        Before::Nowhere => None,
                    };
                    if let Some(before) = before.filter(|before| *before != source) {
                        doubts.insert(name, before);
                    }
                }
                (_, None) => return (result, doubts),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_come_back_sorted_and_whole() {
        let long = vec![0xff; 255];
        let mut draft = Draft::default();
        draft.link(b"b", 7);
        draft.link(&long, u32::MAX);
        draft.link(b"a\n ", 0);
        draft.link(b"b", 8);
        draft.unlink(b"b", 7);
        draft.link(b"c", 1);
        draft.link(b"c", 2);
        draft.link(b"gone", 1);
        draft.unlink(b"gone", 1);
        let (held, doubts) = draft.settle();
        let links: Vec<_> = held.iter().collect();
        assert_eq!(links, [(&b"a\n "[..], 0), (b"b", 8), (b"c", 2), (&long[..], u32::MAX)]);
        assert_eq!((held.len(), held.contains(b"b"), held.contains(b"d")), (4, true, false));
        assert_eq!(doubts, [(b"c".to_vec(), 1)].into(), "nothing says that the first is gone");
    }
}

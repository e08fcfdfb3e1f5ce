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
    changes: BTreeMap<Vec<u8>, Option<Source>>,
}

impl Draft {
    /// There is such a link; an earlier one of that name is not there any more.
    pub fn link(&mut self, name: &[u8], source: Source) {
        if self.held.is_empty() || name > self.last.as_slice() {
            self.held.push(name, source);
            name.clone_into(&mut self.last);
            self.changes.remove(name);
        } else {
            self.changes.insert(name.to_vec(), Some(source));
        }
    }

    /// There is no such link any more, unless it was replaced by one into another source.
    pub fn unlink(&mut self, name: &[u8], source: Source) {
        let replaced = matches!(self.changes.get(name), Some(Some(other)) if *other != source);
        if !replaced {
            self.changes.insert(name.to_vec(), None);
        }
    }

    /// What is left.
    pub fn finish(self) -> Held {
        let mut result = Held::default();
        let mut changes = self.changes.into_iter().peekable();
        let mut told = self.held.iter().peekable();
        loop {
            let change = changes.peek().map(|(name, _)| name.as_slice());
            match (told.peek(), change) {
                (Some((name, source)), change) if change.is_none_or(|change| *name < change) => {
                    result.push(name, *source);
                    told.next();
                }
                (link, Some(change)) => {
                    if link.is_some_and(|(name, _)| *name == change) {
                        told.next();
                    }
                    if let Some((name, Some(source))) = changes.next() {
                        result.push(&name, source);
                    }
                }
                (_, None) => return result,
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
        draft.link(b"gone", 1);
        draft.unlink(b"gone", 1);
        let held = draft.finish();
        let links: Vec<_> = held.iter().collect();
        assert_eq!(links, [(&b"a\n "[..], 0), (b"b", 8), (&long[..], u32::MAX)]);
        assert_eq!((held.len(), held.contains(b"b"), held.contains(b"c")), (3, true, false));
    }
}

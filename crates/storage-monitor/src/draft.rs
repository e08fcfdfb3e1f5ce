//! Our links in one directory, as a log tells of them: mostly in the order of their names.

use std::collections::BTreeMap;

use crate::held::{Builder, Held, Pool, Source};

/// Links and what was told about them later.
#[derive(Debug)]
pub struct Draft {
    told: Builder,
    last: Vec<u8>,
    changes: BTreeMap<Vec<u8>, Change>,
    pool: Pool,
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
    /// Nothing was told yet.
    pub fn new(pool: &Pool) -> Self {
        Self { told: Builder::new(pool), last: Vec::new(), changes: BTreeMap::new(), pool: pool.clone() }
    }

    /// There is such a link; an earlier one of that name is not there any more.
    pub fn link(&mut self, name: &[u8], source: Source) {
        if self.told.is_empty() || name > self.last.as_slice() {
            self.told.push(name, source);
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

    /// What is left; and of links that were about to be replaced, where they led: a kill may have come in between.
    pub fn settle(self) -> (Held, BTreeMap<Vec<u8>, Source>) {
        let told = self.told.finish();
        if self.changes.is_empty() {
            return (told, BTreeMap::new());
        }
        let mut result = Builder::new(&self.pool);
        let mut doubts = BTreeMap::new();
        let mut changes = self.changes.into_iter().peekable();
        let mut told = told.iter().peekable();
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
                (_, None) => return (result.finish(), doubts),
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
        let mut draft = Draft::new(&Pool::default());
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
        assert_eq!(doubts, [(b"c".to_vec(), 1)].into(), "nothing says that the first is gone");
    }
}

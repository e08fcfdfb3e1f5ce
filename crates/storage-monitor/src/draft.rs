//! Our links in one directory, as a log tells of them: mostly in the order of their names.

use std::collections::BTreeMap;

use crate::held::{Builder, Held, Pool, Source};

/// Links and what was told about them later.
#[derive(Debug)]
pub struct Draft {
    told: Told,
    changes: BTreeMap<Vec<u8>, Change>,
    pool: Pool,
}

/// What was told in the order of names.
#[derive(Debug)]
enum Told {
    /// The last name, and all.
    Open(Vec<u8>, Builder),
    /// Packed, because there are many directories; from now on, everything is a change.
    Closed(Held),
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
        let told = Told::Open(Vec::new(), Builder::new(pool));
        Self { told, changes: BTreeMap::new(), pool: pool.clone() }
    }

    /// There is such a link; an earlier one of that name is not there any more.
    pub fn link(&mut self, name: &[u8], source: Source) {
        if let Told::Open(last, told) = &mut self.told
            && (told.is_empty() || name > last.as_slice())
        {
            told.push(name, source);
            name.clone_into(last);
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

    /// Takes little memory from now on: what is told now is about another directory.
    pub fn close(&mut self) {
        if let Told::Open(_, told) = &mut self.told {
            let told = std::mem::replace(told, Builder::new(&self.pool));
            self.told = Told::Closed(told.finish());
        }
    }

    /// What is left; and of links that were about to be replaced, where they led: a kill may have come in between.
    pub fn settle(mut self) -> (Held, BTreeMap<Vec<u8>, Source>) {
        self.close();
        let Told::Closed(told) = self.told else { return Default::default() };
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
        // Wherever another directory comes in between.
        for closed in 0..9 {
            let mut draft = Draft::new(&Pool::default());
            let mut told = 0;
            let mut tell = |link: bool, name: &[u8], source| {
                if link {
                    draft.link(name, source);
                } else {
                    draft.unlink(name, source);
                }
                told += 1;
                if told == closed {
                    draft.close();
                }
            };
            tell(true, b"b", 7);
            tell(true, &long, u32::MAX);
            tell(true, b"a\n ", 0);
            tell(true, b"b", 8);
            tell(false, b"b", 7);
            tell(true, b"c", 1);
            tell(true, b"c", 2);
            tell(true, b"gone", 1);
            tell(false, b"gone", 1);
            let (held, doubts) = draft.settle();
            let links: Vec<_> = held.iter().collect();
            assert_eq!(links, [(&b"a\n "[..], 0), (b"b", 8), (b"c", 2), (&long[..], u32::MAX)], "{closed}");
            assert_eq!(doubts, [(b"c".to_vec(), 1)].into(), "nothing says that the first is gone");
        }
    }
}

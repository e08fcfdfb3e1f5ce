//! Links that are ours in one directory, packed: a name and the number of the source directory it leads into.
//!
//! The file that a link leads to has the link's own name, so name and source directory say everything. The links lie in
//! blocks of about a hundred. Where a block ends is decided by the names in it, so that lists that differ in a few names
//! consist of the same blocks but for a few; and blocks that are the same exist once, however many directories hold them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

/// The number of a source directory; see [`crate::ledger::Ledger`].
pub type Source = u32;

/// One name of that many ends a block, on average.
const BLOCK: u32 = 128;
/// A block of so many bytes ends whatever its names are.
const LARGEST: usize = 16 << 10;

/// Our links in one directory, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// For each link: one byte of length, the name, four bytes of source. No block is empty.
    blocks: Vec<Rc<[u8]>>,
    count: usize,
}

impl Held {
    /// The links, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Source)> {
        self.blocks.iter().flat_map(|block| Links(block))
    }

    /// How many links there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Where the link of this name leads, if there is one.
    pub fn get(&self, name: &[u8]) -> Option<Source> {
        let after = self.blocks.partition_point(|block| first(block) <= name);
        let block = self.blocks.get(after.checked_sub(1)?)?;
        Links(block).find(|(held, _)| *held == name).map(|(_, source)| source)
    }

    /// The same list with these names leading elsewhere, or nowhere.
    pub fn edited(&self, edits: &BTreeMap<Vec<u8>, Option<Source>>, pool: &Pool) -> Self {
        let mut result = Builder::new(pool);
        let mut edits = edits.iter().peekable();
        for (index, block) in self.blocks.iter().enumerate() {
            let next = self.blocks.get(index + 1).map(|block| first(block));
            let here = |name: &[u8]| next.is_none_or(|next| name < next);
            if result.is_between_blocks() && !edits.peek().is_some_and(|(name, _)| here(name)) {
                result.whole(block);
                continue;
            }
            let mut links = Links(block).peekable();
            while let Some((name, edit)) = edits.next_if(|(name, _)| here(name)) {
                while let Some((before, source)) = links.next_if(|(before, _)| *before < name.as_slice()) {
                    result.push(before, source);
                }
                links.next_if(|(same, _)| *same == name.as_slice());
                edit.iter().for_each(|source| result.push(name, *source));
            }
            links.for_each(|(name, source)| result.push(name, source));
        }
        for (name, edit) in edits {
            edit.iter().for_each(|source| result.push(name, *source));
        }
        result.finish()
    }
}

fn first(block: &[u8]) -> &[u8] {
    Links(block).next().map_or(&[], |(name, _)| name)
}

/// The links of a block.
#[derive(Debug)]
struct Links<'a>(&'a [u8]);

impl<'a> Iterator for Links<'a> {
    type Item = (&'a [u8], Source);

    fn next(&mut self) -> Option<Self::Item> {
        let (&length, rest) = self.0.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (source, rest) = rest.split_first_chunk()?;
        self.0 = rest;
        Some((name, Source::from_le_bytes(*source)))
    }
}

/// Makes a [`Held`] from links that come in the order of their names.
#[derive(Debug)]
pub struct Builder {
    held: Held,
    block: Vec<u8>,
    pool: Pool,
}

impl Builder {
    /// Blocks are those of the pool, where it has them.
    pub fn new(pool: &Pool) -> Self {
        Self { held: Held::default(), block: Vec::new(), pool: pool.clone() }
    }

    /// Adds a link, whose name comes after all others; none is longer than the kernel's 255 bytes.
    pub fn push(&mut self, name: &[u8], source: Source) {
        let Ok(length) = u8::try_from(name.len()) else { return };
        self.block.push(length);
        self.block.extend_from_slice(name);
        self.block.extend_from_slice(&source.to_le_bytes());
        self.held.count += 1;
        if ends_block(name) || self.block.len() >= LARGEST {
            self.end_block();
        }
    }

    /// Whether there is no link yet.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// What was added.
    pub fn finish(mut self) -> Held {
        self.end_block();
        self.held.blocks.shrink_to_fit();
        self.held
    }

    fn is_between_blocks(&self) -> bool {
        self.block.is_empty()
    }

    fn whole(&mut self, block: &Rc<[u8]>) {
        self.held.count += Links(block).count();
        self.held.blocks.push(Rc::clone(block));
    }

    fn end_block(&mut self) {
        if !self.block.is_empty() {
            self.held.blocks.push(self.pool.share(&self.block));
            self.block.clear();
        }
    }
}

/// Whether a block ends with this name: known from a hash of it (FNV-1a, 32 bits).
fn ends_block(name: &[u8]) -> bool {
    let hash =
        name.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    // Its upper half: the lowest bits know too little of the whole name.
    (hash >> 16).is_multiple_of(BLOCK)
}

/// All blocks that are in use.
#[derive(Debug, Clone, Default)]
pub struct Pool(Rc<RefCell<Blocks>>);

#[derive(Debug, Default)]
struct Blocks {
    all: HashSet<Rc<[u8]>>,
    /// With so many, those that nobody uses any more are looked for.
    full: usize,
}

impl Pool {
    fn share(&self, block: &[u8]) -> Rc<[u8]> {
        let mut blocks = self.0.borrow_mut();
        if let Some(known) = blocks.all.get(block) {
            return Rc::clone(known);
        }
        if blocks.all.len() >= blocks.full {
            blocks.all.retain(|block| Rc::strong_count(block) > 1);
            blocks.full = (2 * blocks.all.len()).max(1_024);
        }
        let new: Rc<[u8]> = block.into();
        blocks.all.insert(Rc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<Vec<u8>> {
        let mut names: Vec<_> = (0..5_000).map(|number| format!("model {number}").into_bytes()).collect();
        names.sort();
        names
    }

    fn held(names: &[Vec<u8>], pool: &Pool) -> Held {
        let mut builder = Builder::new(pool);
        names.iter().for_each(|name| builder.push(name, 7));
        builder.finish()
    }

    #[test]
    fn a_list_is_found_again_by_order_and_by_name() {
        let mut names = names();
        names.push(vec![0xff; 255]);
        let held = held(&names, &Pool::default());
        assert!(held.iter().eq(names.iter().map(|name| (name.as_slice(), 7))));
        assert!(names.iter().all(|name| held.get(name) == Some(7)));
        assert_eq!([&b""[..], b"model", b"model 1x", &[0xff; 256]].map(|name| held.get(name)), [None; 4]);
        assert_eq!((held.len(), Held::default().get(b"x")), (names.len(), None));
    }

    #[test]
    fn an_edited_list_is_the_one_made_of_the_edited_names() {
        let (names, pool) = (names(), Pool::default());
        let before = held(&names, &pool);
        let ends = names.iter().position(|name| ends_block(name)).unwrap();
        for touched in [&[0][..], &[ends], &[ends + 1], &[4_999], &[1, 2, ends, 3_000], &[]] {
            let mut edits: BTreeMap<Vec<u8>, Option<Source>> =
                touched.iter().map(|index| (names[*index].clone(), None)).collect();
            let left: Vec<_> = names.iter().filter(|name| !edits.contains_key(*name)).cloned().collect();
            let less = before.edited(&edits, &pool);
            assert_eq!(less, held(&left, &pool), "without {touched:?}");
            edits.values_mut().for_each(|edit| *edit = Some(7));
            assert_eq!(less.edited(&edits, &pool), before, "with {touched:?} again");
        }
        let all = names.iter().map(|name| (name.clone(), Some(7))).collect();
        assert_eq!(Held::default().edited(&all, &pool), before);
    }

    #[test]
    fn equal_blocks_exist_once_and_unused_ones_go() {
        let (names, pool) = (names(), Pool::default());
        let one = held(&names, &pool);
        let known = pool.0.borrow().all.len();
        let other = held(&names[1..], &pool);
        let after = pool.0.borrow().all.len();
        assert_eq!((known, after), (one.blocks.len(), one.blocks.len() + 1), "only the first differs");
        drop((one, other));
        pool.0.borrow_mut().full = 0;
        held(&names[..1], &pool);
        assert_eq!(pool.0.borrow().all.len(), 1);
    }
}

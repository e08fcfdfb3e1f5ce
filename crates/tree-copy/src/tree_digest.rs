//! Digest of a tree, independent of the order of its entries.

use std::ffi::CStr;

use dirfd::FileType;
use sha2::{Digest, Sha256};

use crate::metadata::Metadata;

/// Hash over the names from the root down to a directory, so that no path must be stored.
pub(crate) type PathHash = [u8; 32];

/// Hash of the root.
pub(crate) const ROOT: PathHash = [0; 32];

/// Hash of the directory `name` in `parent`.
pub(crate) fn path_hash(parent: &PathHash, name: &CStr) -> PathHash {
    Sha256::new().chain_update(parent).chain_update(name.to_bytes()).finalize().into()
}

/// The sum of the entries' hashes modulo 2^256: adding commutes, so threads may add in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TreeDigest([u64; 4]);

impl TreeDigest {
    /// Adds one entry. Sizes count for regular files alone: those of directories differ between file systems.
    pub fn add_entry(&mut self, directory: &PathHash, name: &CStr, meta: &Metadata, text: &[u8]) {
        let size = if meta.is_file() { meta.size } else { 0 };
        // Linux gives symbolic links no bits of their own, other systems' files may show some.
        let mode = if meta.is_link() { 0 } else { meta.mode };
        let hash = Sha256::new()
            .chain_update(directory)
            .chain_update(name.to_bytes_with_nul())
            .chain_update([letter(meta.kind)])
            .chain_update(mode.to_le_bytes())
            .chain_update(size.to_le_bytes())
            .chain_update(text)
            .finalize();
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(hash.chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        }
        self.add(&Self(words));
    }

    /// Adds another sum.
    pub fn add(&mut self, other: &Self) {
        let mut carry = false;
        for (word, more) in self.0.iter_mut().zip(other.0) {
            let (sum, first) = word.overflowing_add(more);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *word = sum;
            carry = first || second;
        }
    }

    pub fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (part, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            part.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

fn letter(kind: FileType) -> u8 {
    match kind {
        FileType::RegularFile => b'f',
        FileType::Directory => b'd',
        FileType::Symlink => b'l',
        FileType::Fifo => b'p',
        FileType::Socket => b's',
        FileType::CharacterDevice => b'c',
        FileType::BlockDevice => b'b',
        FileType::Unknown => b'?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_does_not_depend_on_the_order_and_carries() {
        let (one, two) = (TreeDigest([u64::MAX, u64::MAX, 5, 0]), TreeDigest([1, 0, u64::MAX, 7]));
        let mut there = one;
        there.add(&two);
        let mut back = two;
        back.add(&one);
        assert_eq!(there, back);
        assert_eq!(there, TreeDigest([0, 0, 5, 8]));
    }

    #[test]
    fn every_type_has_the_letter_that_stored_digests_have() {
        let types = [
            (FileType::RegularFile, b'f'),
            (FileType::Directory, b'd'),
            (FileType::Symlink, b'l'),
            (FileType::Fifo, b'p'),
            (FileType::Socket, b's'),
            (FileType::CharacterDevice, b'c'),
            (FileType::BlockDevice, b'b'),
        ];
        for (kind, expected) in types {
            assert_eq!(letter(kind), expected, "{kind:?}");
        }
    }

    #[test]
    fn names_do_not_run_into_each_other() {
        assert_ne!(path_hash(&path_hash(&ROOT, c"a"), c"bc"), path_hash(&path_hash(&ROOT, c"ab"), c"c"));
    }
}

//! Stored listings of an image: `NAME.listing` in the container's state directory, and `.sync_manifest` in
//! the root of each copy, so that the user's work in the copy is known.
//!
//! A container makes its listing once; a container made from a saved image makes its own. A copy has the listing of its
//! image, not of the copy: entries that programs made during the copy are the user's.
//!
//! A row has 40 bytes, so that a large environment takes three megabytes in memory and on the workspace.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};

use crate::first_start;
use crate::image_listing::{Listing, Row};
use crate::reserved_names::MANIFEST;
use crate::tree_paths::TreePaths;
use crate::volume_clock::Timestamp;

/// First bytes, with the version of the format.
const MAGIC: &[u8; 16] = b"sync listing 2\n\0";
const ROW: usize = 40;
/// Enough for three million entries; a workspace may contain anything under our names.
const MAX_BYTES: u64 = 128 << 20;

/// Returns the stored form of a listing.
pub fn render(listing: &Listing) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.reserve(listing.rows().len() * ROW);
    for row in listing.rows() {
        for number in [row.path, row.parent, row.content, row.bytes] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(row.modified.to_be_bytes());
        bytes.extend(row.mode.to_be_bytes());
        bytes.extend(u16::from(row.touched).to_be_bytes());
    }
    bytes
}

/// Parses the stored form; nothing if it has another version or is damaged.
pub fn parse(bytes: &[u8]) -> Option<Listing> {
    let (rows, rest) = bytes.strip_prefix(MAGIC)?.as_chunks::<ROW>();
    rest.is_empty().then(|| Listing::from_sorted(rows.iter().map(parse_row).collect()))?
}

fn parse_row(bytes: &[u8; ROW]) -> Row {
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
    };
    Row {
        path: number(0, 8),
        parent: number(8, 16),
        content: number(16, 24),
        bytes: number(24, 32),
        modified: u32::try_from(number(32, 36)).unwrap_or(0),
        mode: u16::try_from(number(36, 38)).unwrap_or(0),
        touched: number(38, 40) != 0,
    }
}

/// Returns the listing in the root of a copy; nothing if it is missing or damaged.
pub fn of_copy(directory: impl AsFd) -> Result<Option<Listing>> {
    let opened = match dirfd::open_file(directory, MANIFEST) {
        Err(nix::Error::ELOOP) => None,
        opened => opened.with_context(|| format!("cannot open {MANIFEST}"))?,
    };
    let Some(file) = opened else { return Ok(None) };
    let cannot = || format!("cannot read {MANIFEST}");
    if !file.metadata().with_context(cannot)?.is_file() {
        return Ok(None);
    }
    let mut content = Vec::new();
    (&file).take(MAX_BYTES + 1).read_to_end(&mut content).with_context(cannot)?;
    Ok(if content.len() as u64 > MAX_BYTES { None } else { parse(&content) })
}

/// Returns the listing that this container made, if there is one.
pub fn of_container(state_dir: &Path, tree: &TreePaths) -> Option<Listing> {
    let content = fs::read(file(state_dir, tree)).ok()?;
    parse(content.strip_prefix(header().as_bytes())?)
}

/// Returns the listing, and makes it if it is missing; programs may have changed the tree since `first_start`. Nothing
/// if the container no longer has the image's tree.
pub fn ensure(state_dir: &Path, tree: &TreePaths, first_start: Option<Timestamp>) -> Result<Option<Listing>> {
    if let Some(listing) = of_container(state_dir, tree) {
        return Ok(Some(listing));
    }
    let Some(root) = tree.image_tree() else { return Ok(None) };
    let listing = Listing::take(root, first_start)?;
    if let Err(error) = store(state_dir, tree, &listing) {
        // The next listing has only the entries that are untouched by then.
        log::warn!("{}: {error:#}", tree.name);
    }
    Ok(Some(listing))
}

fn store(state_dir: &Path, tree: &TreePaths, listing: &Listing) -> Result<()> {
    fs::create_dir_all(state_dir).with_context(|| format!("cannot create {}", state_dir.display()))?;
    let content = [header().as_bytes(), &render(listing)].concat();
    atomic::write(&file(state_dir, tree), &content, WriteOptions::durable(0o644))
}

fn file(state_dir: &Path, tree: &TreePaths) -> PathBuf {
    state_dir.join(format!("{}.listing", tree.name))
}

fn header() -> String {
    first_start::engine_id() + "\n"
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::image_listing::tests::{next_tick, tree};

    #[test]
    fn a_tree_is_listed_once_in_a_container_and_again_in_one_that_was_made_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let (opt, state_dir) = (dir.path().join("opt"), dir.path().join("memory"));
        let tree = TreePaths::new("x", &opt, dir.path(), "s");
        let rows = || ensure(&state_dir, &tree, None).unwrap().map(|listing| listing.rows().len());
        assert_eq!(rows(), None, "no such tree");
        fs::create_dir_all(&tree.image).unwrap();
        assert_eq!(rows(), Some(1));
        fs::write(tree.image.join("late"), "").unwrap();
        assert_eq!(rows(), Some(1), "it is about the image");
        fs::remove_dir_all(&tree.image).unwrap();
        assert_eq!(rows(), Some(1), "also when its tree is gone");
        fs::create_dir_all(&tree.image).unwrap();
        fs::write(tree.image.join("late"), "").unwrap();
        let saved = [b"another container", &fs::read(file(&state_dir, &tree)).unwrap()[..]].concat();
        fs::write(file(&state_dir, &tree), saved).unwrap();
        assert_eq!(rows(), Some(2));
    }

    #[test]
    fn what_is_stored_is_read_and_damage_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path());
        let first_start = next_tick(dir.path());
        fs::write(dir.path().join("early"), "").unwrap();
        let listing = Listing::take(dir.path(), Some(first_start)).unwrap();
        let stored = render(&listing);
        assert_eq!(listing.rows().len(), 7, "the root, and no compiled Python");
        assert_eq!(parse(&stored).as_ref(), Some(&listing));
        let (head, rows) = stored.split_at(MAGIC.len());
        let turned = [head, &rows[ROW..], &rows[..ROW]].concat();
        for damaged in [&stored[..stored.len() - 1], &stored[1..], &turned, b""] {
            assert_eq!(parse(damaged), None);
        }
    }

    #[test]
    fn the_listing_of_a_copy_is_read_and_damage_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let read = || of_copy(File::open(dir.path()).unwrap()).unwrap();
        let file = dir.path().join(MANIFEST);
        assert_eq!(read(), None);
        tree(dir.path());
        let listing = Listing::take(dir.path(), None).unwrap();
        fs::write(&file, render(&listing)).unwrap();
        assert_eq!(read(), Some(listing));
        fs::write(&file, [0; 12]).unwrap();
        assert_eq!(read(), None, "a torn one");
        File::create(&file).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(), None, "a volume must not fill the memory");
    }
}

//! `NAME.listing`, beside the container's memory of a tree: what the image brought, listed once in a container's life.
//!
//! It is about this container alone: one that was made from it, after it was saved as an image, lists again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};

use crate::began;
use crate::clock::Instant;
use crate::listing::Listing;
use crate::tree::Tree;

/// The listing that this container has made, if it has.
pub fn load(memory: &Path, tree: &Tree) -> Option<Listing> {
    let content = fs::read(file(memory, tree)).ok()?;
    Listing::parse(content.strip_prefix(header().as_bytes())?)
}

/// The listing, made now where it is missing, with `began` as the moment when programs could begin to change the tree;
/// nothing where the container has no tree of the image's any more.
pub fn ensure(memory: &Path, tree: &Tree, began: Option<Instant>) -> Result<Option<Listing>> {
    if let Some(listing) = load(memory, tree) {
        return Ok(Some(listing));
    }
    let Some(root) = tree.brought() else { return Ok(None) };
    let listing = Listing::take(root, began)?;
    if let Err(error) = store(memory, tree, &listing) {
        // The next one is made from what programs have left untouched by then.
        log::warn!("{}: {error:#}", tree.name);
    }
    Ok(Some(listing))
}

fn store(memory: &Path, tree: &Tree, listing: &Listing) -> Result<()> {
    fs::create_dir_all(memory).with_context(|| format!("cannot create {}", memory.display()))?;
    let content = [header().as_bytes(), &listing.render()].concat();
    atomic::write(&file(memory, tree), &content, WriteOptions::durable(0o644))
}

fn file(memory: &Path, tree: &Tree) -> PathBuf {
    memory.join(format!("{}.listing", tree.name))
}

fn header() -> String {
    began::container() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_listed_once_in_a_container_and_again_in_one_that_was_made_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let (opt, memory) = (dir.path().join("opt"), dir.path().join("memory"));
        let tree = Tree::new("x", &opt, dir.path(), "s");
        let rows = || ensure(&memory, &tree, None).unwrap().map(|listing| listing.rows().len());
        assert_eq!(rows(), None, "no such tree");
        fs::create_dir_all(&tree.image).unwrap();
        assert_eq!(rows(), Some(1));
        fs::write(tree.image.join("late"), "").unwrap();
        assert_eq!(rows(), Some(1), "it is about the image");
        fs::remove_dir_all(&tree.image).unwrap();
        assert_eq!(rows(), Some(1), "also when its tree is gone");
        fs::create_dir_all(&tree.image).unwrap();
        fs::write(tree.image.join("late"), "").unwrap();
        let saved = [b"another container", &fs::read(file(&memory, &tree)).unwrap()[..]].concat();
        fs::write(file(&memory, &tree), saved).unwrap();
        assert_eq!(rows(), Some(2));
    }
}

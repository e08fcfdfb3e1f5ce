//! The generation of a tree: an identity of the image's content that changes in a container do not affect.
//!
//! Two generations are the same if the listings of their entries agree, as far as both containers can know. Entries
//! that either has touched do not count, and a name that one lacks counts only if that one has the directory,
//! untouched. Names, kinds, sizes, link targets, modes and the content of small files count. Times do not, because an
//! image that was built again from the same sources has new ones.

use kit::hex;
use nix::sys::stat::SFlag;
use sha2::{Digest, Sha256};

use crate::image_listing::{Listing, Row};

/// Relation of the image's generation to that of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// They are the same.
    Same,
    /// The image has changed.
    Another,
    /// The list of one of them is missing or damaged.
    Impossible,
}

/// Returns a short name for people, 16 hexadecimal digits, of the entries that the container did not touch.
pub fn id(listing: &Listing) -> String {
    let mut digest = Sha256::new();
    for row in listing.rows().iter().filter(|row| !row.touched) {
        digest.update(row.path.to_be_bytes());
        digest.update(row.content.to_be_bytes());
        digest.update(row.bytes.to_be_bytes());
        digest.update(row.mode.to_be_bytes());
    }
    hex::encode(&digest.finalize()[..8])
}

/// Compares the image's listing with that of a copy.
pub fn compare(images: Option<&Listing>, copys: Option<&Listing>) -> Comparison {
    let (Some(images), Some(copys)) = (images, copys) else { return Comparison::Impossible };
    let is_another = images.rows().iter().any(|row| is_news(row, copys))
        || copys.rows().iter().any(|row| is_news(row, images));
    if is_another { Comparison::Another } else { Comparison::Same }
}

/// True if the image that `other` lists certainly has another entry of this name, or none.
fn is_news(row: &Row, other: &Listing) -> bool {
    if row.touched {
        return false;
    }
    match other.find(row.path) {
        Some(found) => {
            !found.touched && (found.content, found.bytes, found.mode) != (row.content, row.bytes, row.mode)
        }
        None => {
            other.find(row.parent).is_some_and(|parent| !parent.touched && parent.kind() == SFlag::S_IFDIR)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_listing::tests::{next_tick, set_time, tree};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    type Case<'a> = (&'a str, &'a dyn Fn(&Path));

    /// Returns the listing of a container in whose first second `work` was done.
    fn listed(work: &dyn Fn(&Path)) -> Listing {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path());
        let first_start = next_tick(dir.path());
        work(dir.path());
        Listing::take(dir.path(), Some(first_start)).unwrap()
    }

    /// Returns the listing of a container whose image was changed by `change`.
    fn shipped(change: &dyn Fn(&Path)) -> Listing {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path());
        change(dir.path());
        Listing::take(dir.path(), None).unwrap()
    }

    fn both_ways(one: &Listing, other: &Listing) -> [Comparison; 2] {
        [compare(Some(one), Some(other)), compare(Some(other), Some(one))]
    }

    fn write(name: &'static str) -> impl Fn(&Path) {
        move |root| fs::write(root.join(name), "other content").unwrap()
    }

    fn mode(name: &'static str, mode: u32) -> impl Fn(&Path) {
        move |root| fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap()
    }

    #[test]
    fn nothing_that_is_done_in_a_container_makes_another_generation() {
        let works: [Case<'_>; 9] = [
            ("nothing", &|_| ()),
            ("mkdir", &|root| fs::create_dir_all(root.join("lib/new/deep")).unwrap()),
            ("a new file", &write("lib/new.py")),
            ("a file written anew", &write("lib/a.py")),
            ("a file removed", &|root| fs::remove_file(root.join("lib/a.py")).unwrap()),
            ("a directory removed", &|root| fs::remove_dir_all(root.join("lib")).unwrap()),
            // Where directories can be renamed, what is in them is not touched by it.
            ("a directory renamed", &|root| fs::rename(root.join("lib"), root.join("lib2")).unwrap()),
            ("a file in the place of a directory", &|root| {
                fs::remove_dir_all(root.join("lib")).unwrap();
                fs::write(root.join("lib"), "").unwrap();
            }),
            ("other permissions", &mode("lib/a.py", 0o700)),
        ];
        for (what, work) in &works {
            for (other_what, other) in &works {
                let same = [Comparison::Same; 2];
                assert_eq!(both_ways(&listed(work), &listed(other)), same, "{what}, {other_what}");
            }
        }
    }

    #[test]
    fn a_changed_image_is_another_generation_and_one_that_was_only_built_again_is_not() {
        let image = listed(&|root| fs::write(root.join("early"), "").unwrap());
        let changes: [Case<'_>; 7] = [
            ("a size", &write("lib/a.py")),
            ("content of the same size", &|root| fs::write(root.join("lib/a.py"), "LIB/A.PY").unwrap()),
            ("a new file", &write("lib/c.py")),
            ("one file less", &|root| fs::remove_file(root.join("lib/b.py")).unwrap()),
            ("a mode", &mode("lib/a.py", 0o755)),
            ("a link", &|root| {
                fs::remove_file(root.join("link")).unwrap();
                symlink("lib/a.py", root.join("link")).unwrap();
            }),
            ("a kind", &|root| {
                fs::remove_dir_all(root.join("lib")).unwrap();
                fs::write(root.join("lib"), "").unwrap();
            }),
        ];
        for (what, change) in changes {
            assert_eq!(both_ways(&image, &shipped(change)), [Comparison::Another; 2], "{what}");
        }
        let again: [Case<'_>; 4] = [
            ("times", &|root| set_time(&root.join("lib/a.py"), 2_000)),
            ("what Python compiled", &write("lib/__pycache__/a.pyc")),
            ("the group's permissions", &mode("lib/a.py", 0o664)),
            ("the group of a directory", &mode("lib", 0o2775)),
        ];
        for (what, change) in again {
            assert_eq!(both_ways(&image, &shipped(change)), [Comparison::Same; 2], "{what}");
            assert_eq!(id(&shipped(change)), id(&shipped(&|_| ())), "{what}");
        }
    }

    #[test]
    fn without_two_listings_nothing_is_claimed() {
        let image = shipped(&|_| ());
        assert_eq!(compare(Some(&image), None), Comparison::Impossible);
        assert_eq!(compare(None, Some(&image)), Comparison::Impossible);
    }
}

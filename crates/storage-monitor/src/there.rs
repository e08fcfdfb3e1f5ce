//! What a directory of an application holds, told to the entries of the storage that want to be there.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;

use crate::changes::Names;
use crate::listing::{Kind, Listing, each, kind_of};
use crate::temporary::Temporary;

/// What is there beside the names that are wanted.
#[derive(Debug, Default)]
pub struct There {
    /// Links that nothing in the storage asks for: they may be ours.
    pub links: Listing,
    /// How many entries there are, wanted or not.
    pub count: usize,
    /// Links under our temporary names: a kill may have left them.
    pub leftovers: Vec<Vec<u8>>,
}

impl There {
    /// Looks at these names; those that are `gone` are not there, or will not have been.
    pub fn look(
        directory: impl AsFd,
        names: &Names,
        gone: &BTreeSet<&[u8]>,
        wanted: &mut [Listing],
        temporary: &Temporary,
    ) -> io::Result<Self> {
        let mut there = Self::default();
        match names {
            Names::All => each(directory, |name, kind| there.entry(name, kind, gone, wanted, temporary))?,
            Names::Only(names) => {
                for name in names {
                    if let Some(kind) = kind_of(&directory, name)? {
                        there.entry(name, kind, gone, wanted, temporary)?;
                    }
                }
            }
        }
        there.links.sort();
        Ok(there)
    }

    fn entry(
        &mut self,
        name: &[u8],
        kind: Kind,
        gone: &BTreeSet<&[u8]>,
        wanted: &mut [Listing],
        temporary: &Temporary,
    ) -> io::Result<()> {
        if gone.contains(name) {
            return Ok(());
        }
        self.count += 1;
        if kind == Kind::Link && temporary.is(name) {
            self.leftovers.push(name.to_vec());
        }
        // One of those that want the name is enough; `merge` asks all.
        if !wanted.iter_mut().any(|listing| listing.meet(name, kind)) && kind == Kind::Link {
            self.links.push(name, kind)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_there_is_told_to_who_wants_the_name_and_other_links_are_listed() {
        let top = tempfile::tempdir().unwrap();
        for name in ["a", "other file", "gone"] {
            fs::write(top.path().join(name), "").unwrap();
        }
        for name in ["b", "stale", ".storage-monitor.1.0"] {
            symlink("/x", top.path().join(name)).unwrap();
        }
        let directory = fs::File::open(top.path()).unwrap();
        let look = |names: &Names| {
            let mut wanted = [
                Listing::of(&[("a", Kind::File)]),
                Listing::of(&[("a", Kind::File), ("b", Kind::File), ("c", Kind::File)]),
            ];
            let there =
                There::look(&directory, names, &[&b"gone"[..]].into(), &mut wanted, &Temporary::of("1"))
                    .unwrap();
            let met: Vec<_> = wanted.iter().map(|all| [0, 1, 2].map(|index| all.met(index))).collect();
            let links: Vec<_> = there.links.iter().map(|(name, _)| name.to_vec()).collect();
            (met, links, there.count, there.leftovers.len())
        };
        let (file, link) = (Some(Kind::File), Some(Kind::Link));
        let links = vec![b".storage-monitor.1.0".to_vec(), b"stale".to_vec()];
        assert_eq!(look(&Names::All), (vec![[file, None, None], [None, link, None]], links, 5, 1));
        let some = Names::Only([b"b".to_vec(), b"gone".to_vec(), b"stale".to_vec()].into());
        assert_eq!(look(&some), (vec![[None; 3], [None, link, None]], vec![b"stale".to_vec()], 2, 0));
    }
}

//! What one directory of an application shall hold, from the storage directories that lead into it.
//!
//! The sources come in their order of precedence. Directories of one name are mirrored together; otherwise the first
//! source that has a name decides, and the others lose it.

use crate::listing::{Kind, Listing};

/// What a name shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// A link into the source with this index.
    Link(usize),
    /// A directory that mirrors the directories of these sources.
    Directory(Vec<usize>),
}

/// A name that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The name.
    pub name: &'a [u8],
    /// What it shall be.
    pub want: Want,
    /// The sources that have the name too, and do not get it.
    pub losers: Vec<usize>,
    /// What has the name now.
    pub there: Option<Kind>,
}

/// All names that are wanted, sorted.
pub fn merge(sources: &[Listing]) -> impl Iterator<Item = Wanted<'_>> {
    let mut at = vec![0_usize; sources.len()];
    std::iter::from_fn(move || {
        let next = |at: &[usize]| {
            let heads = sources.iter().zip(at).filter_map(|(listing, &index)| listing.get(index));
            heads.map(|(name, _)| name).min()
        };
        let name = next(&at)?;
        let mut want = None;
        let mut losers = Vec::new();
        let mut there = None;
        for (index, (listing, at)) in sources.iter().zip(&mut at).enumerate() {
            let Some((found, kind)) = listing.get(*at) else { continue };
            if found != name {
                continue;
            }
            // Noted with one of the entries of that name.
            there = there.or(listing.met(*at));
            *at += 1;
            match (&mut want, kind) {
                (None, Kind::Directory) => want = Some(Want::Directory(vec![index])),
                (None, _) => want = Some(Want::Link(index)),
                (Some(Want::Directory(all)), Kind::Directory) => all.push(index),
                (Some(_), _) => losers.push(index),
            }
        }
        want.map(|want| Wanted { name, want, losers, there })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_source_decides_and_directories_join() {
        use Kind::{Directory, File};
        let mut sources = [
            Listing::of(&[("a", File), ("d", Directory), ("x", File)]),
            Listing::of(&[]),
            Listing::of(&[("a", Directory), ("b", File), ("d", Directory), ("x", File)]),
            Listing::of(&[("d", File), ("x", Directory)]),
        ];
        let wanted = |name: &'static str, want, losers: &[usize]| Wanted {
            name: name.as_bytes(),
            want,
            losers: losers.to_vec(),
            there: None,
        };
        assert!(sources[2].meet(b"b", Kind::Link));
        assert_eq!(
            merge(&sources).collect::<Vec<_>>(),
            [
                wanted("a", Want::Link(0), &[2]),
                Wanted { there: Some(Kind::Link), ..wanted("b", Want::Link(2), &[]) },
                wanted("d", Want::Directory(vec![0, 2]), &[3]),
                wanted("x", Want::Link(0), &[2, 3]),
            ]
        );
        assert_eq!(merge(&[]).count(), 0);
    }
}

//! Merge policy for one entry that was written in the old tree after it had been copied.
//!
//! No write may be lost, neither to the old tree (through an open file, or just before the switch) nor to the new one
//! (just after it).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Relation of the contents of two regular files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// They are the same.
    Equal,
    /// The new file is a prefix of the old one.
    OldIsLonger {
        /// Length of the new one, in bytes.
        from: u64,
    },
    /// The old file is a prefix of the new one.
    NewIsLonger,
    /// Both continue differently after a common prefix of complete lines.
    Diverged {
        /// Length of the prefix, in bytes.
        common: u64,
    },
}

/// State of the new entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewEntry {
    /// It is not in the new tree.
    Missing,
    /// It is unchanged since the copy.
    Untouched,
    /// It was written since the copy.
    Written,
    /// It was replaced since the copy, as editors do when they save a document.
    Replaced,
}

/// Step to merge an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Replace the new entry by the old one.
    Replace,
    /// Append the old file's bytes from `from` on to the new one.
    Append {
        /// The first byte to add.
        from: u64,
    },
    /// Keep the old entry beside the new one, under another name.
    KeepBoth,
}

/// Returns the step for an entry; `relation` is known if both are regular files. `appended` is the length of the old
/// file that an earlier step appended to the new one although they had diverged.
#[must_use]
pub fn merge_step(
    new: NewEntry,
    relation: Option<Relation>,
    old_is_text: bool,
    appended: Option<u64>,
) -> Step {
    match (new, relation) {
        // The old file was truncated, for example a journal.
        (NewEntry::Missing, _) | (NewEntry::Untouched, Some(Relation::NewIsLonger)) => Step::Replace,
        (_, Some(Relation::Equal | Relation::NewIsLonger)) => Step::Nothing,
        (NewEntry::Replaced, _) => Step::KeepBoth,
        // In place: a program that appends to the new file at the same time loses nothing.
        (_, Some(Relation::OldIsLonger { from })) => Step::Append { from },
        (NewEntry::Untouched, _) => Step::Replace,
        (NewEntry::Written, Some(Relation::Diverged { common })) if old_is_text => {
            Step::Append { from: appended.unwrap_or(common) }
        }
        (NewEntry::Written, _) => Step::KeepBoth,
    }
}

/// Permission bits of one of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// For owner, group and others.
    pub bits: u32,
    /// True if it was copied with these.
    pub as_copied: bool,
}

/// Returns the permissions of a new file that was not written. If both were changed, execute bits of the old file are
/// added.
#[must_use]
pub fn permissions(old: Permissions, new: Permissions) -> u32 {
    match (old.as_copied, new.as_copied) {
        (true, _) => new.bits,
        (false, true) => old.bits,
        (false, false) => new.bits | old.bits & 0o111,
    }
}

/// Compares two files from their beginnings; each is read once.
pub fn compare(old: &File, new: &File) -> io::Result<Relation> {
    let mut buffers = (vec![0; 128 * 1024], vec![0; 128 * 1024]);
    let mut offset = 0;
    let mut line_end = 0;
    loop {
        let (length, other) = (fill(old, &mut buffers.0, offset)?, fill(new, &mut buffers.1, offset)?);
        let shorter = length.min(other);
        let same = buffers.0[..shorter]
            .iter()
            .zip(&buffers.1[..shorter])
            .take_while(|(one, two)| one == two)
            .count();
        if let Some(newline) = buffers.0[..same].iter().rposition(|&byte| byte == b'\n') {
            line_end = offset + newline as u64 + 1;
        }
        if same < shorter {
            return Ok(Relation::Diverged { common: line_end });
        }
        match length.cmp(&other) {
            std::cmp::Ordering::Greater => {
                return Ok(Relation::OldIsLonger { from: offset + other as u64 });
            }
            std::cmp::Ordering::Less => return Ok(Relation::NewIsLonger),
            std::cmp::Ordering::Equal if length == 0 => return Ok(Relation::Equal),
            std::cmp::Ordering::Equal => offset += length as u64,
        }
    }
}

/// True if the file has no NUL byte from `from` on.
pub fn is_text(file: &File, from: u64) -> io::Result<bool> {
    let mut buffer = vec![0; 128 * 1024];
    let mut offset = from;
    loop {
        let length = fill(file, &mut buffer, offset)?;
        if length == 0 {
            return Ok(true);
        }
        if buffer[..length].contains(&0) {
            return Ok(false);
        }
        offset += length as u64;
    }
}

/// Appends the bytes of `old` from `from` on to `new`, which must be open for appending; returns the offset reached.
pub fn append(old: &File, mut new: &File, from: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 128 * 1024];
    let mut offset = from;
    loop {
        let length = fill(old, &mut buffer, offset)?;
        if length == 0 {
            return Ok(offset);
        }
        io::Write::write_all(&mut new, &buffer[..length])?;
        offset += length as u64;
    }
}

/// Reads at `offset` until the buffer is full or the file ends.
fn fill(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn related(old: &[u8], new: &[u8]) -> Relation {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            fs::write(dir.path().join(name), content).unwrap();
            File::open(dir.path().join(name)).unwrap()
        };
        compare(&write("old", old), &write("new", new)).unwrap()
    }

    #[test]
    fn files_are_related_byte_by_byte_also_beyond_one_buffer() {
        let long = b"line of text\n".repeat(30_000);
        let longer = [&long[..], b"more\n"].concat();
        let other = [&long[..], b"most\n"].concat();
        assert_eq!(related(&long, &long), Relation::Equal);
        assert_eq!(related(&longer, &long), Relation::OldIsLonger { from: long.len() as u64 });
        assert_eq!(related(&long, &longer), Relation::NewIsLonger);
        assert_eq!(related(&longer, &other), Relation::Diverged { common: long.len() as u64 });
        assert_eq!(related(b"", b""), Relation::Equal);
        assert_eq!(related(b"abc", b"abd"), Relation::Diverged { common: 0 }, "half a line is not common");
    }

    #[test]
    fn nothing_that_was_written_on_either_side_is_dropped() {
        use NewEntry::{Missing, Replaced, Untouched, Written};
        let diverged = Some(Relation::Diverged { common: 7 });
        assert_eq!(merge_step(Missing, None, false, None), Step::Replace);
        assert_eq!(
            merge_step(Untouched, None, false, None),
            Step::Replace,
            "a link that points elsewhere now"
        );
        assert_eq!(merge_step(Untouched, diverged, true, None), Step::Replace);
        assert_eq!(merge_step(Written, diverged, true, None), Step::Append { from: 7 });
        assert_eq!(merge_step(Written, diverged, true, Some(9)), Step::Append { from: 9 }, "not twice");
        assert_eq!(merge_step(Written, diverged, false, None), Step::KeepBoth, "a database is not lines");
        assert_eq!(merge_step(Written, None, false, None), Step::KeepBoth);
        for relation in [diverged, Some(Relation::OldIsLonger { from: 4 })] {
            assert_eq!(
                merge_step(Replaced, relation, true, None),
                Step::KeepBoth,
                "lines at the end of a saved document would break it"
            );
        }
        assert_eq!(merge_step(Replaced, Some(Relation::NewIsLonger), true, None), Step::Nothing);
        assert_eq!(
            merge_step(Untouched, Some(Relation::NewIsLonger), true, None),
            Step::Replace,
            "it was cut"
        );
        assert_eq!(merge_step(Written, Some(Relation::NewIsLonger), true, None), Step::Nothing);
        for new in [Untouched, Written] {
            assert_eq!(merge_step(new, Some(Relation::Equal), true, None), Step::Nothing);
            assert_eq!(
                merge_step(new, Some(Relation::OldIsLonger { from: 4 }), true, None),
                Step::Append { from: 4 },
                "in place, so that a program that appends at the same time loses nothing"
            );
        }
    }

    #[test]
    fn permissions_follow_who_changed_them() {
        let copied = |bits| Permissions { bits, as_copied: true };
        let changed = |bits| Permissions { bits, as_copied: false };
        assert_eq!(permissions(copied(0o644), copied(0o644)), 0o644);
        assert_eq!(permissions(changed(0o755), copied(0o644)), 0o755);
        assert_eq!(permissions(copied(0o644), changed(0o664)), 0o664);
        assert_eq!(permissions(changed(0o755), changed(0o664)), 0o775);
        assert_eq!(permissions(changed(0o600), changed(0o664)), 0o664);
    }

    #[test]
    fn appending_adds_exactly_the_rest_and_says_how_far_it_came() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        fs::write(&old, "one\ntwo\nthree\n").unwrap();
        fs::write(&new, "one\nTWO\n").unwrap();
        let target = fs::OpenOptions::new().append(true).open(&new).unwrap();
        assert_eq!(append(&File::open(&old).unwrap(), &target, 4).unwrap(), 14);
        assert_eq!(fs::read_to_string(&new).unwrap(), "one\nTWO\ntwo\nthree\n");
        assert!(is_text(&File::open(&old).unwrap(), 0).unwrap());
        fs::write(&old, b"one\n\0").unwrap();
        assert!(!is_text(&File::open(&old).unwrap(), 0).unwrap());
    }
}

//! One entry of a tree, read without following links.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{self as sys, AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

const BLOCK: usize = 1 << 18;

/// Attributes of an entry by stat(2), and the descriptor of its directory.
pub struct Entry<'a> {
    pub parent: BorrowedFd<'a>,
    pub name: CString,
    pub stat: Stat,
}

/// Opens a directory by its path; the last component must not be a link.
pub fn open_root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    sys::openat(CWD, path, flags, Mode::empty()).with_context(|| format!("cannot open {}", path.display()))
}

/// Opens a directory inside another one, never through a link.
pub fn open_below(parent: BorrowedFd<'_>, name: &CString) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    sys::openat(parent, name, flags, Mode::empty()).context("cannot open a directory")
}

/// The names in a directory, sorted.
pub fn names(directory: BorrowedFd<'_>) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in sys::Dir::read_from(directory).context("cannot read a directory")? {
        let entry = entry.context("cannot read a directory")?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

impl<'a> Entry<'a> {
    /// Looks at a name; none if nothing is there.
    pub fn stat(parent: BorrowedFd<'a>, name: &CString) -> Result<Option<Self>> {
        match sys::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Self { parent, name: name.clone(), stat })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).context("cannot stat"),
        }
    }

    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    pub fn permissions(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }

    /// Opens a directory or a regular file for reading.
    pub fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        sys::openat(self.parent, &self.name, flags, Mode::empty()).context("cannot open")
    }

    /// The target of a symbolic link, with odd bytes escaped.
    pub fn target(&self) -> Result<String> {
        let target = sys::readlinkat(self.parent, &self.name, Vec::new()).context("cannot read the link")?;
        Ok(target.to_bytes().escape_ascii().to_string())
    }

    /// All extended attributes, sorted by name.
    pub fn attributes(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = sys::openat(self.parent, &self.name, flags, Mode::empty()).context("cannot open")?;
        // No system call for attributes takes a name in an open directory; this path names the entry itself, even if it is a link.
        let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
        let list = grown(|buffer| sys::listxattr(&path, buffer)).context("cannot list attributes")?;
        let mut attributes = Vec::new();
        for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let value =
                grown(|buffer| sys::getxattr(&path, name, buffer)).context("cannot read an attribute")?;
            attributes.push((name.to_owned(), value));
        }
        attributes.sort();
        Ok(attributes)
    }
}

/// Calls with ever more room until the answer fits; a file system without attributes has none.
fn grown(mut call: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1 << 10];
    loop {
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) => buffer.resize(buffer.len() * 4, 0),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
}

/// The offset of the first byte that differs; none if both are equal to the end.
pub fn first_difference(one: OwnedFd, other: OwnedFd) -> std::io::Result<Option<u64>> {
    let (mut one, mut other) = (File::from(one), File::from(other));
    let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
    let mut offset = 0;
    loop {
        let read = fill(&mut one, &mut left)?;
        let (ours, theirs) = (&left[..read], fill(&mut other, &mut right)?);
        let theirs = &right[..theirs];
        if ours != theirs {
            let same = ours.iter().zip(theirs).take_while(|(one, other)| one == other).count();
            return Ok(Some(offset + same as u64));
        }
        if ours.is_empty() {
            return Ok(None);
        }
        offset += read as u64;
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

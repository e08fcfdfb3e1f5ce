//! A small tree of all edge cases for a copier.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{
    self as sys, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, makedev,
};

use crate::content;
use crate::entry;
use crate::random::Random;

/// The longest name that Linux takes, in bytes.
const LONGEST_NAME: usize = 255;
/// Together with their slashes longer than `PATH_MAX`, so that no single path can name the last one.
const NESTED: (usize, usize) = (21, 200);
/// Far more than is written into a file with holes.
const SPARSE: u64 = 48 << 20;

/// Creates the tree; `root` must not exist, its parent must. Owners, devices and capabilities need root.
pub fn edge_cases(root: &Path, seed: u64) -> Result<()> {
    std::fs::create_dir(root).with_context(|| format!("cannot create {}", root.display()))?;
    let site = Site { directory: entry::open_root(root)?, seed };
    names(&site).context("cannot make odd names")?;
    links(&site.inside(b"links")?).context("cannot make odd links")?;
    specials(&site.inside(b"specials")?).context("cannot make special files")?;
    sparse(&site.inside(b"sparse")?).context("cannot make files with holes")?;
    attributes(&site.inside(b"attributes")?).context("cannot make attributes")?;
    owners(&site.inside(b"owners")?).context("cannot make odd owners and modes")?;
    deep(&site.inside(b"deep")?).context("cannot make a long path")?;
    times(site.directory.as_fd(), &mut Random::new(seed)).context("cannot set times")
}

fn names(root: &Site) -> Result<()> {
    let site = root.inside(b"names")?;
    let odd: &[&[u8]] = &[
        b"new\nline",
        b"\n",
        b"-rf",
        b"--delete",
        b" ",
        b" around ",
        b"tab\tand\rreturn",
        b"quote'\"`$(id)`",
        b"back\\slash",
        b"*?[a]{b}",
        b"~root",
        b"\xff\xfe not UTF-8 \x80",
        b"\x1b[31mred",
        b"...",
        b".hidden",
        b"caf\xc3\xa9",
        b"cafe\xcc\x81",
        b"Case",
        b"case",
        b"con.txt ",
        b"a:b<c>|d",
        b"# comment",
    ];
    for name in odd {
        site.file(name, 100)?;
    }
    site.file(&[b'n'; LONGEST_NAME], 100)?;
    site.file("é".repeat(LONGEST_NAME / 2).as_bytes(), 100)?;
    let inside = site.inside(b"-directory\n\xff")?;
    inside.file(b"file", 100)?;
    inside.inside(&[b'd'; LONGEST_NAME])?.file(b"file", 100)?;
    site.inside(b"empty directory")?;
    site.file(b"empty file", 0)
}

fn links(site: &Site) -> Result<()> {
    site.inside(b"directory")?.file(b"file", 5_000)?;
    let links: &[(&[u8], &[u8])] = &[
        (b"relative", b"directory/file"),
        (b"to a directory", b"directory"),
        (b"with a slash", b"directory/"),
        (b"absolute", b"/etc/hostname"),
        (b"outside", b"../../../../../../etc"),
        (b"dangling", b"gone"),
        (b"itself", b"itself"),
        (b"loop one", b"loop two"),
        (b"loop two", b"loop one"),
        (b"parent", b".."),
        (b"here", b"."),
        (b"odd bytes", b"\xff\n$(id)"),
        (b"long", &[b'l'; 4_000]),
    ];
    for (name, target) in links {
        sys::symlinkat(*target, &site.directory, *name)?;
    }
    sys::symlinkat("..", site.inside(b"directory/loop")?.directory, "up")?;
    // Names of one inode in several directories; a link and a FIFO can have several as well.
    site.file(b"first name", 9_000)?;
    let link = |from: &[u8], to: &[u8]| {
        sys::linkat(&site.directory, from, &site.directory, to, AtFlags::empty()).context("cannot hard-link")
    };
    link(b"first name", b"second name")?;
    link(b"first name", b"directory/third name")?;
    link(b"dangling", b"directory/dangling too")?;
    site.special(b"fifo", FileType::Fifo, 0)?;
    link(b"fifo", b"directory/fifo too")
}

fn specials(site: &Site) -> Result<()> {
    site.special(b"fifo", FileType::Fifo, 0)?;
    site.special(b"socket", FileType::Socket, 0)?;
    site.special(b"null device", FileType::CharacterDevice, makedev(1, 3))?;
    site.special(b"block device", FileType::BlockDevice, makedev(7, 200))
}

fn sparse(site: &Site) -> Result<()> {
    let blob = content::bytes(Random::new(site.seed), 10_000);
    let with = |name: &[u8], size: u64, offsets: &[u64]| -> Result<()> {
        let file = std::fs::File::from(site.create(name)?);
        for offset in offsets {
            file.write_all_at(&blob, *offset)?;
        }
        Ok(file.set_len(size)?)
    };
    with(b"nothing but a hole", SPARSE, &[])?;
    with(b"a hole in the middle", SPARSE, &[0, SPARSE - 10_000])?;
    with(b"a hole at the end", SPARSE, &[4_096])?;
    with(b"islands", SPARSE, &[1 << 20, 5 << 20, 30 << 20])
}

fn attributes(site: &Site) -> Result<()> {
    let set = |directory: &OwnedFd, name: &str, value: &[u8]| {
        sys::fsetxattr(directory, name, value, XattrFlags::empty())
            .with_context(|| format!("cannot set {name}"))
    };
    let file = |name: &[u8]| -> Result<OwnedFd> { site.file(name, 300).and_then(|()| site.open(name)) };
    let one = file(b"user attributes")?;
    set(&one, "user.empty", b"")?;
    set(&one, "user.bytes", b"\x00\xff\n")?;
    set(&one, "user.\u{e9}", &[b'v'; 1_500])?;
    set(&file(b"trusted")?, "trusted.for-root", b"y")?;
    // CAP_NET_BIND_SERVICE, permitted and effective: vfs_cap_data, revision 2, of capability.h. A chown removes it.
    let capability = [[1, 0, 0, 2], [0, 4, 0, 0], [0; 4], [0; 4], [0; 4]].concat();
    set(&file(b"capability")?, "security.capability", &capability)?;
    let readable = [(USER, 6, NOBODY), (GROUP, 4, NOBODY)];
    set(&file(b"access list")?, "system.posix_acl_access", &access_list(&readable))?;
    let folder = site.inside(b"directory with lists")?;
    set(&folder.directory, "system.posix_acl_access", &access_list(&readable))?;
    set(&folder.directory, "user.of-a-directory", b"1")?;
    folder.file(b"made before the default list", 100)?;
    set(&folder.directory, "system.posix_acl_default", &access_list(&readable))?;
    folder.file(b"made below the default list", 100)
}

const USER: u16 = 2;
const GROUP: u16 = 8;
const NOBODY: u32 = 65_534;

/// An access control list as the kernel takes it (`linux/posix_acl_xattr.h`): the usual entries and `more`.
fn access_list(more: &[(u16, u16, u32)]) -> Vec<u8> {
    const UNDEFINED: u32 = u32::MAX;
    let mut entries = vec![(1, 6, UNDEFINED), (4, 4, UNDEFINED), (16, 7, UNDEFINED), (32, 0, UNDEFINED)];
    entries.extend(more);
    entries.sort_unstable();
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(u16::to_le_bytes(tag));
        list.extend(u16::to_le_bytes(permissions));
        list.extend(u32::to_le_bytes(id));
    }
    list
}

fn owners(site: &Site) -> Result<()> {
    let file = |name: &[u8], owner: u32, group: u32, mode: u32| -> Result<()> {
        site.file(name, 200)?;
        site.own(name, owner, group, mode)
    };
    file(b"another user", 1_000, 1_111, 0o644)?;
    file(b"unknown to this machine", 3_000_000_000, 4_000_000_000, 0o640)?;
    file(b"set-uid", 1_000, 0, 0o4755)?;
    file(b"set-gid", 0, 1_111, 0o2755)?;
    file(b"sticky", 0, 0, 0o1644)?;
    file(b"no permissions", 1_000, 1_000, 0)?;
    file(b"read-only", 0, 0, 0o444)?;
    let folder = |name: &[u8], owner: u32, group: u32, mode: u32| -> Result<()> {
        site.inside(name)?.file(b"inside", 200)?;
        site.own(name, owner, group, mode)
    };
    folder(b"shared", 0, 1_111, 0o2775)?;
    folder(b"for everybody", 0, 0, 0o1777)?;
    folder(b"read-only directory", 1_000, 1_000, 0o555)?;
    folder(b"directory without permissions", 1_000, 1_000, 0)?;
    sys::symlinkat("another user", &site.directory, "foreign link")?;
    let (owner, group) = (Uid::from_raw(1_000), Gid::from_raw(1_111));
    Ok(sys::chownat(&site.directory, "foreign link", Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn deep(site: &Site) -> Result<()> {
    let mut below = site.inside(b"0")?;
    for level in 0..NESTED.0 {
        let name = [b'a' + u8::try_from(level % 26)?; NESTED.1];
        below.file(b"on the way", 50)?;
        below = below.inside(&name)?;
    }
    below.file(b"at the end", 5_000)
}

/// Gives every entry below a directory, and it, a time of its own; before 1970, far away and whole seconds too.
fn times(directory: BorrowedFd<'_>, random: &mut Random) -> Result<()> {
    for name in entry::names(directory)? {
        let below = entry::Entry::stat(directory, &name)?;
        if below.is_some_and(|below| below.is_directory()) {
            times(entry::open_below(directory, &name)?.as_fd(), random)?;
        }
        stamp(directory, name.to_bytes(), random)?;
    }
    stamp(directory, b".", random)
}

fn stamp(directory: BorrowedFd<'_>, name: &[u8], random: &mut Random) -> Result<()> {
    let (seconds, nanoseconds) = match random.below(20) {
        0 => (-86_400, 1),
        1 => (4_000_000_000, 999_999_999),
        2 => (1_600_000_000, 0),
        _ => (
            1_600_000_000 + i64::try_from(random.below(100_000_000))?,
            i64::try_from(random.below(1_000_000_000))?,
        ),
    };
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let both = Timestamps { last_access: time, last_modification: time };
    Ok(sys::utimensat(directory, name, &both, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// A directory that things are made in; by descriptor, because paths would become too long.
struct Site {
    directory: OwnedFd,
    seed: u64,
}

impl Site {
    fn inside(&self, name: &[u8]) -> Result<Self> {
        let shown = || format!("cannot create {}", name.escape_ascii());
        sys::mkdirat(&self.directory, name, Mode::from_raw_mode(0o755)).with_context(shown)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = sys::openat(&self.directory, name, flags, Mode::empty()).with_context(shown)?;
        Ok(Self { directory, seed: self.seed })
    }

    fn create(&self, name: &[u8]) -> Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let made = sys::openat(&self.directory, name, flags, Mode::from_raw_mode(0o644));
        made.with_context(|| format!("cannot create {}", name.escape_ascii()))
    }

    fn open(&self, name: &[u8]) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(sys::openat(&self.directory, name, flags, Mode::empty())?)
    }

    /// A file whose content depends on its name.
    fn file(&self, name: &[u8], size: u64) -> Result<()> {
        let mut file = std::fs::File::from(self.create(name)?);
        let number = name.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        content::write(&mut file, Random::fork(self.seed, number), size)
            .with_context(|| format!("cannot write {}", Path::new(OsStr::from_bytes(name)).display()))
    }

    fn special(&self, name: &[u8], kind: FileType, device: u64) -> Result<()> {
        sys::mknodat(&self.directory, name, kind, Mode::from_raw_mode(0o640), device)
            .with_context(|| format!("cannot make {}", name.escape_ascii()))
    }

    /// The mode last: changing the owner takes set-uid and set-gid away.
    fn own(&self, name: &[u8], owner: u32, group: u32, mode: u32) -> Result<()> {
        let (owner, group) = (Uid::from_raw(owner), Gid::from_raw(group));
        sys::chownat(&self.directory, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(sys::chmodat(&self.directory, name, Mode::from_raw_mode(mode), AtFlags::empty())?)
    }
}

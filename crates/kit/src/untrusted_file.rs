//! Files that a mount or another account provides: read without being blocked, misled or filled up.
//!
//! Only a regular file is read, and never more of it than a limit. Anything else in its place (a FIFO, a device, a
//! directory, a link that leads nowhere, 40 GB) is refused with a clear message. Other file types are not even opened:
//! opening a device can start it, and opening a FIFO wakes its writer.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::libc::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, mode_t};
use nix::sys::stat::{Mode, fstatat};

use crate::units;

/// Conditions for reading a file.
#[derive(Debug, Clone, Copy)]
pub struct ReadPolicy {
    limit: u64,
    follow: bool,
    owners: Option<&'static [u32]>,
    directory_owner: bool,
}

/// An open regular file that meets the conditions.
#[derive(Debug)]
pub struct OpenedFile {
    file: File,
    meta: Metadata,
    limit: u64,
    path: PathBuf,
}

/// A file that was not read, with the reason.
#[derive(Debug)]
pub struct ReadError {
    path: PathBuf,
    /// The reason.
    pub reason: ReadErrorKind,
}

/// Reason why a file was not read.
#[derive(Debug)]
pub enum ReadErrorKind {
    /// No entry of this name.
    Missing,
    /// A symbolic link whose target does not exist.
    Dangling,
    /// Not a regular file, but this, such as "a directory".
    Kind(&'static str),
    /// Larger than this limit in bytes.
    TooLarge(u64),
    /// Owned by this user.
    Owner(u32),
    /// Writable by its group or by others.
    Writable,
    /// The system returned an error.
    Unreadable(io::Error),
}

impl ReadPolicy {
    /// Accepts a file of at most `limit` bytes, also at the end of a symbolic link.
    #[must_use]
    pub const fn max_size(limit: u64) -> Self {
        Self { limit, follow: true, owners: None, directory_owner: false }
    }

    /// Refuses a symbolic link: for names in a directory where another account can write.
    #[must_use]
    pub const fn no_follow(mut self) -> Self {
        self.follow = false;
        self
    }

    /// Refuses a file of other users, or one that is writable by its group or others.
    #[must_use]
    pub const fn owned_by(mut self, owners: &'static [u32]) -> Self {
        self.owners = Some(owners);
        self
    }

    /// Refuses a file whose owner differs from the owner of its directory: it is a hard link to a file that the reader
    /// can read and that owner cannot.
    #[must_use]
    pub const fn owned_like_directory(mut self) -> Self {
        self.directory_owner = true;
        self
    }

    /// Reads the file.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        self.open(path)?.read()
    }

    /// Reads the file, or returns `None` if it does not exist.
    pub fn read_if_exists(&self, path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
        found(self.read(path))
    }

    /// Reads the file `name` in an open directory, or returns `None` if it does not exist.
    pub fn read_if_exists_at(
        &self,
        directory: impl AsFd,
        name: impl AsRef<Path>,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        found(self.open_at(directory, name.as_ref()).and_then(OpenedFile::read))
    }

    /// Opens the file, for callers that need its metadata.
    pub fn open(&self, path: &Path) -> Result<OpenedFile, ReadError> {
        self.open_at(AT_FDCWD, path)
    }

    fn open_at(&self, directory: impl AsFd, path: &Path) -> Result<OpenedFile, ReadError> {
        self.examine(directory.as_fd(), path).map_err(|reason| ReadError { path: path.to_owned(), reason })
    }

    fn examine(&self, directory: impl AsFd, path: &Path) -> Result<OpenedFile, ReadErrorKind> {
        let link = if self.follow { AtFlags::empty() } else { AtFlags::AT_SYMLINK_NOFOLLOW };
        let kind = match fstatat(&directory, path, link) {
            Ok(stat) => stat.st_mode,
            Err(Errno::ENOENT) if fstatat(&directory, path, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok() => {
                return Err(ReadErrorKind::Dangling);
            }
            Err(error) => return Err(error.into()),
        };
        regular(kind)?;
        // The entry may have been replaced, so the open file is checked again, and opening never blocks.
        let mut flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        flags.set(OFlag::O_NOFOLLOW, !self.follow);
        let file = File::from(openat(&directory, path, flags, Mode::empty())?);
        let meta = file.metadata().map_err(ReadErrorKind::Unreadable)?;
        regular(meta.mode())?;
        if let Some(owners) = self.owners {
            if !owners.contains(&meta.uid()) {
                return Err(ReadErrorKind::Owner(meta.uid()));
            }
            if meta.mode() & 0o022 != 0 {
                return Err(ReadErrorKind::Writable);
            }
        }
        if self.directory_owner {
            let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
            if fstatat(&directory, parent, AtFlags::empty())?.st_uid != meta.uid() {
                return Err(ReadErrorKind::Owner(meta.uid()));
            }
        }
        Ok(OpenedFile { file, meta, limit: self.limit, path: path.to_owned() })
    }
}

impl OpenedFile {
    /// Owner, mode and size.
    #[must_use]
    pub fn meta(&self) -> &Metadata {
        &self.meta
    }

    /// Returns the file, for callers that read a part of it.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }

    /// Reads the whole file, at most the limit even if it grows meanwhile.
    pub fn read(self) -> Result<Vec<u8>, ReadError> {
        let Self { file, meta, limit, path } = self;
        let mut content = Vec::new();
        let reason = if meta.len() > limit {
            ReadErrorKind::TooLarge(limit)
        } else {
            match file.take(limit.saturating_add(1)).read_to_end(&mut content) {
                Err(error) => ReadErrorKind::Unreadable(error),
                Ok(_) if content.len() as u64 > limit => ReadErrorKind::TooLarge(limit),
                Ok(_) => return Ok(content),
            }
        };
        Err(ReadError { path, reason })
    }
}

/// Maps a missing file to `None`.
fn found<T>(result: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match result {
        Err(ReadError { reason: ReadErrorKind::Missing, .. }) => Ok(None),
        result => result.map(Some),
    }
}

fn regular(mode: mode_t) -> Result<(), ReadErrorKind> {
    Err(ReadErrorKind::Kind(match mode & S_IFMT {
        S_IFREG => return Ok(()),
        S_IFDIR => "a directory",
        S_IFLNK => "a symbolic link",
        S_IFIFO => "a FIFO",
        S_IFSOCK => "a socket",
        S_IFCHR | S_IFBLK => "a device",
        _ => "something else",
    }))
}

impl From<Errno> for ReadErrorKind {
    fn from(error: Errno) -> Self {
        if error == Errno::ENOENT { Self::Missing } else { Self::Unreadable(error.into()) }
    }
}

impl fmt::Display for ReadErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(formatter, "{}", io::Error::from(Errno::ENOENT)),
            Self::Dangling => write!(formatter, "it is a symbolic link to a file that does not exist"),
            Self::Kind(kind) => write!(formatter, "it is {kind}, not a regular file"),
            Self::TooLarge(limit) => write!(formatter, "it is larger than {}", units::format_bytes(*limit)),
            Self::Owner(uid) => write!(formatter, "it belongs to uid {uid}"),
            Self::Writable => write!(formatter, "other accounts can write to it"),
            Self::Unreadable(error) => write!(formatter, "{error}"),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cannot read {}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for ReadError {}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    const PLAIN: ReadPolicy = ReadPolicy::max_size(4);

    #[test]
    fn only_a_small_regular_file_is_read_and_everything_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "text").unwrap();
        fs::write(at("longer"), "texts").unwrap();
        File::create(at("sparse")).unwrap().set_len(40 << 30).unwrap();
        fs::create_dir(at("directory")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink("file", at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink("/dev/zero", at("device")).unwrap();
        let table = [
            ("file", "text", "text"),
            ("link", "text", "it is a symbolic link, not a regular file"),
            ("longer", "it is larger than 4 bytes", ""),
            ("sparse", "it is larger than 4 bytes", ""),
            ("directory", "it is a directory, not a regular file", ""),
            ("fifo", "it is a FIFO, not a regular file", ""),
            ("socket", "it is a socket, not a regular file", ""),
            ("device", "it is a device, not a regular file", "it is a symbolic link, not a regular file"),
            (
                "dangling",
                "it is a symbolic link to a file that does not exist",
                "it is a symbolic link, not a regular file",
            ),
            (
                "loop",
                "Too many levels of symbolic links (os error 40)",
                "it is a symbolic link, not a regular file",
            ),
            ("missing", "No such file or directory (os error 2)", ""),
            ("file/x", "Not a directory (os error 20)", ""),
        ];
        for (name, followed, not_followed) in table {
            let expected = |text: &str| {
                let failed = format!("cannot read {}: {text}", at(name).display());
                if text == "text" { "text".to_owned() } else { failed }
            };
            let seen = |input: ReadPolicy| match input.read(&at(name)) {
                Ok(content) => String::from_utf8(content).unwrap(),
                Err(refused) => refused.to_string(),
            };
            assert_eq!(seen(PLAIN), expected(followed));
            let not_followed = if not_followed.is_empty() { followed } else { not_followed };
            assert_eq!(seen(PLAIN.no_follow()), expected(not_followed));
        }
    }

    #[test]
    fn a_file_without_a_size_is_not_read_past_the_limit_either() {
        // The kernel reports size 0 for these files; this one has more than four bytes.
        let refused = PLAIN.read(Path::new("/proc/self/mountinfo")).unwrap_err();
        assert!(matches!(refused.reason, ReadErrorKind::TooLarge(4)), "{refused}");
    }

    #[test]
    fn a_missing_file_is_nothing_also_in_an_open_directory() {
        let dir = tempfile::tempdir().unwrap();
        let directory = File::open(dir.path()).unwrap();
        assert_eq!(PLAIN.read_if_exists(&dir.path().join("x")).unwrap(), None);
        assert_eq!(PLAIN.read_if_exists_at(&directory, "x").unwrap(), None);
        fs::write(dir.path().join("x"), "x").unwrap();
        assert_eq!(PLAIN.read_if_exists_at(&directory, "x").unwrap(), Some(b"x".to_vec()));
        symlink("y", dir.path().join("z")).unwrap();
        assert!(
            PLAIN.read_if_exists(&dir.path().join("z")).is_err(),
            "a link that leads nowhere is a mistake"
        );
    }

    #[test]
    fn a_hard_link_to_a_file_of_another_user_is_refused_in_a_directory_of_one_user() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        fs::write(&secret, "x").unwrap();
        let own = dir.path().join("own");
        fs::create_dir(&own).unwrap();
        fs::hard_link(&secret, own.join("link")).unwrap();
        let input = PLAIN.no_follow().owned_like_directory();
        let refusal = |uid| {
            std::os::unix::fs::chown(&own, Some(uid), None).unwrap();
            let opened = File::open(&own).unwrap();
            let by_path =
                input.read_if_exists(&own.join("link")).err().map(|refused| refused.reason.to_string());
            let in_directory =
                input.read_if_exists_at(&opened, "link").err().map(|refused| refused.reason.to_string());
            assert_eq!(by_path, in_directory);
            by_path
        };
        assert_eq!(refusal(7).as_deref(), Some("it belongs to uid 0"));
        assert_eq!(refusal(0), None);
    }

    #[test]
    fn a_file_of_another_owner_or_one_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "x").unwrap();
        let refusal = |mode, uid| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            std::os::unix::fs::chown(&path, Some(uid), None).unwrap();
            PLAIN.owned_by(&[0, 7]).read(&path).err().map(|refused| refused.reason.to_string())
        };
        assert_eq!([refusal(0o644, 0), refusal(0o600, 7)], [None, None]);
        assert_eq!(refusal(0o600, 8).as_deref(), Some("it belongs to uid 8"));
        for mode in [0o620, 0o602] {
            assert_eq!(refusal(mode, 0).as_deref(), Some("other accounts can write to it"));
        }
    }
}

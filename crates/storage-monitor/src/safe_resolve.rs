//! Resolves symbolic links that root may safely follow.
//!
//! Paths of applications and of the storage may contain links, made by users or by systems that move whole trees to a volume.
//! A user's link could also make root create names in a directory where that user may not. So a link is followed only if
//! root owns it and its directory, or if its target belongs to the link's owner.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use kit::quote::quoted;
use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::fstat;

/// Limit of links in one path, as of the kernel (`path_resolution(7)`).
const MAX_LINKS: usize = 40;
/// Mode bit: others may write.
const OPEN: u32 = 0o002;
/// Mode bit: others may remove only their own entries.
const STICKY: u32 = 0o1000;

/// Returns the path of an existing file or directory without a link in it; `path` is absolute.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let resolved = follow(path)?;
    resolved.check(fs::symlink_metadata(&resolved.path)?.uid())?;
    Ok(resolved.path)
}

/// Resolves and opens a directory. Checks the opened directory, because its name may be replaced.
pub fn open(path: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    let resolved = follow(path)?;
    let opened = dirfd::open_absolute(&resolved.path)?;
    resolved.check(fstat(&opened)?.st_uid)?;
    Ok((resolved.path, opened))
}

/// True if an error means that nothing, or no directory, has the path.
pub fn is_absent(error: &io::Error) -> bool {
    error.raw_os_error().map(Errno::from_raw).is_some_and(dirfd::is_absent)
}

/// Path without links.
struct Resolved {
    path: PathBuf,
    /// Links that are followed only to a target of the same owner, with that owner.
    foreign: Vec<(PathBuf, u32)>,
}

impl Resolved {
    fn check(&self, owner: u32) -> io::Result<()> {
        match self.foreign.iter().find(|(_, maker)| *maker != owner || is_root(*maker)) {
            None => Ok(()),
            Some((link, _)) => {
                let message = format!(
                    "refusing to follow the symbolic link {}: its owner does not own the target",
                    quoted(link)
                );
                Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
            }
        }
    }
}

fn follow(path: &Path) -> io::Result<Resolved> {
    let mut result = PathBuf::from("/");
    let mut left: VecDeque<OsString> = path.iter().map(OsString::from).collect();
    let mut foreign = Vec::new();
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        match Path::new(&name).components().next() {
            Some(Component::Normal(_)) => {}
            Some(Component::ParentDir) => {
                result.pop();
                continue;
            }
            Some(Component::RootDir) => {
                result = PathBuf::from("/");
                continue;
            }
            _ => continue,
        }
        let path = result.join(&name);
        let meta = fs::symlink_metadata(&path)?;
        if !meta.is_symlink() {
            result = path;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        if !is_roots_own(&meta, &fs::symlink_metadata(&result)?) {
            foreign.push((path.clone(), meta.uid()));
        }
        let text = fs::read_link(&path)?;
        text.iter().rev().for_each(|name| left.push_front(name.to_owned()));
    }
    Ok(Resolved { path: result, foreign })
}

fn is_root(user: u32) -> bool {
    user == 0 || user == nix::unistd::geteuid().as_raw()
}

fn is_roots_own(link: &Metadata, directory: &Metadata) -> bool {
    let open = directory.mode() & OPEN != 0 && directory.mode() & STICKY == 0;
    is_root(link.uid()) && is_root(directory.uid()) && !open
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    use super::*;

    const USER: Option<u32> = Some(1_234);

    #[test]
    fn paths_resolve_as_in_the_kernel() {
        let top = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(top.path()).unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        symlink("b/../b", top.join("a/relative")).unwrap();
        symlink(top.join("a/relative"), top.join("absolute")).unwrap();
        symlink("loop", top.join("loop")).unwrap();
        symlink("nowhere", top.join("dangling")).unwrap();
        for path in ["a", "absolute", "a/relative/../../absolute", "."] {
            let path = top.join(path);
            assert_eq!(resolve(&path).unwrap(), fs::canonicalize(&path).unwrap());
        }
        for path in ["loop", "dangling", "absent"] {
            let path = top.join(path);
            let kernel = fs::canonicalize(&path).unwrap_err();
            assert_eq!(resolve(&path).unwrap_err().raw_os_error(), kernel.raw_os_error());
        }
    }

    #[test]
    fn a_link_is_followed_if_it_is_roots_or_leads_to_what_its_maker_owns() {
        let top = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(top.path()).unwrap();
        let make = |name: &str, owner: Option<u32>| {
            fs::create_dir(top.join(name)).unwrap();
            chown(top.join(name), owner, None).unwrap();
        };
        make("roots", None);
        make("users", USER);
        make("open", None);
        fs::set_permissions(top.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
        let leads = |link: &str, to: &str, maker: Option<u32>| {
            let link = top.join(link);
            symlink(top.join(to), &link).unwrap();
            lchown(&link, maker, None).unwrap();
            assert_eq!(open(&link).is_ok(), resolve(&link).is_ok(), "{link:?}");
            match resolve(&link) {
                Ok(path) => path == top.join(to),
                Err(error) => {
                    let expected = format!("refusing to follow the symbolic link {}", quoted(&link));
                    assert!(error.to_string().starts_with(&expected), "{error}");
                    false
                }
            }
        };
        assert!(leads("a", "roots", None) && leads("b", "users", None), "root's link");
        assert!(leads("c", "users", USER) && leads("users/c", "users", USER), "a user's link to their own");
        assert!(!leads("d", "roots", USER) && !leads("users/d", "roots", USER), "a user's link to root's");
        assert!(!leads("users/e", "roots", None), "root's link that a user may have brought there");
        assert!(!leads("open/f", "roots", None), "or anybody");
        symlink(top.join("a"), top.join("users/over")).unwrap();
        lchown(top.join("users/over"), USER, None).unwrap();
        assert!(resolve(&top.join("users/over")).is_err(), "by way of root's link");
    }
}

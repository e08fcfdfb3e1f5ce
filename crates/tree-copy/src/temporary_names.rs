//! Temporary names of entries that are being made, before they are renamed into place.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use kit::process::Process;
use kit::start_id;
use nix::errno::Errno;
use nix::sys::stat::fstat;

/// Age after which a temporary entry of another container is abandoned: making one takes moments.
const FORGOTTEN_AFTER_SECONDS: i64 = 24 * 60 * 60;

/// The same for an earlier start of this container. Not at once, because a container made from a saved image has the
/// same id, and a volume's clock may be off.
const OWN_FORGOTTEN_AFTER_SECONDS: i64 = 15 * 60;

static CONTAINER: OnceLock<String> = OnceLock::new();

/// Sets this container's id, hexadecimal digits that outlive restarts, for the temporary names of this process: then
/// [`sweep`](crate::sweep) after a restart need not wait for a day. Only the first call has an effect; other text is
/// ignored.
pub fn set_container_id(name: &str) {
    if !name.is_empty() && name.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        CONTAINER.get_or_init(|| name.to_owned());
    }
}

fn container() -> Option<&'static str> {
    CONTAINER.get().map(String::as_str)
}

/// Calls `make` with unused names until one is free, and returns that name.
///
/// A pass that prunes removes names left by killed processes, because the source lacks them.
pub(crate) fn with_free_name<T>(
    mut make: impl FnMut(&CStr) -> Result<T, Errno>,
) -> Result<(CString, T), Errno> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let container = container().map(|name| format!("-{name}")).unwrap_or_default();
        let (instance, process) = (start_id::id(), std::process::id());
        let name = format!(".tree-copy.{instance}-{process}-{number}{container}.tmp");
        // Digits have no zero byte.
        let name = CString::new(name).unwrap_or_default();
        match make(&name) {
            Err(Errno::EEXIST) => {}
            Ok(result) => return Ok((name, result)),
            Err(cause) => return Err(cause),
        }
    }
}

/// Returns the current time of the file system of `directory` (seconds, nanoseconds): the change time of a temporary
/// file.
pub fn file_system_time(directory: BorrowedFd<'_>) -> std::io::Result<(i64, i64)> {
    let (name, file) = with_free_name(|name| dirfd::create_new_file(directory, name, 0o600))?;
    let stat = fstat(&file);
    let _ = dirfd::unlink(directory, name.as_c_str());
    let stat = stat?;
    Ok((stat.st_ctime, stat.st_ctime_nsec))
}

/// Removes the entries that killed processes left in a directory; returns true if an entry of an earlier start of this
/// container is too young to be removed.
pub(crate) fn remove_leftovers(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    let now = i64::try_from(kit::unix_time::now()).unwrap_or(i64::MAX);
    let here = NameOwner { instance: start_id::id(), process: 0, container: container() };
    let mut left = vec![];
    let mut young = false;
    dirfd::for_each(directory, |entry| {
        let name = entry.file_name();
        let Some(maker) = maker(name) else { return Ok(()) };
        let Some(found) = dirfd::stat(directory, name)? else { return Ok(()) };
        if maker.has_left(&here, runs, now.saturating_sub(found.st_ctime)) {
            left.push(name.to_owned());
        } else {
            young |= maker.is_earlier_start_of(&here);
        }
        Ok::<_, Errno>(())
    })?;
    for name in left {
        dirfd::remove_all(directory, name.as_c_str())?;
    }
    Ok(young)
}

fn runs(process: u32) -> bool {
    Process::new(process).exists()
}

/// Process that made a temporary name.
#[derive(Debug, PartialEq, Eq)]
struct NameOwner<'a> {
    /// See [`start_id::id`].
    instance: &'a str,
    process: u32,
    /// See [`set_container_id`].
    container: Option<&'a str>,
}

impl NameOwner<'_> {
    /// True if the maker has exited. A PID is meaningful only in its own container, so entries of another container, or
    /// of an earlier start of this one, are judged by their age.
    fn has_left(&self, here: &Self, runs: impl Fn(u32) -> bool, age: i64) -> bool {
        if self.instance == here.instance {
            !runs(self.process)
        } else if self.is_earlier_start_of(here) {
            age >= OWN_FORGOTTEN_AFTER_SECONDS
        } else {
            age >= FORGOTTEN_AFTER_SECONDS
        }
    }

    /// True for an earlier start of this container, or a container made from an image with the same id.
    fn is_earlier_start_of(&self, here: &Self) -> bool {
        self.instance != here.instance && self.container.is_some() && self.container == here.container
    }
}

fn maker(name: &CStr) -> Option<NameOwner<'_>> {
    let name = name.to_str().ok()?;
    let mut parts = name.strip_prefix(".tree-copy.")?.strip_suffix(".tmp")?.split('-');
    let (instance, process, number) = (parts.next()?, parts.next()?, parts.next()?);
    number.parse::<u32>().ok()?;
    let maker = NameOwner { instance, process: process.parse().ok()?, container: parts.next() };
    parts.next().is_none().then_some(maker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_who_made_them_and_others_do_not() {
        let (name, ()) = with_free_name(|_| Ok(())).unwrap();
        let own = NameOwner { instance: start_id::id(), process: std::process::id(), container: container() };
        assert_eq!(maker(&name), Some(own));
        for other in
            [c".tree-copy.tmp", c".tree-copy.a-1.tmp", c".tree-copy.a-1-x.tmp", c".tree-copy.a-1-2-3-4.tmp"]
        {
            assert_eq!(maker(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_another_container_makes_is_left_to_it_for_a_day_and_what_an_earlier_start_made_for_minutes() {
        let made = |instance, container| NameOwner { instance, process: 7, container };
        let here = made("here", Some("c0"));
        let (runs, ended) = (|_| true, |_| false);
        let (minutes, day) = (OWN_FORGOTTEN_AFTER_SECONDS, FORGOTTEN_AFTER_SECONDS);
        for own in [made("here", Some("c0")), made("here", None)] {
            assert!(own.has_left(&here, ended, 0));
            assert!(!own.has_left(&here, runs, 2 * day));
        }
        for foreign in [made("elsewhere", Some("c1")), made("elsewhere", None)] {
            assert!(!foreign.has_left(&here, ended, day - 1), "its process numbers are not ours");
            assert!(foreign.has_left(&here, runs, day), "nor is a process of ours with that number");
            assert!(!foreign.has_left(&here, ended, -5), "a clock may be set back");
        }
        let earlier = made("elsewhere", Some("c0"));
        assert!(!earlier.has_left(&here, ended, minutes - 1), "it may be one that was saved with our name");
        assert!(earlier.has_left(&here, runs, minutes));
        assert!(!made("elsewhere", None).has_left(&made("here", None), ended, minutes), "no name is no sign");
    }

    #[test]
    fn the_name_of_the_container_is_read_from_what_it_made() {
        let with = maker(c".tree-copy.a-1-2-c0.tmp").unwrap();
        assert_eq!(with, NameOwner { instance: "a", process: 1, container: Some("c0") });
        assert_eq!(maker(c".tree-copy.a-1-2.tmp").unwrap().container, None);
    }

    #[test]
    fn the_clock_is_the_file_systems_and_leaves_nothing_behind() {
        use std::os::fd::AsFd;
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("before"), "").unwrap();
        let before = dir.path().join("before").metadata().unwrap();
        let now = file_system_time(std::fs::File::open(dir.path()).unwrap().as_fd()).unwrap();
        assert!((before.ctime(), before.ctime_nsec()) <= now);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_in_use_is_passed_over() {
        let mut tried = vec![];
        let (name, ()) = with_free_name(|name| {
            tried.push(name.to_owned());
            if tried.len() < 3 { Err(Errno::EEXIST) } else { Ok(()) }
        })
        .unwrap();
        assert_eq!(tried.len(), 3);
        assert_eq!(tried.last(), Some(&name));
    }
}

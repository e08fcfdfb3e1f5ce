//! Names for what is being made and shall take the place of something else.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use kit::instance;
use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;

use crate::meta::Meta;
use crate::remove;

/// What another container's process has not touched for so long belongs to nobody: what is made takes moments.
const FORGOTTEN_AFTER_SECONDS: i64 = 24 * 60 * 60;

/// Calls `make` with names that nobody uses until one is free, and returns that name.
///
/// A name left behind by a killed process is an entry that the source lacks: a pass that prunes removes it.
pub(crate) fn at_a_free_name<T>(
    mut make: impl FnMut(&CString) -> Result<T, Errno>,
) -> Result<(CString, T), Errno> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".tree-copy.{}-{}-{number}.tmp", instance::of_container(), std::process::id());
        // Digits have no zero byte.
        let name = CString::new(name).unwrap_or_default();
        match make(&name) {
            Err(Errno::EXIST) => {}
            Ok(result) => return Ok((name, result)),
            Err(cause) => return Err(cause),
        }
    }
}

/// Removes what processes left in a directory that were killed.
pub(crate) fn sweep(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    // A volume's own clock may be off by minutes, which is nothing to a day.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut left = vec![];
    remove::each_name(directory, |name| {
        let Some(maker) = maker(name) else { return Ok(()) };
        let changed = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Meta::from(found).changed,
            Err(Errno::NOENT) => return Ok(()),
            Err(cause) => return Err(cause),
        };
        if is_left(&maker, instance::of_container(), runs, now.saturating_sub(changed.0)) {
            left.push(name.to_owned());
        }
        Ok(())
    })?;
    for name in left {
        remove::remove(directory, &name)?;
    }
    Ok(())
}

/// Whether nobody works any more on what `maker` made. Process numbers mean something in their own container alone:
/// what comes from another, or from an earlier start of this one, is judged by its age.
fn is_left(maker: &Maker<'_>, here: &str, runs: impl Fn(u32) -> bool, age: i64) -> bool {
    if maker.instance == here { !runs(maker.process) } else { age >= FORGOTTEN_AFTER_SECONDS }
}

fn runs(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

/// Who made a name of [`at_a_free_name`]'s form.
#[derive(Debug, PartialEq, Eq)]
struct Maker<'a> {
    /// See [`instance::of_container`].
    instance: &'a str,
    process: u32,
}

fn maker(name: &CStr) -> Option<Maker<'_>> {
    let name = name.to_str().ok()?;
    let mut parts = name.strip_prefix(".tree-copy.")?.strip_suffix(".tmp")?.split('-');
    let (instance, process, number) = (parts.next()?, parts.next()?, parts.next()?);
    number.parse::<u32>().ok()?;
    let maker = Maker { instance, process: process.parse().ok()? };
    parts.next().is_none().then_some(maker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_who_made_them_and_others_do_not() {
        let (name, ()) = at_a_free_name(|_| Ok(())).unwrap();
        let own = Maker { instance: instance::of_container(), process: std::process::id() };
        assert_eq!(maker(&name), Some(own));
        for other in
            [c".tree-copy.tmp", c".tree-copy.a-1.tmp", c".tree-copy.a-1-x.tmp", c".tree-copy.a-1-2-3.tmp"]
        {
            assert_eq!(maker(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_another_container_makes_is_left_to_it_for_a_day() {
        let own = Maker { instance: "here", process: 7 };
        let foreign = Maker { instance: "elsewhere", process: 7 };
        let (runs, ended) = (|_| true, |_| false);
        let day = FORGOTTEN_AFTER_SECONDS;
        assert!(is_left(&own, "here", ended, 0));
        assert!(!is_left(&own, "here", runs, 2 * day));
        assert!(!is_left(&foreign, "here", ended, day - 1), "its process numbers are not ours");
        assert!(is_left(&foreign, "here", runs, day), "nor is a process of ours with that number");
        assert!(!is_left(&foreign, "here", ended, -5), "a clock may be set back");
    }

    #[test]
    fn a_name_in_use_is_passed_over() {
        let mut tried = vec![];
        let (name, ()) = at_a_free_name(|name| {
            tried.push(name.clone());
            if tried.len() < 3 { Err(Errno::EXIST) } else { Ok(()) }
        })
        .unwrap();
        assert_eq!(tried.len(), 3);
        assert_eq!(tried.last(), Some(&name));
    }
}

//! The pass.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Result, Trouble};
use crate::observer::{Counters, Observer};
use crate::options::{Options, Pass};

/// Brings `target` into the state of `source`. Both are existing directories; `target` may be empty.
pub fn pass(source: &Path, target: &Path, options: &Options, observer: &dyn Observer) -> Result<Pass> {
    let mut done = Pass::default();
    let counters = Counters::default();
    copy(source, target, options.keep, options, observer, &counters, &mut done).map_err(|cause| {
        if observer.stop() {
            return Error::Stopped;
        }
        Error::Target(Trouble { action: "copy to", path: target.to_owned(), cause })
    })?;
    Ok(done)
}

fn copy(
    source: &Path,
    target: &Path,
    keep: &[&OsStr],
    options: &Options,
    observer: &dyn Observer,
    counters: &Counters,
    done: &mut Pass,
) -> io::Result<()> {
    for entry in fs::read_dir(source)? {
        if observer.stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let entry = entry?;
        let name = entry.file_name();
        if keep.contains(&name.as_os_str()) {
            continue;
        }
        let meta = entry.metadata()?;
        let to = target.join(&name);
        let there = fs::symlink_metadata(&to).ok();
        done.entries += 1;
        if meta.is_dir() {
            if there.is_none() {
                if options.write {
                    fs::create_dir(&to)?;
                    done.updated += 1;
                } else {
                    done.differing += 1;
                }
            }
            if options.write || there.is_some() {
                copy(&entry.path(), &to, &[], options, observer, counters, done)?;
            }
        } else {
            done.files += u64::from(meta.is_file());
            done.bytes += if meta.is_file() { meta.len() } else { 0 };
            let same = there.as_ref().is_some_and(|t| t.len() == meta.len() && t.mtime() == meta.mtime());
            if same {
            } else if !options.write {
                done.differing += 1;
            } else {
                if there.is_some() {
                    fs::remove_file(&to)?;
                }
                if meta.is_symlink() {
                    std::os::unix::fs::symlink(fs::read_link(entry.path())?, &to)?;
                } else {
                    fs::copy(entry.path(), &to)?;
                    fs::File::options().write(true).open(&to)?.set_modified(meta.modified()?)?;
                    done.copied_files += 1;
                    done.copied_bytes += meta.len();
                }
                done.updated += 1;
            }
        }
        counters.add(1, meta.len(), meta.len());
        observer.counted(counters);
    }
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        let name = entry.file_name();
        if options.prune
            && !keep.contains(&name.as_os_str())
            && fs::symlink_metadata(source.join(&name)).is_err()
        {
            if !options.write {
                done.differing += 1;
                continue;
            }
            done.removed += 1;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

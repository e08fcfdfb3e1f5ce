//! Walks one tree and counts.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use dirfd::{FileType, Identity, open_root};
use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::unistd::{getegid, geteuid};

use crate::attributes;
use crate::error::{Error, Result, SideError};
use crate::metadata::Metadata;
use crate::observer::Observer;
use crate::open_directories::{DirectoryState, OpenPair, TargetSide, WalkDirectory};
use crate::survey::Survey;
use crate::tree_walk::{EntryPlace, Roots, Visitor, Walk, WorkerScratch, walk};

/// Counts everything below `root` except the names in `keep` directly in it; errors name the path.
pub fn survey(root: &Path, threads: usize, keep: &[&OsStr], observer: &dyn Observer) -> Result<Survey> {
    let failed = |cause| Error::source("read", root, cause);
    let opened = open_root(root).map_err(failed)?;
    let meta = fstat(&opened).map(Metadata::from).map_err(failed)?;
    let surveyor = Surveyor {
        found: Mutex::new(Survey::NOTHING),
        links: Mutex::default(),
        owner: (geteuid().as_raw(), getegid().as_raw()),
    };
    let roots = Roots { source: root, target: None, keep };
    let (root, state) = (OpenPair { source: opened, target: None }, DirectoryState::root(meta, false, None));
    let (sum, _) = walk(&roots, root, state, threads, &surveyor, observer)?;
    let found = surveyor.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Survey { digest: sum.bytes(), ..found })
}

struct Surveyor {
    found: Mutex<Survey>,
    /// Number of names of each hard-linked file that are not visited yet.
    links: Mutex<HashMap<Identity, u64>>,
    owner: (u32, u32),
}

impl Surveyor {
    fn add(&self, meta: &Metadata, name: &CStr, attributes: &[CString]) {
        let first = self.is_first(meta);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.entries += 1;
        found.bytes_allocated_unlinked += meta.allocated;
        if first {
            found.inodes += 1;
            found.bytes_allocated += meta.allocated;
        }
        if meta.is_file() {
            found.files += 1;
            found.bytes += if first { meta.size } else { 0 };
        }
        let needs = &mut found.needs;
        let length = name.count_bytes();
        needs.longest_name = needs.longest_name.max(length);
        let is_list = |name: &CString| attributes::is_access_list(name.to_bytes());
        let ordinary = matches!(meta.kind, FileType::RegularFile | FileType::Directory | FileType::Symlink);
        for (applies, number) in [
            (meta.is_link(), &mut needs.symbolic_links),
            (!first, &mut needs.hard_links),
            (meta.is_file() && meta.mode & 0o111 != 0, &mut needs.executables),
            (!ordinary, &mut needs.special_files),
            (meta.owner != self.owner, &mut needs.foreign_owners),
            (name.to_str().is_err(), &mut needs.odd_names),
            (attributes.iter().any(is_list), &mut needs.access_lists),
            (!attributes.iter().all(is_list), &mut needs.attributes),
        ] {
            *number += u64::from(applies);
        }
    }

    fn is_first(&self, meta: &Metadata) -> bool {
        if meta.links <= 1 || meta.is_directory() {
            return true;
        }
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = meta.identity();
        let Some(left) = links.get_mut(&identity) else {
            links.insert(identity, meta.links - 1);
            return true;
        };
        *left = left.saturating_sub(1);
        if *left == 0 {
            links.remove(&identity);
        }
        false
    }
}

/// Returns the names of the kept attributes; none if the file vanished.
fn attribute_names(at: &EntryPlace<'_, '_>) -> Result<Vec<CString>> {
    match attributes::names(&at.source_node()) {
        Err(Errno::ENOENT | Errno::EACCES | Errno::EPERM) => Ok(vec![]),
        answer => answer.map_err(|cause| at.error("read the attributes of", SideError::Source(cause))),
    }
}

impl Visitor for Surveyor {
    fn entry(
        &self,
        at: &EntryPlace<'_, '_>,
        source: Metadata,
        link_text: OsString,
        scratch: &mut WorkerScratch,
    ) -> Result<bool> {
        self.add(&source, at.name, &attribute_names(at)?);
        scratch.sum.add_entry(&at.directory.path_hash, at.name, &source, link_text.as_bytes());
        at.walk.counters.add(1, if source.is_file() { source.size } else { 0 }, 0);
        Ok(true)
    }

    fn enter(&self, at: &EntryPlace<'_, '_>, source: &Metadata) -> Result<TargetSide> {
        self.add(source, at.name, &attribute_names(at)?);
        Ok(TargetSide::default())
    }

    /// Looks for names that differ only by case.
    fn leave(&self, walk: &Walk, directory: &Arc<WalkDirectory>) -> Result<()> {
        let Some(pair) = walk.open_pair(directory)? else { return Ok(()) };
        let mut seen = HashSet::new();
        let mut double = vec![];
        let listed = dirfd::for_each(&pair.source, |entry| {
            let name = entry.file_name().to_string_lossy();
            if !seen.insert(name.to_lowercase()) {
                double.push(name.into_owned());
            }
            Ok::<_, Errno>(())
        });
        match listed {
            Err(cause) if walk.note_if_gone(directory, cause) => return Ok(()),
            listed => listed.map_err(|cause| walk.source_error("list", directory, None, cause))?,
        }
        if let Some(name) = double.first() {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            found.needs.case_collisions += double.len() as u64;
            found
                .needs
                .case_collision
                .get_or_insert_with(|| directory.path().join(name).display().to_string());
        }
        Ok(())
    }
}

//! Checks that a tree fits.

use std::fmt;
use std::path::Path;

use kit::units;
use nix::sys::stat::stat;
use nix::sys::statfs::statfs;
use nix::sys::statvfs::{Statvfs, statvfs};
use serde::Serialize;

use crate::capabilities::Capabilities;
use crate::error::{Error, Result};
use crate::free_space::FreeSpace;
use crate::survey::Survey;

/// Needs of a tree that does not fit, and the free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shortage {
    /// Needed, in whole blocks and without the reserve.
    pub needed: FreeSpace,
    /// Bytes of the tree's files, as listings show them.
    pub content: u64,
    /// Bytes that stay free besides.
    pub reserved: u64,
    /// Free.
    pub free: FreeSpace,
}

impl fmt::Display for Shortage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, content, reserved, free } = self;
        write!(
            formatter,
            "{} on the disk ({} of content)",
            units::format_bytes(needed.bytes),
            units::format_bytes(*content)
        )?;
        if let Some(inodes) = needed.inodes {
            write!(formatter, " and {} inodes", units::format_count(inodes))?;
        }
        formatter.write_str(" are needed")?;
        if *reserved > 0 {
            write!(formatter, " besides a reserve of {}", units::format_bytes(*reserved))?;
        }
        write!(formatter, "; {free}")
    }
}

impl std::error::Error for Shortage {}

/// Returns the free space of the file system of `directory`; errors name the path.
pub fn free_space(directory: &Path) -> Result<FreeSpace> {
    statvfs(directory)
        .map(|found| from_statvfs(&found))
        .map_err(|cause| Error::target("read", directory, cause, || None))
}

/// True if copies in `target` will share their blocks with the files of `source`; errors name the path.
///
/// False in an overlay, where one device number stands for two file systems.
pub fn shares_blocks(source: &Path, target: &Path, capabilities: &Capabilities) -> Result<bool> {
    /// `OVERLAYFS_SUPER_MAGIC` of statfs(2).
    const OVERLAY: i64 = 0x794c_7630;
    let device = stat(source).map_err(|cause| Error::source("read", source, cause))?.st_dev;
    let failed = |cause| Error::target("read", target, cause, || None);
    let kind = statfs(target).map_err(failed)?.filesystem_type().0;
    Ok(capabilities.reflink && device == stat(target).map_err(failed)?.st_dev && kind != OVERLAY)
}

/// Blocks are counted in fragments, and a total of no inodes means that there is no such limit (statvfs(3)).
fn from_statvfs(found: &Statvfs) -> FreeSpace {
    FreeSpace {
        bytes: found.blocks_available().saturating_mul(found.fragment_size()),
        inodes: (found.files() > 0).then_some(found.files_available()),
    }
}

/// Checks that a copy of the surveyed tree fits into `free_space` and leaves `reserve` bytes.
///
/// If hard links become copies (`hard_links` false), every name counts in full.
pub fn fits(
    survey: &Survey,
    free_space: &FreeSpace,
    hard_links: bool,
    reserve: u64,
) -> std::result::Result<(), Shortage> {
    let (bytes, inodes) = if hard_links {
        (survey.bytes_allocated, survey.inodes)
    } else {
        (survey.bytes_allocated_unlinked, survey.entries)
    };
    if bytes.saturating_add(reserve) <= free_space.bytes
        && free_space.inodes.is_none_or(|free| inodes <= free)
    {
        return Ok(());
    }
    Err(Shortage {
        needed: FreeSpace { bytes, inodes: free_space.inodes.map(|_| inodes) },
        content: survey.bytes,
        reserved: reserve,
        free: *free_space,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: Survey = Survey {
        entries: 20,
        inodes: 15,
        bytes: 900,
        bytes_allocated: 1000,
        bytes_allocated_unlinked: 1500,
        ..Survey::NOTHING
    };

    #[test]
    fn a_tree_fits_only_with_its_reserve_and_its_inodes() {
        let free = |bytes, inodes| FreeSpace { bytes, inodes };
        assert_eq!(fits(&TREE, &free(1100, Some(15)), true, 100), Ok(()));
        assert_eq!(fits(&TREE, &free(1100, None), true, 100), Ok(()));
        let short = fits(&TREE, &free(1099, Some(15)), true, 100).unwrap_err();
        assert_eq!(
            short.to_string(),
            "1.0 kB on the disk (900 bytes of content) and 15 inodes are needed besides a reserve of 100 bytes; \
             1.1 kB and 15 inodes are free"
        );
        let short = fits(&TREE, &free(1100, Some(14)), true, 100).unwrap_err();
        assert_eq!(short.needed, free(1000, Some(15)));
    }

    #[test]
    fn with_shared_blocks_a_copy_needs_space_for_its_inodes_alone() {
        let large = Survey { bytes_allocated: 1 << 40, bytes_allocated_unlinked: 1 << 41, ..TREE };
        let shared = large.with_shared_blocks();
        let needed = |hard_links| {
            fits(&shared, &FreeSpace { bytes: 0, inodes: None }, hard_links, 0)
                .map_err(|short| short.needed.bytes)
        };
        assert_eq!((needed(true), needed(false)), (Err(15 * 4096), Err(20 * 4096)));
    }

    #[test]
    fn without_hard_links_every_name_needs_its_own_space() {
        let free = FreeSpace { bytes: 1499, inodes: Some(20) };
        assert_eq!(fits(&TREE, &free, true, 0), Ok(()));
        assert_eq!(
            fits(&TREE, &free, false, 0),
            Err(Shortage {
                needed: FreeSpace { bytes: 1500, inodes: Some(20) },
                content: 900,
                reserved: 0,
                free
            })
        );
    }
}

//! Libraries and programs that the tools are linked and tested with, and that a developer's machine may lack.

use anyhow::Result;

use crate::engine::packages;

/// Files and their packages; the image's build installs the same (`images/base/packages/tools.txt`).
const LINKED: &[(&str, &str)] = &[("/usr/include/sys/acl.h", "libacl1-dev")];
/// Programs that the tools' tests make file systems and look at trees with.
const TESTED: &[(&str, &str)] = &[
    ("setfacl", "acl"),
    ("setfattr", "attr"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.ntfs", "ntfs-3g"),
    ("mkfs.xfs", "xfsprogs"),
];

/// Installs the missing ones that compiling the workspace takes.
pub fn for_compiling() -> Result<()> {
    packages::install(LINKED)
}

/// Installs the missing ones that compiling and testing the workspace takes.
pub fn for_testing() -> Result<()> {
    packages::install(&[LINKED, TESTED].concat())
}

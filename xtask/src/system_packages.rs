//! What the tools are linked and tested with, and a developer's machine may lack.

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

/// Sees to it that the workspace can be compiled.
pub fn for_compiling() -> Result<()> {
    packages::install(LINKED)
}

/// Sees to it that the tools can be tested.
pub fn for_testing() -> Result<()> {
    packages::install(&[LINKED, TESTED].concat())
}

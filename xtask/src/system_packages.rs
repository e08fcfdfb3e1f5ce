//! Libraries and programs that the tools are linked and tested with, and that a developer's machine may lack.

use anyhow::Result;

use crate::engine::packages;

/// Files and their packages; the image's build installs the same (`images/base/packages/tools.txt`).
const LINKED: &[(&str, &str)] = &[("/usr/include/sys/acl.h", "libacl1-dev")];
/// Programs with which the tools' tests make file systems, inspect trees, render output and complete command lines.
const TESTED: &[(&str, &str)] = &[
    ("setfacl", "acl"),
    ("setfattr", "attr"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("fish", "fish"),
    ("mkfs.ntfs", "ntfs-3g"),
    ("mkfs.xfs", "xfsprogs"),
    ("tmux", "tmux"),
    ("zsh", "zsh"),
];

/// Installs the missing packages for compiling the workspace.
pub fn for_compiling() -> Result<()> {
    packages::install(LINKED)
}

/// Installs the missing packages for compiling and testing the workspace.
pub fn for_testing() -> Result<()> {
    packages::install(&[LINKED, TESTED].concat())
}

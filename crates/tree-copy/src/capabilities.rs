//! Capabilities of a file system.

use std::fmt;

use serde::Serialize;

/// Capabilities of the target's file system for this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "a table of independent answers")]
pub struct Capabilities {
    /// Files can be given to another user and group.
    pub owner: bool,
    /// Permission bits stay as they were set.
    pub mode: bool,
    /// A file can be executable (by its bits, whether they can be set or not).
    pub executable: bool,
    /// Symbolic links.
    pub symbolic_links: bool,
    /// The time of a symbolic link can be set.
    pub link_times: bool,
    /// Hard links.
    pub hard_links: bool,
    /// Extended attributes `user.*`.
    pub attributes: bool,
    /// POSIX access control lists.
    pub access_lists: bool,
    /// FIFOs.
    pub special_files: bool,
    /// `a` and `A` are two names.
    pub case_sensitive: bool,
    /// Names may be any bytes.
    pub any_name: bool,
    /// Maximum length of a name, in bytes.
    pub longest_name: usize,
    /// Renaming replaces an existing file.
    pub rename_over: bool,
    /// Files and directories can be fsynced.
    pub sync: bool,
    /// Files can share blocks (`FICLONE`).
    pub reflink: bool,
    /// Granularity of times, in nanoseconds.
    pub time_granularity: u64,
}

impl Capabilities {
    /// All capabilities, as root has on ext4, xfs and btrfs, except `reflink`, which ext4 lacks.
    pub const FULL: Self = Self {
        owner: true,
        mode: true,
        executable: true,
        symbolic_links: true,
        link_times: true,
        hard_links: true,
        attributes: true,
        access_lists: true,
        special_files: true,
        case_sensitive: true,
        any_name: true,
        longest_name: 255,
        rename_over: true,
        sync: true,
        reflink: false,
        time_granularity: 1,
    };

    /// Returns the capabilities as rows of a table.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let yes = |answer: bool| if answer { "yes" } else { "no" }.to_owned();
        vec![
            ("owners", yes(self.owner)),
            ("permission bits", yes(self.mode)),
            ("executable files", yes(self.executable)),
            ("symbolic links", yes(self.symbolic_links)),
            ("times of symbolic links", yes(self.link_times)),
            ("hard links", yes(self.hard_links)),
            ("extended attributes", yes(self.attributes)),
            ("access control lists", yes(self.access_lists)),
            ("special files", yes(self.special_files)),
            ("upper and lower case", yes(self.case_sensitive)),
            ("names of any bytes", yes(self.any_name)),
            ("longest name", format!("{} bytes", self.longest_name)),
            ("replacing by renaming", yes(self.rename_over)),
            ("forcing to disk", yes(self.sync)),
            ("sharing of blocks", yes(self.reflink)),
            ("time steps", format!("{} ns", self.time_granularity)),
        ]
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, answer) in self.rows() {
            writeln!(formatter, "{what:<24}{answer}")?;
        }
        Ok(())
    }
}

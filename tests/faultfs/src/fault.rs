//! Faults that can be injected.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::pattern::Pattern;

/// One failure, active from the moment it is injected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "what a variant says is about its fields")]
pub enum Fault {
    /// Reading this byte of these files fails with EIO, and so does the rest of its page, which the kernel reads with it.
    ReadError { byte: u64, files: Pattern },
    /// Writing this byte of these files fails with EIO.
    WriteError { byte: u64, files: Pattern },
    /// fsync of these files and directories fails with EIO, and so does syncfs if they are the root.
    SyncError { files: Pattern },
    /// ENOSPC after this number of further bytes; then new entries fail too.
    NoSpace { after: u64 },
    /// EDQUOT after this number of further bytes; then new entries fail too.
    Quota { after: u64 },
    /// ENOSPC after this number of further entries.
    NoInodes { after: u64 },
    /// statfs reports these as free.
    Claim { bytes: u64, inodes: u64 },
    /// Every change fails with EROFS, also through a file that was opened for writing before.
    ReadOnly,
    /// Nothing has an owner: chown fails with EPERM unless it changes nothing; all is the mounter's.
    NoOwners,
    /// Nothing has a mode: chmod fails with EPERM unless it changes nothing; all that is new has 0777.
    NoModes,
    /// Symbolic links fail with EPERM.
    NoSymlinks,
    /// Hard links fail with EPERM.
    NoHardLinks,
    /// Extended attributes and access control lists fail with ENOTSUP.
    NoAttributes,
    /// Data written to these files from this byte on is lost, though the write succeeds.
    Truncate { byte: u64, files: Pattern },
    /// This byte of these files is written wrong, though the write succeeds.
    Corrupt { byte: u64, files: Pattern },
    /// The inodes of these files seem to have changed this much earlier than they did.
    Aged { seconds: u64, files: Pattern },
    /// Times are whole even seconds.
    CoarseTimes,
    /// `Name` and `name` are one entry.
    CaseInsensitive,
    /// A rename that exchanges, or must not replace, fails with EINVAL.
    NoExchange,
    /// Every request takes this much longer.
    Slow(Duration),
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadError { byte, files } => write!(formatter, "read-error {byte} {files}"),
            Self::WriteError { byte, files } => write!(formatter, "write-error {byte} {files}"),
            Self::SyncError { files } => write!(formatter, "sync-error {files}"),
            Self::NoSpace { after } => write!(formatter, "no-space {after}"),
            Self::Quota { after } => write!(formatter, "quota {after}"),
            Self::NoInodes { after } => write!(formatter, "no-inodes {after}"),
            Self::Claim { bytes, inodes } => write!(formatter, "claim {bytes} {inodes}"),
            Self::ReadOnly => formatter.write_str("read-only"),
            Self::NoOwners => formatter.write_str("no-owners"),
            Self::NoModes => formatter.write_str("no-modes"),
            Self::NoSymlinks => formatter.write_str("no-symlinks"),
            Self::NoHardLinks => formatter.write_str("no-hard-links"),
            Self::NoAttributes => formatter.write_str("no-attributes"),
            Self::Truncate { byte, files } => write!(formatter, "truncate {byte} {files}"),
            Self::Corrupt { byte, files } => write!(formatter, "corrupt {byte} {files}"),
            Self::Aged { seconds, files } => write!(formatter, "aged {seconds} {files}"),
            Self::CoarseTimes => formatter.write_str("coarse-times"),
            Self::CaseInsensitive => formatter.write_str("case-insensitive"),
            Self::NoExchange => formatter.write_str("no-exchange"),
            Self::Slow(pause) => write!(formatter, "slow {}", pause.as_millis()),
        }
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    /// Reads what `Display` writes; a pattern is the rest of the line.
    fn from_str(line: &str) -> Result<Self> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = |text: &str| -> Result<u64> {
            text.parse().with_context(|| format!("{name} needs a number, not {text:?}"))
        };
        let pair = || rest.split_once(' ').with_context(|| format!("{name} needs two words after it"));
        let byte = || -> Result<(u64, Pattern)> {
            let (byte, files) = pair()?;
            Ok((number(byte)?, Pattern::new(files)))
        };
        let of = |make: fn(u64, Pattern) -> Self| byte().map(|(byte, files)| make(byte, files));
        let fault = match name {
            "read-error" => of(|byte, files| Self::ReadError { byte, files })?,
            "write-error" => of(|byte, files| Self::WriteError { byte, files })?,
            "truncate" => of(|byte, files| Self::Truncate { byte, files })?,
            "corrupt" => of(|byte, files| Self::Corrupt { byte, files })?,
            "aged" => of(|seconds, files| Self::Aged { seconds, files })?,
            "no-space" => Self::NoSpace { after: number(rest)? },
            "quota" => Self::Quota { after: number(rest)? },
            "no-inodes" => Self::NoInodes { after: number(rest)? },
            "claim" => {
                let (bytes, inodes) = pair()?;
                Self::Claim { bytes: number(bytes)?, inodes: number(inodes)? }
            }
            "slow" => Self::Slow(Duration::from_millis(number(rest)?)),
            "sync-error" => Self::SyncError { files: Pattern::new(rest) },
            _ if !rest.is_empty() => bail!("{line:?} is not a fault"),
            "read-only" => Self::ReadOnly,
            "no-owners" => Self::NoOwners,
            "no-modes" => Self::NoModes,
            "no-symlinks" => Self::NoSymlinks,
            "no-hard-links" => Self::NoHardLinks,
            "no-attributes" => Self::NoAttributes,
            "coarse-times" => Self::CoarseTimes,
            "case-insensitive" => Self::CaseInsensitive,
            "no-exchange" => Self::NoExchange,
            _ => bail!("{line:?} is not a fault"),
        };
        Ok(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_as_it_is_written() {
        let files = || Pattern::new("a file *.so");
        let faults = [
            Fault::ReadError { byte: 5, files: files() },
            Fault::WriteError { byte: 0, files: files() },
            Fault::SyncError { files: files() },
            Fault::NoSpace { after: 7 },
            Fault::Quota { after: 8 },
            Fault::NoInodes { after: 9 },
            Fault::Claim { bytes: 10, inodes: 11 },
            Fault::ReadOnly,
            Fault::NoOwners,
            Fault::NoModes,
            Fault::NoSymlinks,
            Fault::NoHardLinks,
            Fault::NoAttributes,
            Fault::Truncate { byte: 12, files: files() },
            Fault::Corrupt { byte: 13, files: files() },
            Fault::Aged { seconds: 15, files: files() },
            Fault::CoarseTimes,
            Fault::CaseInsensitive,
            Fault::NoExchange,
            Fault::Slow(Duration::from_millis(14)),
        ];
        for fault in faults {
            assert_eq!(fault.to_string().parse::<Fault>().unwrap(), fault);
        }
    }

    #[test]
    fn a_line_that_is_no_fault_is_named() {
        let error = |line: &str| line.parse::<Fault>().unwrap_err().to_string();
        assert_eq!(error("explode"), "\"explode\" is not a fault");
        assert_eq!(error("read-only now"), "\"read-only now\" is not a fault");
        assert_eq!(error("no-space much"), "no-space needs a number, not \"much\"");
        assert_eq!(error("read-error 5"), "read-error needs two words after it");
    }
}

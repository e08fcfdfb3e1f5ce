//! Attributes of stat(2) in FUSE's form.

use std::time::{Duration, SystemTime};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use rustix::fs::{Stat, Timespec, UTIME_NOW, UTIME_OMIT};

/// The resolution of a FAT file system's times, in seconds.
const COARSE: i64 = 2;

/// The attributes of an entry that the kernel knows by `number`.
pub fn of(stat: &Stat, number: INodeNo, coarse: bool) -> FileAttr {
    let time = |seconds: i64, nanoseconds| {
        if coarse { time(seconds - seconds.rem_euclid(COARSE), 0) } else { time(seconds, nanoseconds) }
    };
    FileAttr {
        ino: number,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: SystemTime::UNIX_EPOCH,
        kind: kind(rustix::fs::FileType::from_raw_mode(stat.st_mode)),
        perm: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0),
        nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: u32::try_from(stat.st_rdev).unwrap_or(0),
        blksize: u32::try_from(stat.st_blksize).unwrap_or(4_096),
        flags: 0,
    }
}

/// The kind of an entry; if it is unknown, the kernel asks for it when needed.
pub fn kind(kind: rustix::fs::FileType) -> FileType {
    use rustix::fs::FileType as Kind;
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharacterDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::RegularFile | Kind::Unknown => FileType::RegularFile,
    }
}

/// A time to set; `None` keeps the present one.
pub fn wanted(time: Option<TimeOrNow>) -> Timespec {
    let special = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    match time {
        None => special(UTIME_OMIT),
        Some(TimeOrNow::Now) => special(UTIME_NOW),
        Some(TimeOrNow::SpecificTime(time)) => timespec(time),
    }
}

fn time(seconds: i64, nanoseconds: impl TryInto<u64>) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let start = SystemTime::UNIX_EPOCH;
    let start = if seconds < 0 { start.checked_sub(whole) } else { start.checked_add(whole) };
    start.unwrap_or(SystemTime::UNIX_EPOCH) + Duration::from_nanos(nanoseconds.try_into().unwrap_or(0))
}

/// Undoes what fuser did: nanoseconds count forwards, but it counted those of a second before 1970 backwards.
fn timespec(time: SystemTime) -> Timespec {
    let signed = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => Timespec { tv_sec: signed(after), tv_nsec: after.subsec_nanos().into() },
        Err(before) => {
            let before = before.duration();
            Timespec { tv_sec: -signed(before), tv_nsec: before.subsec_nanos().into() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_and_after_2038_survive() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_nanos(86_399_999_999_999);
        assert_eq!(time(-86_400, 1_i64), before);
        let as_fuser_gives_it = SystemTime::UNIX_EPOCH - Duration::new(86_400, 1);
        assert_eq!(timespec(as_fuser_gives_it), Timespec { tv_sec: -86_400, tv_nsec: 1 });
        let late = SystemTime::UNIX_EPOCH + Duration::new(4_000_000_000, 999_999_999);
        assert_eq!(time(4_000_000_000, 999_999_999_i64), late);
        assert_eq!(timespec(late), Timespec { tv_sec: 4_000_000_000, tv_nsec: 999_999_999 });
    }
}

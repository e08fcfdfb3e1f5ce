//! Active faults, and their effect on each request.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use crate::Answer;
use crate::fault::Fault;

/// Active faults, shared by the file system and the test.
#[derive(Debug, Default)]
pub struct Faults {
    active: Mutex<Vec<ActiveFault>>,
    cleared: Condvar,
}

/// A fault, with the number of bytes or entries used of those it allows.
#[derive(Debug)]
struct ActiveFault {
    fault: Fault,
    used: u64,
}

/// Outcome of one write.
#[derive(Debug, PartialEq, Eq)]
pub struct Write {
    /// Bytes that are written.
    pub kept: usize,
    /// Bytes that are reported as written.
    pub said: usize,
    /// This one of them is written wrong.
    pub wrong: Option<usize>,
}

impl Faults {
    pub fn inject(&self, fault: Fault) {
        self.lock().push(ActiveFault { fault, used: 0 });
    }

    pub fn clear(&self) {
        self.lock().clear();
        self.cleared.notify_all();
    }

    /// True if exactly this fault is active.
    pub fn has(&self, fault: &Fault) -> bool {
        self.lock().iter().any(|held| held.fault == *fault)
    }

    /// Refuses with `errno` if this fault holds.
    pub fn refuse(&self, fault: &Fault, errno: Errno) -> Answer<()> {
        if self.has(fault) { Err(errno) } else { Ok(()) }
    }

    /// Waits as long as a slow disk would, or until it is no longer slow.
    pub fn pause(&self) {
        let held = self.lock();
        let pause = delay(&held);
        // The fault itself, not a wait for something.
        drop(self.cleared.wait_timeout_while(held, pause, |held| !delay(held).is_zero()));
    }

    /// Free bytes and inodes that statfs reports.
    pub fn claimed_space(&self) -> Option<(u64, u64)> {
        let held = self.lock();
        held.iter().find_map(|held| match held.fault {
            Fault::Claim { bytes, inodes } => Some((bytes, inodes)),
            _ => None,
        })
    }

    /// Age that is added to this file's change time.
    pub fn extra_age(&self, path: &[u8]) -> Duration {
        let held = self.lock();
        held.iter()
            .filter_map(|held| match &held.fault {
                Fault::Aged { seconds, files } if files.fits(path) => Some(Duration::from_secs(*seconds)),
                _ => None,
            })
            .sum()
    }

    /// Fails if nothing may change.
    pub fn change(&self) -> Answer<()> {
        self.refuse(&Fault::ReadOnly, Errno::ROFS)
    }

    /// Counts one more entry; fails if there may be none.
    pub fn entry(&self) -> Answer<()> {
        self.change()?;
        for held in self.lock().iter_mut() {
            match held.fault {
                Fault::NoSpace { after } if held.used >= after => return Err(Errno::NOSPC),
                Fault::Quota { after } if held.used >= after => return Err(Errno::DQUOT),
                Fault::NoInodes { after } if held.used >= after => return Err(Errno::NOSPC),
                Fault::NoInodes { .. } => held.used += 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// Fails if these bytes of a file cannot be read.
    pub fn read(&self, path: &[u8], offset: u64, length: u64) -> Answer<()> {
        let bad = |held: &ActiveFault| match &held.fault {
            Fault::ReadError { byte, files } => within(*byte, offset, length).is_some() && files.fits(path),
            _ => false,
        };
        if self.lock().iter().any(bad) { Err(Errno::IO) } else { Ok(()) }
    }

    /// Fails if this file or directory cannot be synced.
    pub fn sync(&self, path: &[u8]) -> Answer<()> {
        let bad = |held: &ActiveFault| matches!(&held.fault, Fault::SyncError { files } if files.fits(path));
        if self.lock().iter().any(bad) { Err(Errno::IO) } else { Ok(()) }
    }

    /// Counts a write and returns its outcome.
    pub fn write(&self, path: &[u8], offset: u64, length: usize) -> Answer<Write> {
        self.change()?;
        let mut held = self.lock();
        let size = length as u64;
        let bad = |held: &ActiveFault| match &held.fault {
            Fault::WriteError { byte, files } => within(*byte, offset, size).is_some() && files.fits(path),
            _ => false,
        };
        if held.iter().any(bad) {
            return Err(Errno::IO);
        }
        let said = take(&mut held, size)?;
        let mut write = Write { kept: said, said, wrong: None };
        for held in held.iter() {
            match &held.fault {
                Fault::Truncate { byte, files } if files.fits(path) => {
                    write.kept = write.kept.min(shortened(byte.saturating_sub(offset), length));
                }
                Fault::Corrupt { byte, files } if files.fits(path) => {
                    write.wrong = within(*byte, offset, size).or(write.wrong);
                }
                _ => {}
            }
        }
        write.wrong = write.wrong.filter(|index| *index < write.kept);
        Ok(write)
    }

    /// Counts bytes that are allotted without being written; all of them or none.
    pub fn reserve(&self, length: u64) -> Answer<()> {
        self.change()?;
        let mut held = self.lock();
        let left = held.iter().filter_map(left).min_by_key(|(left, _)| *left);
        match left {
            Some((left, errno)) if left < length => Err(errno),
            _ => take(&mut held, length).map(drop),
        }
    }

    /// Size that a file gets when it is set to `size`.
    pub fn size(&self, path: &[u8], size: u64) -> u64 {
        let held = self.lock();
        let least = held.iter().filter_map(|held| match &held.fault {
            Fault::Truncate { byte, files } if files.fits(path) => Some(*byte),
            _ => None,
        });
        least.fold(size, u64::min)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ActiveFault>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Delay of each request.
fn delay(held: &[ActiveFault]) -> Duration {
    held.iter().filter_map(|held| if let Fault::Slow(pause) = held.fault { Some(pause) } else { None }).sum()
}

/// Bytes that a full disk or quota still takes, and the error after them.
fn left(held: &ActiveFault) -> Option<(u64, Errno)> {
    match held.fault {
        Fault::NoSpace { after } => Some((after.saturating_sub(held.used), Errno::NOSPC)),
        Fault::Quota { after } => Some((after.saturating_sub(held.used), Errno::DQUOT)),
        _ => None,
    }
}

/// Takes as many of these bytes as fit; fails if none does.
fn take(held: &mut [ActiveFault], size: u64) -> Answer<usize> {
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    let taken = match held.iter().filter_map(left).min_by_key(|(left, _)| *left) {
        Some((0, errno)) if size > 0 => return Err(errno),
        Some((left, _)) => shortened(left, length),
        None => length,
    };
    for held in held.iter_mut().filter(|held| left(held).is_some()) {
        held.used += taken as u64;
    }
    Ok(taken)
}

fn shortened(to: u64, length: usize) -> usize {
    usize::try_from(to).unwrap_or(usize::MAX).min(length)
}

/// The index of a byte of a file in the part that begins at `offset`.
fn within(byte: u64, offset: u64, length: u64) -> Option<usize> {
    let index = byte.checked_sub(offset)?;
    (index < length).then(|| usize::try_from(index).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    fn with(fault: Fault) -> Faults {
        let faults = Faults::default();
        faults.inject(fault);
        faults
    }

    fn whole(length: usize) -> Write {
        Write { kept: length, said: length, wrong: None }
    }

    #[test]
    fn a_disk_fills_up_with_a_short_write_and_then_refuses() {
        let faults = with(Fault::NoSpace { after: 150 });
        assert_eq!(faults.write(b"a", 0, 100), Ok(whole(100)));
        assert_eq!(faults.entry(), Ok(()));
        assert_eq!(faults.reserve(51), Err(Errno::NOSPC));
        assert_eq!(faults.write(b"a", 100, 100), Ok(whole(50)));
        assert_eq!(faults.write(b"b", 0, 1), Err(Errno::NOSPC));
        assert_eq!(faults.entry(), Err(Errno::NOSPC));
        faults.clear();
        assert_eq!(faults.write(b"b", 0, 1), Ok(whole(1)));
    }

    #[test]
    fn an_error_is_at_its_byte_and_in_its_file_alone() {
        let faults = with(Fault::WriteError { byte: 100, files: Pattern::new("*.so") });
        assert_eq!(faults.write(b"x.so", 0, 100), Ok(whole(100)));
        assert_eq!(faults.write(b"x.so", 100, 1), Err(Errno::IO));
        assert_eq!(faults.write(b"x.so", 101, 1), Ok(whole(1)));
        assert_eq!(faults.write(b"x.py", 0, 200), Ok(whole(200)));
        let faults = with(Fault::ReadError { byte: 4_096, files: Pattern::new("*") });
        assert_eq!(faults.read(b"x", 0, 4_096), Ok(()));
        assert_eq!(faults.read(b"x", 0, 4_097), Err(Errno::IO));
    }

    #[test]
    fn a_lying_disk_reports_everything_as_written() {
        let faults = with(Fault::Truncate { byte: 30, files: Pattern::new("*") });
        assert_eq!(faults.write(b"x", 0, 100), Ok(Write { kept: 30, said: 100, wrong: None }));
        assert_eq!(faults.write(b"x", 100, 100), Ok(Write { kept: 0, said: 100, wrong: None }));
        assert_eq!(faults.size(b"x", 200), 30);
        let faults = with(Fault::Corrupt { byte: 130, files: Pattern::new("*") });
        assert_eq!(faults.write(b"x", 100, 100), Ok(Write { kept: 100, said: 100, wrong: Some(30) }));
        assert_eq!(faults.write(b"x", 0, 100), Ok(whole(100)));
    }

    #[test]
    fn inodes_run_out_and_bytes_do_not() {
        let faults = with(Fault::NoInodes { after: 2 });
        assert_eq!([faults.entry(), faults.entry(), faults.entry()], [Ok(()), Ok(()), Err(Errno::NOSPC)]);
        assert_eq!(faults.write(b"x", 0, 10), Ok(whole(10)));
    }
}

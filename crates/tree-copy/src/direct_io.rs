//! Reads files past the page cache, unless they are cached.

use std::io::IoSliceMut;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::uio::pread;
use rustix::io::{ReadWriteFlags, preadv2};

/// Alignment of direct access, in memory and on the disk: the largest sector in use.
pub(crate) const ALIGNMENT: usize = 4096;

/// Converts a position to the kernel's signed type; file sizes do not need the sign bit.
pub(crate) fn offset(position: u64) -> i64 {
    position.cast_signed()
}

/// Turns direct access (`O_DIRECT`) of an open file on or off; false if the file system does not have it.
pub(crate) fn set_direct(file: BorrowedFd<'_>, direct: bool) -> bool {
    fcntl(file, FcntlArg::F_GETFL)
        .and_then(|flags| {
            // Kept as they are: the kernel may have flags that `nix` does not know.
            let mut flags = OFlag::from_bits_retain(flags);
            flags.set(OFlag::O_DIRECT, direct);
            fcntl(file, FcntlArg::F_SETFL(flags))
        })
        .is_ok()
}

/// A file that is read from its beginning to its end.
#[derive(Debug)]
pub(crate) struct DirectReader<'a> {
    file: BorrowedFd<'a>,
    may_be_direct: bool,
    direct: bool,
}

impl<'a> DirectReader<'a> {
    pub fn new(file: BorrowedFd<'a>, may_be_direct: bool) -> Self {
        Self { file, may_be_direct, direct: false }
    }

    /// Reads up to `wanted` bytes into the beginning of an aligned space; 0 at the end of the file.
    pub fn read(&mut self, space: &mut [u8], wanted: usize, position: u64) -> Result<usize, Errno> {
        if self.may_be_direct {
            // Tested once: a file is cached or not.
            self.may_be_direct = false;
            let cached = preadv2(
                self.file,
                &mut [IoSliceMut::new(&mut space[..wanted])],
                position,
                ReadWriteFlags::NOWAIT,
            );
            if cached == Ok(wanted) {
                return Ok(wanted);
            }
            self.direct = set_direct(self.file, true);
        }
        if self.direct {
            let whole = wanted.next_multiple_of(ALIGNMENT).min(space.len());
            if position.is_multiple_of(ALIGNMENT as u64) {
                match pread(self.file, &mut space[..whole], offset(position)) {
                    Ok(length) => return Ok(length.min(wanted)),
                    Err(Errno::EINVAL) => {}
                    Err(cause) => return Err(cause),
                }
            }
            self.direct = false;
            set_direct(self.file, false);
        }
        loop {
            match pread(self.file, &mut space[..wanted], offset(position)) {
                Err(Errno::EINTR) => {}
                answer => return answer,
            }
        }
    }
}

impl Drop for DirectReader<'_> {
    /// Restores the flag: the file may be read again in another way.
    fn drop(&mut self) {
        if self.direct {
            set_direct(self.file, false);
        }
    }
}

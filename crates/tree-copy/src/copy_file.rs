//! Makes one regular file of the target.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dirfd::READ;
use dirfd::xattr::Node;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{fsync, ftruncate};

use crate::attributes;
use crate::capabilities::Capabilities;
use crate::error::SideError;
use crate::file_content::{self, Buffer};
use crate::kernel_copy::KernelCopy;
use crate::metadata::Metadata;

/// Attempts to copy a file that changes meanwhile.
const ATTEMPTS: u32 = 3;

/// Upper bound of a clock tick (100 Hz), the resolution of file times before Linux 6.13.
pub(crate) const TICK: Duration = Duration::from_millis(12);

/// Properties of the target that files are made in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileContext<'a> {
    pub can: &'a Capabilities,
    pub means: &'a KernelCopy,
    /// Owner of new files.
    pub creator: (u32, u32),
    /// Mode bits that new files lack.
    pub umask: u32,
    /// True if each file must be fsynced, see
    /// [`TargetDisk::needs_each_file`](crate::disk_sync::TargetDisk).
    pub sync: bool,
}

/// A file that was made.
#[derive(Debug)]
pub(crate) struct CopiedFile {
    /// It changed during each attempt.
    pub unstable: bool,
    /// Attributes that the target refused.
    pub dropped: Vec<String>,
    pub inode: u64,
}

/// Opens a regular file of the source for reading without following a link or blocking.
///
/// A link fails with `ELOOP`, another kind of entry with `ENXIO`.
pub(crate) fn open_source(directory: BorrowedFd<'_>, name: &CStr) -> Result<(OwnedFd, Metadata), Errno> {
    let opened = match openat(directory, name, READ | OFlag::O_NOATIME, Mode::empty()) {
        // Only the owner may use `O_NOATIME` (open(2)).
        Err(Errno::EPERM) => openat(directory, name, READ, Mode::empty())?,
        answer => answer?,
    };
    let meta = Metadata::from(fstat(&opened)?);
    if meta.is_file() { Ok((opened, meta)) } else { Err(Errno::ENXIO) }
}

/// Makes a file at a free name, with all attributes of the source's. Its time is set last, so an incomplete file never
/// has its source's.
///
/// `plain`: the new file keeps the owner and mode that it is made with.
#[allow(clippy::too_many_arguments, reason = "two sides, what is known about them, and what to use")]
pub(crate) fn copy_file(
    source: BorrowedFd<'_>,
    mut before: Metadata,
    directory: BorrowedFd<'_>,
    name: &CStr,
    plain: bool,
    making: &FileContext<'_>,
    buffer: &mut Buffer,
    progress: &dyn Fn(u64) -> Result<(), SideError>,
) -> Result<CopiedFile, SideError> {
    let can = making.can;
    // Created with its final bits, which often saves a call, and never with more.
    let bits = attributes::wanted_mode(&before, can) & 0o777;
    let target = dirfd::create_new_file(directory, name, bits).map_err(SideError::Target)?;
    let mut unstable = true;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            ftruncate(&target, 0).map_err(SideError::Target)?;
        }
        wait_for_clock_tick(&before);
        file_content::copy_content(source, target.as_fd(), &before, making.means, buffer, progress)?;
        let after = Metadata::from(fstat(source).map_err(SideError::Source)?);
        unstable = !before.unchanged(&after);
        if !unstable {
            break;
        }
        if attempt + 1 < ATTEMPTS {
            before = after;
        }
    }
    let (now, inode) = if plain && before.links == 1 {
        ((making.creator, bits & !making.umask), 0)
    } else {
        let made = Metadata::from(fstat(&target).map_err(SideError::Target)?);
        ((made.owner, made.mode), made.inode)
    };
    attributes::set_access(target.as_fd(), &before, now, can).map_err(SideError::Target)?;
    let attributes =
        attributes::copy_attributes(&Node::Open(source), &Node::Open(target.as_fd()), plain, true, can)?;
    if making.sync {
        fsync(&target).map_err(SideError::Target)?;
    }
    let modified = if unstable { attributes::impossible_time(before.modified, can) } else { before.modified };
    attributes::set_times(target.as_fd(), before.accessed, modified).map_err(SideError::Target)?;
    Ok(CopiedFile { unstable, dropped: attributes.dropped, inode })
}

/// Waits until the clock has ticked since the file's last change.
///
/// A write in the same tick after the copy would leave the same time and go unnoticed.
fn wait_for_clock_tick(meta: &Metadata) {
    let changed =
        u64::try_from(meta.changed.0).map(|seconds| UNIX_EPOCH + Duration::new(seconds, meta.changed.1));
    let Ok(changed) = changed else { return };
    // A change in the future comes from another machine's clock and does not matter here.
    let ticked = || SystemTime::now().duration_since(changed).map_or(true, |age| age >= TICK);
    // Copy even if the clock stands still.
    let _ = kit::wait::until(10 * TICK, "the clock", || ticked().then_some(()));
}

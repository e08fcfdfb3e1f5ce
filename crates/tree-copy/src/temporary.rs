//! Names for what is being made and shall take the place of something else.

use std::ffi::CString;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;

/// Calls `make` with names that nobody uses until one is free, and returns that name.
///
/// A name left behind by a killed process is an entry that the source lacks: a pass that prunes removes it.
pub(crate) fn at_a_free_name<T>(
    mut make: impl FnMut(&CString) -> Result<T, Errno>,
) -> Result<(CString, T), Errno> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".tree-copy.{}-{number}.tmp", std::process::id());
        // A number's text has no zero byte.
        let name = CString::new(name).unwrap_or_default();
        match make(&name) {
            Err(Errno::EXIST) => {}
            Ok(made) => return Ok((name, made)),
            Err(cause) => return Err(cause),
        }
    }
}

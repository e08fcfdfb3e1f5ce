//! Names in the root of a copy that are ours and not the tree's.

use std::ffi::OsStr;

/// The marker of a complete copy.
pub const MARKER: &str = ".move_complete";
/// The listing of the image that the copy was made from.
pub const MANIFEST: &str = ".sync_manifest";
/// The claim of the container that makes the copy.
pub const CLAIM: &str = ".sync_partial";

/// Returns all reserved names.
pub fn all() -> [&'static OsStr; 3] {
    [MARKER, MANIFEST, CLAIM].map(OsStr::new)
}

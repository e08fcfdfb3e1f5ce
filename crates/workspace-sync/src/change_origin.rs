//! Decides if this container changed an entry of the image's tree, for a copy that another container made.
//!
//! The former state of the copy's entries is unknown then. A changed inode proves little: `fix-perms` changes group and
//! mode of the image's entries, and copying these would bring back entries that the user removed from the copy. So an
//! entry counts as changed if it differs from the image's listing.

use std::io;

use anyhow::Result;
use dirfd::walk::Entry;

use crate::image_listing::{Listing, Provenance};
use crate::sync_state::{self, PendingDelta};
use crate::volume_clock::Timestamp;

/// The listing of the image, if there is one.
#[derive(Debug)]
pub struct ChangeOrigin(Option<Listing>);

impl ChangeOrigin {
    /// Uses the image's listing, if there is one.
    pub fn new(listing: Option<Listing>) -> Self {
        Self(listing)
    }

    /// True if an entry with a changed inode must be copied. A directory that may come from the image is copied only if
    /// it is empty; its entries are checked one by one.
    pub fn is_container_change(&self, entry: &Entry<'_>, leftover: &PendingDelta) -> Result<bool> {
        if !leftover.is_from_other_container() || leftover.written.contains_key(&sync_state::key(entry.name))
        {
            return Ok(true);
        }
        let Some(listing) = &self.0 else {
            return Ok(!entry.is_directory() && Timestamp::modify_time(&entry.stat) >= leftover.source_since);
        };
        Ok(match listing.provenance(entry) {
            Provenance::Image => false,
            Provenance::Unknown if entry.is_directory() => {
                let opened = dirfd::open_dir(entry.directory, entry.base);
                opened.and_then(dirfd::names).map_err(io::Error::from)?.is_empty()
            }
            Provenance::Changed | Provenance::Unknown | Provenance::Added => true,
        })
    }
}

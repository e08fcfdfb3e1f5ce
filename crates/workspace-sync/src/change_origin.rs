//! Decides whether an entry of the image's tree is this container's work, where the copy is one from another time.
//!
//! The former state of the copy's entries is unknown then. A changed inode proves little: `fix-perms` gives the image's
//! entries another group and mode, and carrying that over would bring back what the user removed from the copy. So an
//! entry is work if the image's listing does not have it as it is.

use std::io;

use anyhow::Result;
use dirfd::walk::Entry;

use crate::image_listing::{Listing, Provenance};
use crate::sync_state::{self, PendingDelta};
use crate::volume_clock::Timestamp;

/// Knows what the image brought.
#[derive(Debug)]
pub struct ChangeOrigin(Option<Listing>);

impl ChangeOrigin {
    /// With the image's listing, where there is one.
    pub fn new(listing: Option<Listing>) -> Self {
        Self(listing)
    }

    /// Returns whether the entry, whose inode changed, is to be carried over. A directory that the image may have
    /// brought is work only if it is empty; what came into it is asked for by itself.
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

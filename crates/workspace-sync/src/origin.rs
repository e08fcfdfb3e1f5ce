//! Decides whether an entry of the image's tree is this container's work, where the copy is one from another time.
//!
//! The former state of the copy's entries is unknown then. A changed inode proves little: `fix-perms` gives the image's
//! entries another group and mode, and carrying that over would bring back what the user removed from the copy. So an
//! entry is work if the image's listing does not have it as it is.

use anyhow::Result;

use crate::image_listing::{Listing, Provenance};
use crate::memory::{self, Leftover};
use crate::walk::{self, Entry};

/// Knows what the image brought.
#[derive(Debug)]
pub struct Origin(Option<Listing>);

impl Origin {
    /// With the image's listing, where there is one.
    pub fn new(listing: Option<Listing>) -> Self {
        Self(listing)
    }

    /// Returns whether the entry, whose inode changed, is to be carried over. A directory that the image may have
    /// brought is work only if it is empty; what came into it is asked for by itself.
    pub fn is_work(&self, entry: &Entry<'_>, leftover: &Leftover) -> Result<bool> {
        if !leftover.is_of_another_time() || leftover.written.contains_key(&memory::key(entry.name)) {
            return Ok(true);
        }
        let Some(listing) = &self.0 else {
            return Ok(!entry.is_directory() && entry.modified() >= leftover.source_since);
        };
        Ok(match listing.provenance(entry) {
            Provenance::Image => false,
            Provenance::Unknown if entry.is_directory() => {
                walk::names(walk::open(entry.directory, entry.base)?)?.is_empty()
            }
            Provenance::Changed | Provenance::Unknown | Provenance::Added => true,
        })
    }
}

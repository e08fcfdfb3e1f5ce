//! Capabilities of a process (capabilities(7)), as `rustix` has them.

use std::io;

pub use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set, set_capabilities,
};

/// Returns the capabilities that this thread may use at present.
pub fn effective() -> io::Result<CapabilitySet> {
    Ok(capabilities(None)?.effective)
}

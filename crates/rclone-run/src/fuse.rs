//! Checks whether this container can mount FUSE file systems.

use std::fs::File;
use std::io;

use kit::capabilities::{self, CapabilitySet};
use rustix::mount::{UnmountFlags, mount_bind, unmount};

const DEVICE: &str = "/dev/fuse";

/// Returns the reason why nothing can be mounted, if so.
pub fn obstacle() -> Option<String> {
    match File::options().read(true).write(true).open(DEVICE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some(format!("the container has no {DEVICE}"));
        }
        Err(error) => return Some(format!("cannot open {DEVICE}: {error}")),
        Ok(_) => {}
    }
    if !capabilities::effective().is_ok_and(|effective| effective.contains(CapabilitySet::SYS_ADMIN)) {
        return Some("the container lacks the capability SYS_ADMIN".to_owned());
    }
    // AppArmor's profile docker-default refuses every mount. The device stays usable while it is mounted on itself.
    let tried = mount_bind(DEVICE, DEVICE).and_then(|()| unmount(DEVICE, UnmountFlags::DETACH));
    tried.err().map(|error| format!("cannot mount: {}", io::Error::from(error)))
}

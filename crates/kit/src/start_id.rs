//! Identity of one start of one container.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns hexadecimal digits shared by all processes of this container until it stops, and by no other container that
/// runs at the same time, on any machine.
///
/// They are built from the kernel's boot id and the numbers of the process and mount namespaces, which are unique while
/// they live. A stored name would be copied with an image that is saved from the container. Where the kernel does not
/// provide these, each process has digits of its own.
pub fn id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| from_kernel().unwrap_or_else(fallback_id))
}

/// Returns the kernel's boot id, which differs after each start of the machine; nothing if it cannot be read.
#[must_use]
pub fn boot_id() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

fn from_kernel() -> Option<String> {
    let boot = boot_id()?;
    let number = |name: &str| Some(fs::metadata(format!("/proc/self/ns/{name}")).ok()?.ino());
    format_id(&boot, number("pid")?, number("mnt")?)
}

fn format_id(boot: &str, processes: u64, mounts: u64) -> Option<String> {
    let boot: String = boot.chars().filter(char::is_ascii_hexdigit).collect();
    // A UUID has 32 digits; anything shorter is not unique.
    (boot.len() == 32).then(|| format!("{boot}{processes:08x}{mounts:08x}"))
}

/// Returns digits from the time and the process id: unique on one machine, and in practice on two.
fn fallback_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:032x}{:016x}", now.as_nanos(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_the_same_and_comes_from_the_kernel() {
        assert_eq!(id(), id());
        assert_eq!(Some(id().to_owned()), from_kernel());
        assert_eq!(fallback_id().len(), id().len());
    }

    #[test]
    fn another_start_and_another_namespace_have_other_ids() {
        let boot = "01234567-89ab-cdef-0123-456789abcdef\n";
        assert_eq!(
            format_id(boot, 0xf000_0001, 0xf000_0002).as_deref(),
            Some("0123456789abcdef0123456789abcdeff0000001f0000002")
        );
        assert_ne!(format_id(boot, 1, 2), format_id(boot, 1, 3));
        assert_ne!(format_id(boot, 1, 2), format_id(boot, 2, 2));
        assert_eq!(format_id("", 1, 2), None, "an id without the boot's digits would not be unique");
    }
}

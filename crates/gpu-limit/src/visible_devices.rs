//! Lists of devices in `*_VISIBLE_DEVICES`.
//!
//! The runtimes stop reading at the first entry that they do not understand, so the rest does not count.

/// Returns the list truncated to `count` entries, or `None` if it has no more.
pub fn truncate(list: &str, count: usize) -> Option<String> {
    let entries = entries(list);
    (entries.len() > count).then(|| entries[..count].join(","))
}

/// Returns the devices that the list names.
pub fn entries(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).take_while(|entry| is_device(entry)).collect()
}

/// True if the list begins with something other than a device or a word that hides all devices.
pub fn is_unknown(list: &str) -> bool {
    let first = list.split(',').next().unwrap_or_default().trim();
    !(is_device(first) || first.is_empty() || first.starts_with('-'))
}

/// Returns the first `count` devices by number.
pub fn first_n(count: usize) -> String {
    (0..count).map(|index| index.to_string()).collect::<Vec<_>>().join(",")
}

/// Returns the MIG instances in `NVIDIA_VISIBLE_DEVICES`, if all its entries are such names.
///
/// Forms that only the container runtime understands (`0:1`) do not count.
pub fn mig_names(list: &str) -> Option<Vec<&str>> {
    let entries: Vec<&str> = list.split(',').map(str::trim).collect();
    let distinct = entries.iter().enumerate().all(|(index, entry)| !entries[..index].contains(entry));
    (distinct && entries.iter().all(|entry| is_named(entry, "MIG-"))).then_some(entries)
}

fn is_device(entry: &str) -> bool {
    let is_index = !entry.is_empty() && entry.bytes().all(|byte| byte.is_ascii_digit());
    is_index || is_named(entry, "GPU-") || is_named(entry, "MIG-")
}

/// `prefix` and a name of the characters that UUIDs and MIG paths (`MIG-GPU-…/1/0`) consist of.
pub fn is_named(entry: &str, prefix: &str) -> bool {
    entry.strip_prefix(prefix).is_some_and(|rest| {
        !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_first_entries_as_they_were_written() {
        assert_eq!(truncate("3,1,2", 2).as_deref(), Some("3,1"));
        assert_eq!(truncate(" GPU-a , MIG-b,MIG-GPU-c/1/0", 2).as_deref(), Some("GPU-a,MIG-b"));
    }

    #[test]
    fn a_list_that_is_short_enough_stays_as_it_is() {
        assert_eq!(truncate("3,1", 2), None);
        assert_eq!(truncate("", 1), None);
        assert_eq!(truncate("0,-1,1,2", 1), None, "the runtime stops at -1, so one device is visible");
        assert_eq!(truncate("all", 1), None);
    }

    #[test]
    fn only_names_that_cuda_knows_too_are_taken_from_the_container_runtime() {
        assert_eq!(mig_names("MIG-a, MIG-b"), Some(vec!["MIG-a", "MIG-b"]));
        for other in ["", "all", "void", "0:1", "GPU-a", "MIG-a,GPU-b", "MIG-a,MIG-a", "MIG-"] {
            assert_eq!(mig_names(other), None, "{other:?}");
        }
    }
}

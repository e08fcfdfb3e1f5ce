//! Which names wait: what is hidden, and what a download program will still rename.

/// The endings that browsers and download programs give to what is not complete.
const UNFINISHED: [&[u8]; 4] = [b".part", b".crdownload", b".aria2", b".incomplete"];
/// aria2 keeps this file beside a download under its final name, and removes it at the end.
pub const CONTROL: &[u8] = b".aria2";

/// Why an entry of the storage is not linked under this name, or nothing if it may be.
#[must_use]
pub fn waits(name: &[u8]) -> Option<&'static str> {
    if name.starts_with(b".") {
        return Some("its name begins with a dot");
    }
    UNFINISHED
        .iter()
        .any(|ending| name.ends_with(ending))
        .then_some("its name is that of an unfinished download")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_and_unfinished_names_wait_and_others_do_not() {
        for name in [".x", "a.part", "a.safetensors.crdownload", "a.aria2", "a b.incomplete", ".", ".part"] {
            assert!(waits(name.as_bytes()).is_some(), "{name}");
        }
        for name in ["a", "part", "a.part1", "a.partial", "-x", "a.PART", "x.part.gguf"] {
            assert_eq!(waits(name.as_bytes()), None, "{name}");
        }
    }
}

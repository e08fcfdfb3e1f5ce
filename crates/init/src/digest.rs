//! Digests of what was requested, to detect a changed request without storing it.

use kit::hex;
use sha2::{Digest, Sha256};

/// Returns the SHA-256 of texts, each with its length before it, in hexadecimal digits.
pub fn of_parts<const N: usize>(parts: [&str; N]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    hex::encode(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_digests_stay_valid_after_an_update() {
        // From sha256sum(1): printf '\0\0\0\0\0\0\0\1a\0\0\0\0\0\0\0\2bc' | sha256sum.
        assert_eq!(of_parts(["a", "bc"]), "3fafa1cf2f19a7c1129beb20cf0983f73a489a221fc0dd2f16d1be292d089205");
        assert_ne!(of_parts(["ada", "b:c"]), of_parts(["ada:b", "c"]));
    }
}

//! Generates passwords, tokens and instance ids from the kernel's random numbers.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Letters and digits without those that look alike, because people copy a password from a screen.
const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// 20 of 56 characters are 116 bits.
const PASSWORD_LENGTH: usize = 20;

/// Generates a password that people can read aloud.
pub fn password() -> Result<String> {
    let mut password = String::with_capacity(PASSWORD_LENGTH);
    // Bytes beyond the largest multiple of the alphabet's size are discarded, so that all characters are equally likely.
    let fair = 256 / ALPHABET.len() * ALPHABET.len();
    while password.len() < PASSWORD_LENGTH {
        let [byte] = random::<1>()?;
        if usize::from(byte) < fair {
            password.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
        }
    }
    Ok(password)
}

/// Generates a token for programs: 256 bits in 43 characters that need no escaping in a URL or header.
pub fn token() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}

/// Generates an id of eight hexadecimal characters that distinguishes this container from others.
pub fn instance() -> Result<String> {
    Ok(format!("{:08x}", u32::from_ne_bytes(random::<4>()?)))
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("cannot get random numbers from the kernel")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_secrets_have_their_length_and_differ() {
        let (one, other) = (password().unwrap(), password().unwrap());
        assert_eq!(one.len(), PASSWORD_LENGTH);
        assert!(one.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(one, other);
        assert_eq!((token().unwrap().len(), instance().unwrap().len()), (43, 8));
    }
}

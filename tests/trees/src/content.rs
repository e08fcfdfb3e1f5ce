//! Content of files: pseudo-random bytes, of another stream for each.

use std::io::{self, Write};

use crate::random::Random;

const BLOCK: usize = 1 << 20;

/// Writes the first `size` bytes of a stream.
pub fn write(to: &mut impl Write, mut stream: Random, size: u64) -> io::Result<()> {
    let mut block = vec![0; usize::try_from(size).unwrap_or(BLOCK).min(BLOCK)];
    let mut left = size;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        fill(&mut block[..length], &mut stream);
        to.write_all(&block[..length])?;
        left -= length as u64;
    }
    Ok(())
}

/// The first `size` bytes of a stream.
pub fn bytes(mut stream: Random, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fill(&mut bytes, &mut stream);
    bytes
}

fn fill(block: &mut [u8], stream: &mut Random) {
    for part in block.chunks_mut(8) {
        part.copy_from_slice(&stream.bits().to_le_bytes()[..part.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_longer_than_a_block_is_the_whole_stream() {
        let mut written = Vec::new();
        let size = BLOCK + BLOCK / 2 + 3;
        write(&mut written, Random::new(5), size as u64).unwrap();
        assert_eq!(written, bytes(Random::new(5), size));
        assert!(written.windows(64).step_by(64).all(|window| window != [0; 64]));
    }
}

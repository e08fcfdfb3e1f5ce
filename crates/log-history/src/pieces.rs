//! Boundaries of lines, found from any offset without reading the whole line.
//!
//! A line of more than [`PIECE`] bytes comes in pieces. Where it is cut depends on offsets alone: at a multiple of `PIECE`
//! before which there is no newline for as long. So readers that come from both sides, and a search that starts in the
//! middle, find the same pieces.

use memchr::{memchr, memrchr};

/// Distance of the cuts of a long line in bytes. A piece is shorter than two of them.
pub const PIECE: u64 = 32 * 1024;
/// Number of bytes before an offset that decide where its piece begins.
pub const LOOKBACK: u64 = LOOKBACK_LENGTH as u64;
/// The same, as a length in memory.
pub const LOOKBACK_LENGTH: usize = 64 * 1024;

/// End of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A newline, at this index.
    Newline(usize),
    /// A cut of a long line.
    Cut(usize),
    /// The bytes end before the piece.
    Open,
}

/// Returns the end of the piece that begins with `bytes`, which are at `offset`.
pub fn end(bytes: &[u8], offset: u64) -> End {
    let limit = length_limit(offset);
    match memchr(b'\n', &bytes[..bytes.len().min(limit + 1)]) {
        Some(newline) => End::Newline(newline),
        None if bytes.len() > limit => End::Cut(limit),
        None => End::Open,
    }
}

/// Maximum length of a piece that begins at an offset.
fn length_limit(offset: u64) -> usize {
    let cut = offset.next_multiple_of(PIECE) + PIECE;
    usize::try_from(cut - offset).unwrap_or(usize::MAX)
}

/// Returns the index at which the last piece of `bytes` begins; `offset` is that of the first byte.
///
/// `bytes` are the [`LOOKBACK`] bytes before the end of a piece, without its newline, or all that there are.
pub fn start(bytes: &[u8], offset: u64) -> usize {
    let last = offset + (bytes.len() as u64).saturating_sub(1);
    let begin = match memrchr(b'\n', bytes) {
        Some(newline) if newline + 1 == bytes.len() => return bytes.len(),
        Some(newline) => offset + newline as u64 + 1,
        None if offset == 0 => 0,
        None => return usize::try_from((last / PIECE * PIECE).saturating_sub(offset)).unwrap_or(0),
    };
    let cut = begin.next_multiple_of(PIECE) + PIECE;
    let begin = if cut > last { begin } else { cut + (last - cut) / PIECE * PIECE };
    usize::try_from(begin - offset).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the pieces of a text as ranges, forwards.
    fn forwards(text: &[u8]) -> Vec<(usize, usize)> {
        let (mut at, mut found) = (0, Vec::new());
        while at < text.len() {
            let (end, next) = match end(&text[at..], at as u64) {
                End::Newline(length) => (at + length, at + length + 1),
                End::Cut(length) => (at + length, at + length),
                End::Open => (text.len(), text.len()),
            };
            found.push((at, end));
            at = next;
        }
        found
    }

    /// Returns the same from the end, with no more bytes than needed.
    fn backwards(text: &[u8]) -> Vec<(usize, usize)> {
        let (mut at, mut found) = (text.len(), Vec::new());
        while at > 0 {
            let end = if text[at - 1] == b'\n' { at - 1 } else { at };
            let from = end.saturating_sub(LOOKBACK_LENGTH);
            at = from + start(&text[from..end], from as u64);
            found.push((at, end));
        }
        found.reverse();
        found
    }

    #[test]
    fn both_directions_find_the_same_pieces_none_of_them_longer_than_64_kib() {
        let piece = LOOKBACK_LENGTH / 2;
        let long = |length: usize| vec![b'x'; length];
        let lines =
            |lengths: &[usize]| lengths.iter().map(|&length| long(length)).collect::<Vec<_>>().join(&b'\n');
        for text in [
            b"".to_vec(),
            b"\n".to_vec(),
            b"a\n\nb".to_vec(),
            b"\n\na\n".to_vec(),
            long(piece),
            long(10 * piece + 7),
            lines(&[piece - 1, piece, piece + 1, 2 * piece, 2 * piece - 1, 2 * piece + 1, 0, 5]),
            lines(&[1, 2 * piece - 2, 3, 3 * piece, 7 * piece + 1, 0]),
            lines(&vec![5; 30_000]),
        ] {
            let found = forwards(&text);
            assert_eq!(found, backwards(&text), "{}", text.len());
            assert!(found.iter().all(|(begin, end)| end - begin <= 64 * 1024));
            let whole: Vec<u8> = found.iter().flat_map(|&(begin, end)| &text[begin..end]).copied().collect();
            assert!(whole.iter().eq(text.iter().filter(|byte| **byte != b'\n')));
        }
    }
}

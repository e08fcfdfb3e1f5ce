//! Output of several instances in one log.

use std::io::{self, BufRead, BufReader, Read, Write};

/// Length in bytes after which a line without an end is written as one.
const MAX_LINE: u64 = 64 * 1024;

/// Copies lines as `LABEL | line` until the end, each with one write.
pub fn copy_labelled(label: &str, from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut from = BufReader::new(from);
    loop {
        let mut line = format!("{label} | ").into_bytes();
        if (&mut from).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        to.write_all(&line)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_the_label_and_keeps_its_bytes() {
        let labelled = |text: &[u8]| {
            let mut written = Vec::new();
            copy_labelled("GPU-1", text, &mut written).unwrap();
            written
        };
        assert_eq!(labelled(b"a\n\n\xff\x1b[0m"), b"GPU-1 | a\nGPU-1 | \nGPU-1 | \xff\x1b[0m\n");
        assert_eq!(labelled(b""), b"");
        let long = labelled(&vec![b'x'; 70_000]);
        let lengths: Vec<usize> = long.split(|byte| *byte == b'\n').map(<[u8]>::len).collect();
        assert_eq!(lengths, [8 + 65_536, 8 + 70_000 - 65_536, 0]);
    }
}

//! Compressed logs, and how they are matched with the files that were read.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};

use flate2::bufread::MultiGzDecoder;
use flate2::{Crc, CrcWriter};
use log_history::file_name::Compression;
use serde::{Deserialize, Serialize};

use crate::fingerprint::Fingerprint;

/// Maximum size of a decompressed log in bytes: a few bytes can decompress to any size.
const LARGEST: u64 = 1 << 30;

/// Length and checksum of both ends of a log file, equal for its compressed form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentSum {
    length: u64,
    /// CRC-32 of the first and the last bytes.
    ends: u32,
}

impl ContentSum {
    /// Reads the sum of a plain file.
    pub fn of(file: &File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mark = Fingerprint::read(file, length)?.unwrap_or_default();
        let mut sum = Crc::new();
        sum.update(mark.head());
        sum.update(mark.tail());
        Ok(Self { length, ends: sum.sum() })
    }
}

/// True if a compressed file has the content that its original, which is still open, had then.
///
/// gzip has length and CRC-32 of the content at its end (RFC 1952). Other formats are matched by the modification time,
/// which their programs keep, some in whole seconds.
pub fn is_compressed_form(packed: &File, packing: Compression, original: &File) -> io::Result<bool> {
    let (packed_meta, meta) = (packed.metadata()?, original.metadata()?);
    if packing != Compression::Gzip {
        let (exact, nanoseconds) = (packed_meta.mtime_nsec(), meta.mtime_nsec());
        return Ok(packed_meta.mtime() == meta.mtime() && (exact == 0 || exact == nanoseconds));
    }
    let mut end = [0; 8];
    let Some(begin) = packed_meta.len().checked_sub(end.len() as u64) else { return Ok(false) };
    packed.read_exact_at(&mut end, begin)?;
    let (sum, length) = end.split_at(4);
    let length = u64::from(u32::from_le_bytes([length[0], length[1], length[2], length[3]]));
    // The original may have grown since: its writer still has it open.
    if length > meta.len() || (length == 0 && meta.len() > 0) {
        return Ok(false);
    }
    let mut crc = CrcWriter::new(io::sink());
    io::copy(&mut FromStart { file: original, at: 0 }.take(length), &mut crc)?;
    Ok(crc.crc().sum().to_le_bytes() == sum)
}

/// Decompresses a gzip file into one without a name.
pub fn decompress(packed: &File) -> io::Result<File> {
    let mut unpacked = tempfile::tempfile()?;
    // Other readers share the offset of the open file.
    let from_start = BufReader::new(FromStart { file: packed, at: 0 });
    let length = io::copy(&mut MultiGzDecoder::new(from_start).take(LARGEST + 1), &mut unpacked)?;
    if length > LARGEST {
        return Err(io::Error::other(format!("it holds more than {LARGEST} bytes")));
    }
    Ok(unpacked)
}

struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_compressed_file_has_the_fingerprint_and_the_content_of_its_original() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "one\n", &"a longer line\n".repeat(10_000)] {
            let path = dir.path().join("x");
            fs::write(&path, text).unwrap();
            let original = ContentSum::of(&File::open(&path).unwrap()).unwrap();
            assert!(Command::new("gzip").arg("--force").arg(&path).status().unwrap().success());
            let packed = File::open(dir.path().join("x.gz")).unwrap();
            let unpacked = decompress(&packed).unwrap();
            assert_eq!(ContentSum::of(&unpacked).unwrap(), original);
            let mut content = vec![0; text.len() + 1];
            let length = unpacked.read_at(&mut content, 0).unwrap();
            assert_eq!(&content[..length], text.as_bytes());
        }
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gz");
        fs::write(&path, "this is no gzip").unwrap();
        let file = File::open(&path).unwrap();
        assert!(decompress(&file).is_err());
    }
}

//! A gzip file, read at any offset.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;

/// Maximum size of the content in bytes: a few bytes can decompress to any size.
pub const LARGEST: u64 = 1 << 30;

/// The content of a gzip file, in a file without a name.
#[derive(Debug)]
pub struct GzipFile {
    unpacked: File,
}

impl GzipFile {
    pub fn new(mut packed: File) -> io::Result<Self> {
        packed.rewind()?;
        let mut unpacked = tempfile::tempfile()?;
        io::copy(&mut MultiGzDecoder::new(BufReader::new(packed)).take(LARGEST), &mut unpacked)?;
        Ok(Self { unpacked })
    }

    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.unpacked.read_at(buffer, offset)
    }

    pub fn len(&self) -> io::Result<u64> {
        Ok(self.unpacked.metadata()?.len())
    }
}

//! Content of one log file, whether it is compressed or not.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::file_name::Compression;
use crate::gzip::GzipFile;
use crate::position::{self, HEAD};

/// Bytes of an open file, decompressed. Clones share the file.
#[derive(Debug, Clone)]
pub enum Content {
    Plain(Arc<File>),
    Gzip(Arc<GzipFile>),
}

impl Content {
    /// Takes an open file.
    pub fn new(file: File, packing: Compression) -> io::Result<Self> {
        Ok(match packing {
            Compression::Plain => Self::Plain(Arc::new(file)),
            Compression::Gzip => Self::Gzip(Arc::new(GzipFile::new(file))),
            Compression::Opaque => return Err(io::Error::other("its compression is not supported")),
        })
    }

    /// Reads once at an offset; nothing at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => loop {
                match file.read_at(buffer, offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => return read,
                }
            },
            Self::Gzip(file) => file.read_at(buffer, offset),
        }
    }

    /// Reads until the buffer is full or the file ends; returns the number of bytes.
    pub fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut got = 0;
        while got < buffer.len() {
            match self.read_at(&mut buffer[got..], offset + got as u64)? {
                0 => break,
                more => got += more,
            }
        }
        Ok(got)
    }

    /// Returns the present number of bytes; a compressed file is decompressed for it.
    pub fn len(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len()),
            Self::Gzip(file) => file.len(),
        }
    }

    /// Returns why the content ends early.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Plain(_) => None,
            Self::Gzip(file) => file.problem(),
        }
    }

    /// Returns the checksum of the first bytes.
    pub fn head(&self) -> io::Result<u32> {
        let mut head = [0; HEAD];
        let length = self.fill_at(&mut head, 0)?;
        Ok(position::head_sum(&head[..length]))
    }
}

//! A gzip file (RFC 1952), read at any offset in bounded memory.
//!
//! The decompressor's state is kept at every [`SPAN`] of the content, so that reading does not start from the beginning
//! again, and nothing is written to a disk. The checksum is not compared: of a damaged file, what comes before the damage is
//! shown, and the damage is reported.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

/// Maximum size of the content in bytes: a few bytes can decompress to any size.
const LARGEST: u64 = 1 << 30;
/// Distance of the kept states in the content, in bytes. Each takes 43 KB.
const SPAN: usize = 4 << 20;
/// Spans that are kept decompressed.
const SPANS: usize = 2;
/// Size of one read in bytes.
const CHUNK: usize = 64 * 1024;
/// Length in which the header of a member ends, in bytes.
const HEADER: usize = 1024;

/// The content of a gzip file.
#[derive(Debug)]
pub struct GzipFile(Mutex<State>);

struct State {
    file: File,
    /// States at each span that was reached.
    decoders: Vec<Decoder>,
    /// Size of the content, once its end was reached.
    length: Option<u64>,
    spans: VecDeque<(usize, Vec<u8>)>,
    problem: Option<String>,
    limit: u64,
}

impl GzipFile {
    pub fn new(file: File) -> Self {
        Self::with_limit(file, LARGEST)
    }

    fn with_limit(file: File, limit: u64) -> Self {
        let decoders = vec![Decoder { input: 0, body: None, members: 0 }];
        Self(Mutex::new(State { file, decoders, length: None, spans: VecDeque::new(), problem: None, limit }))
    }

    /// Reads once at an offset; nothing at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.lock();
        let index = usize::try_from(offset / SPAN as u64).map_err(io::Error::other)?;
        let span = state.span(index)?;
        let begin = usize::try_from(offset % SPAN as u64).map_err(io::Error::other)?;
        let found = span.get(begin..).unwrap_or_default();
        let length = found.len().min(buffer.len());
        buffer[..length].copy_from_slice(&found[..length]);
        Ok(length)
    }

    /// Returns the size of the content, for which all of it is decompressed once.
    pub fn len(&self) -> io::Result<u64> {
        let mut state = self.lock();
        loop {
            if let Some(length) = state.length {
                return Ok(length);
            }
            let next = state.decoders.len() - 1;
            state.span(next)?;
        }
    }

    /// Returns why the content ends early.
    pub fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns a span of the content, empty behind the end.
    fn span(&mut self, index: usize) -> io::Result<&[u8]> {
        if let Some(at) = self.spans.iter().position(|(of, _)| *of == index) {
            return Ok(&self.spans[at].1);
        }
        // Those before it that were not reached yet.
        for index in self.decoders.len() - 1..index {
            if self.length.is_none() {
                self.decode(index)?;
            }
        }
        if index >= self.decoders.len() {
            return Ok(&[]);
        }
        self.decode(index)?;
        Ok(self.spans.back().map_or(&[], |(_, bytes)| bytes))
    }

    fn decode(&mut self, index: usize) -> io::Result<()> {
        let mut bytes =
            if self.spans.len() >= SPANS { self.spans.pop_front() } else { None }.unwrap_or_default().1;
        bytes.resize(SPAN, 0);
        let mut decoder = self.decoders[index].clone();
        let mut got = 0;
        let ended = decoder.fill(&self.file, &mut bytes, &mut got);
        bytes.truncate(got);
        let begin = (index * SPAN) as u64;
        match ended {
            Ok(false) if begin + SPAN as u64 >= self.limit => {
                self.length = Some(self.limit);
                self.problem =
                    Some(format!("it holds more than {} MiB; the rest is not read", self.limit >> 20));
            }
            Ok(false) if index + 1 == self.decoders.len() => self.decoders.push(decoder),
            Ok(false) => {}
            Ok(true) => self.length = Some(begin + got as u64),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.length = Some(begin + got as u64);
                self.problem = Some(error.to_string());
            }
            Err(error) => return Err(error),
        }
        self.spans.push_back((index, bytes));
        Ok(())
    }
}

/// Decompressor before a byte of the content.
#[derive(Clone)]
struct Decoder {
    /// Offset in the file.
    input: u64,
    /// State within a member; nothing between two of them.
    body: Option<Box<InflateState>>,
    /// Number of members that began.
    members: usize,
}

impl Decoder {
    /// Decompresses until the buffer is full; returns true at the end of the file. `got` counts also before an error.
    fn fill(&mut self, file: &File, buffer: &mut [u8], got: &mut usize) -> io::Result<bool> {
        let mut input = Input { bytes: vec![0; CHUNK], begin: 0, length: 0 };
        while *got < buffer.len() {
            let Some(body) = &mut self.body else {
                if !self.begin_member(input.at(file, self.input)?)? {
                    return Ok(true);
                }
                continue;
            };
            let available = input.at(file, self.input)?;
            let step = inflate(body, available, &mut buffer[*got..], MZFlush::None);
            self.input += step.bytes_consumed as u64;
            *got += step.bytes_written;
            match step.status {
                Ok(MZStatus::StreamEnd) => {
                    self.body = None;
                    // Checksum and length.
                    self.input += 8;
                }
                _ if step.bytes_consumed > 0 || step.bytes_written > 0 => {}
                _ if available.is_empty() => return Err(damaged("it ends early")),
                _ => return Err(damaged("it is damaged")),
            }
        }
        Ok(false)
    }

    /// Skips the header of a member; returns false at the end of the file.
    fn begin_member(&mut self, header: &[u8]) -> io::Result<bool> {
        // After the last member, there may be zeros (gzip(1)).
        if self.members > 0 && header.iter().all(|byte| *byte == 0) {
            return Ok(false);
        }
        let length = header_length(header).ok_or_else(|| damaged("it is not in gzip format"))?;
        self.input += length as u64;
        self.members += 1;
        self.body = Some(InflateState::new_boxed(DataFormat::Raw));
        Ok(true)
    }
}

/// Bytes of the file.
struct Input {
    bytes: Vec<u8>,
    begin: u64,
    length: usize,
}

impl Input {
    /// Returns bytes from an offset on: enough for a header, fewer at the end of the file only.
    fn at(&mut self, file: &File, offset: u64) -> io::Result<&[u8]> {
        let skip = offset.checked_sub(self.begin).and_then(|skip| usize::try_from(skip).ok());
        if let Some(skip) = skip.filter(|skip| skip + HEADER <= self.length) {
            return Ok(&self.bytes[skip..self.length]);
        }
        (self.length, self.begin) = (file.read_at(&mut self.bytes, offset)?, offset);
        Ok(&self.bytes[..self.length])
    }
}

/// Returns the length of the header of a member.
fn header_length(header: &[u8]) -> Option<usize> {
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const CHECKSUM: u8 = 2;
    let [0x1f, 0x8b, 8, flags, _, _, _, _, _, _] = *header.first_chunk()? else { return None };
    let mut length = 10;
    if flags & EXTRA != 0 {
        length += 2 + usize::from(u16::from_le_bytes(*header.get(length..)?.first_chunk()?));
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            length += memchr::memchr(0, header.get(length..)?)? + 1;
        }
    }
    if flags & CHECKSUM != 0 {
        length += 2;
    }
    Some(length)
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("file", &self.file)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn compress(text: &[u8], args: &[&str]) -> Vec<u8> {
        let mut command = Command::new("gzip");
        let mut gzip = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = gzip.stdin.take().unwrap();
        let text = text.to_vec();
        let writer = std::thread::spawn(move || input.write_all(&text).unwrap());
        let output = gzip.wait_with_output().unwrap().stdout;
        writer.join().unwrap();
        output
    }

    fn open(bytes: &[u8]) -> GzipFile {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        GzipFile::new(file)
    }

    /// Content that compresses badly enough, three spans long.
    fn text() -> Vec<u8> {
        let mut seed = 7_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + (seed >> 28) as u8
        };
        (0..5 * SPAN / 2).map(|_| next()).collect()
    }

    #[test]
    fn any_part_is_read_in_any_order_also_of_several_members() {
        let text = text();
        let (one, other) = text.split_at(SPAN + 1_000);
        let whole = compress(&text, &["-1"]);
        let members =
            [compress(one, &["-9"]), compress(b"", &[]), compress(other, &["-1"]), vec![0; 512]].concat();
        for bytes in [whole, members] {
            let file = open(&bytes);
            for offset in [2 * SPAN + 5, 0, SPAN - 10, SPAN, text.len() - 7, text.len(), 9 * SPAN] {
                let mut buffer = vec![0; 20];
                let got = file.read_at(&mut buffer, offset as u64).unwrap();
                let span_end = (offset / SPAN + 1) * SPAN;
                let expected = &text[offset.min(text.len())
                    ..(offset + 20).min(span_end).min(text.len()).max(offset.min(text.len()))];
                assert_eq!(&buffer[..got], expected, "{offset}");
            }
            assert_eq!((file.len().unwrap(), file.problem()), (text.len() as u64, None));
        }
    }

    #[test]
    fn what_is_before_a_damage_is_read_and_the_damage_is_named() {
        let text = text();
        let whole = compress(&text, &["-1"]);
        let ends_early = &whole[..whole.len() / 2];
        let mut zeroed = whole.clone();
        zeroed[whole.len() / 2..].fill(0xff);
        for (bytes, least, problem) in [
            (ends_early, text.len() / 4, Some("it ends early")),
            (&zeroed, text.len() / 4, Some("it is damaged")),
            (b"this is no gzip", 0, Some("it is not in gzip format")),
            (b"", 0, Some("it is not in gzip format")),
            (&whole[..9], 0, Some("it is not in gzip format")),
            (&whole[..12], 0, Some("it ends early")),
        ] {
            let file = open(bytes);
            let length = usize::try_from(file.len().unwrap()).unwrap();
            assert!(length >= least && length < text.len(), "{problem:?}: {length}");
            let mut start = vec![0; length.min(100)];
            file.read_at(&mut start, 0).unwrap();
            assert_eq!((&start[..], file.problem().as_deref()), (&text[..start.len()], problem));
        }
    }

    #[test]
    fn endless_content_ends_at_the_limit() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&compress(&vec![0; 5 * SPAN], &["-1"])).unwrap();
        let file = GzipFile::with_limit(file, 2 * SPAN as u64);
        assert_eq!(file.len().unwrap(), 2 * SPAN as u64);
        assert_eq!(file.read_at(&mut [0; 9], 2 * SPAN as u64).unwrap(), 0);
        assert_eq!(file.problem().unwrap(), "it holds more than 8 MiB; the rest is not read");
    }
}

//! Destinations of lines: the output, and the merged log with times.

use crate::entry;
use crate::line_assembler::Piece;
use crate::merged_log::MergedLog;
use crate::output::Output;

/// Size of a write, in bytes, while there is more to read: each write wakes up the reader.
const BLOCK: usize = 256 * 1024;
/// Service of our own notices.
const OWN_LABEL: &str = "logtail";

/// The output and the merged log, which get the same lines.
#[derive(Debug)]
pub struct Sinks {
    /// Nothing after it was closed.
    pub output: Option<Output>,
    record: MergedLog,
    /// Time of the next lines, as it is written.
    pub stamp: String,
}

impl Sinks {
    pub fn new(output: Option<Output>, record: MergedLog, stamp: String) -> Self {
        Self { output, record, stamp }
    }

    /// Buffers a line.
    pub fn push(&mut self, label: &str, piece: Piece<'_>) {
        let record = self.record.buffer();
        record.extend_from_slice(self.stamp.as_bytes());
        record.push(b' ');
        let begin = record.len();
        entry::append_line(record, label, piece);
        if let Some(output) = &mut self.output {
            output.buffer().extend_from_slice(&record[begin..]);
        }
    }

    /// Buffers a notice of our own.
    pub fn push_notice(&mut self, text: &str) {
        self.push(OWN_LABEL, Piece { text: text.as_bytes(), continues: false, ended: true });
    }

    /// True if the buffer should be written before more is read, which bounds the memory.
    pub fn is_full(&mut self) -> bool {
        self.record.buffer().len() >= BLOCK
    }

    /// Writes the merged log. An error is reported in the output, once while it lasts.
    pub fn write_merged_log(&mut self) {
        let Self { record, stamp, .. } = self;
        let had_missed = record.missing() > 0;
        let written =
            record.write(|missing| format!("{stamp} {OWN_LABEL} | {missing} lines dropped\n").into_bytes());
        if let Err(error) = written
            && !had_missed
            && let Some(output) = &mut self.output
        {
            let path = self.record.path().display();
            let text = format!("{OWN_LABEL} | cannot write {path}: {error}; its lines are dropped\n");
            output.buffer().extend_from_slice(text.as_bytes());
        }
    }
}

//! Where lines go: the output, and the record with times.

use crate::entry;
use crate::lines::Piece;
use crate::outlet::Outlet;
use crate::record::Record;

/// Written at once while there is more to read, in bytes: each write wakes up who reads the output.
const BLOCK: usize = 256 * 1024;
/// Whose lines our own remarks are.
const OURSELVES: &str = "logtail";

/// The output and the record, which get the same lines.
#[derive(Debug)]
pub struct Sinks {
    /// Nothing any more, once it was closed.
    pub outlet: Option<Outlet>,
    record: Record,
    /// The time of the next lines, as it is written.
    pub stamp: String,
}

impl Sinks {
    pub fn new(outlet: Option<Outlet>, record: Record, stamp: String) -> Self {
        Self { outlet, record, stamp }
    }

    /// Takes a line; nothing is written yet.
    pub fn put(&mut self, label: &str, piece: Piece<'_>) {
        let record = self.record.buffer();
        record.extend_from_slice(self.stamp.as_bytes());
        record.push(b' ');
        let begin = record.len();
        entry::append(record, label, piece);
        if let Some(outlet) = &mut self.outlet {
            outlet.buffer().extend_from_slice(&record[begin..]);
        }
    }

    /// Takes a line of our own.
    pub fn remark(&mut self, text: &str) {
        self.put(OURSELVES, Piece { text: text.as_bytes(), continues: false, ended: true });
    }

    /// Whether so much waits that it should be written before more is read; this is what bounds our memory.
    pub fn have_a_block(&mut self) -> bool {
        self.record.buffer().len() >= BLOCK
    }

    /// Writes the record. That it cannot be written is said in the output, once for as long as it lasts.
    pub fn write_record(&mut self) {
        let Self { record, stamp, .. } = self;
        let had_missed = record.missing() > 0;
        let written = record.write(|missing| {
            format!("{stamp} {OURSELVES} | {missing} lines are missing here\n").into_bytes()
        });
        if let Err(error) = written
            && !had_missed
            && let Some(outlet) = &mut self.outlet
        {
            let path = self.record.path().display();
            let text = format!("{OURSELVES} | cannot write {path}: {error}; lines are missing there\n");
            outlet.buffer().extend_from_slice(text.as_bytes());
        }
    }
}

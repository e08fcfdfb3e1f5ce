//! Random sequences of log operations: each line is printed once.

use super::*;

/// Number of cases, the same in each run; a failure's message has its number.
const CASES: u64 = 150;
const STEPS: usize = 60;
/// Rotated files that are kept, and rotations between two scans after which every file still has a name.
const KEEP: u32 = 7;
const UNSEEN: u32 = 5;

/// Numbers that look random (xorshift64, Marsaglia 2003).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// A log, the lines written to it, and the lines read from it.
struct Case {
    dir: tempfile::TempDir,
    reader: Reader,
    random: Random,
    written: Vec<String>,
    /// Rest of the last line, not written yet.
    rest: String,
    read: Vec<String>,
    /// The last saved position, and the number of lines read up to it.
    kept: (String, usize),
    /// Rotations since everything was read and saved.
    unseen: u32,
    story: Vec<String>,
}

impl Case {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let reader = Reader::new(dir.path());
        let random = Random::new(seed);
        let (written, read, story, kept) = (Vec::new(), Vec::new(), Vec::new(), (String::new(), 0));
        Self { dir, reader, random, written, rest: String::new(), read, kept, unseen: 0, story }
    }

    fn write(&mut self) {
        let path = self.dir.path().join("x.log");
        for _ in 0..=self.random.below(6) {
            append(&path, &std::mem::take(&mut self.rest));
            // Some lines are nearly equal.
            let fill = "=".repeat([0, 14, 150][self.random.below(3)]);
            let line = format!("{} {fill}", self.written.len());
            let text = format!("{line}\n");
            let cut = if self.random.below(3) == 0 { self.random.below(text.len()) } else { text.len() };
            append(&path, &text[..cut]);
            text[cut..].clone_into(&mut self.rest);
            self.written.push(line);
        }
    }

    fn look(&mut self) {
        let shown = self.reader.text();
        self.read.extend(shown.split(',').filter(|line| !line.is_empty()).map(str::to_owned));
    }

    fn keep(&mut self) {
        self.kept = (serde_json::to_string(&self.reader.stream.checkpoint()).unwrap(), self.read.len());
        // An incomplete line counts as unread until its end is read.
        if self.rest.is_empty() && self.read.len() == self.written.len() {
            self.unseen = 0;
        }
    }

    /// Lines printed since the position was saved are printed again.
    fn resume(&mut self) {
        self.reader.resume(&self.kept.0);
        self.read.truncate(self.kept.1);
    }

    fn step(&mut self) {
        let path = self.dir.path().join("x.log");
        let kind = self.random.below(13);
        match kind {
            0..=3 => self.write(),
            4 | 5 if self.unseen < UNSEEN && path.exists() => {
                rename(self.dir.path(), KEEP);
                self.unseen += 1;
            }
            6 if self.unseen < UNSEEN && path.exists() => {
                copy_and_cut(self.dir.path(), KEEP);
                self.unseen += 1;
            }
            7 if path.exists() && self.rest.is_empty() => {
                // A file without a name cannot be found at the next scan; neither can half a line after a restart.
                self.look();
                fs::remove_file(&path).unwrap();
                self.keep();
            }
            8 => {
                self.keep();
                self.resume();
            }
            9 => self.resume(),
            10 => self.keep(),
            _ => self.look(),
        }
        self.story.push(format!("{kind}:{}/{}", self.written.len(), self.read.len()));
    }

    fn end(&mut self) {
        append(&self.dir.path().join("x.log"), &std::mem::take(&mut self.rest));
        self.look();
    }
}

#[test]
fn whatever_happens_to_a_log_each_line_is_shown_once() {
    for seed in 0..CASES {
        let mut case = Case::new(seed);
        // Files rotated before the first scan are not known to be new.
        append(&case.dir.path().join("x.log"), "");
        case.look();
        case.keep();
        (0..STEPS).for_each(|_| case.step());
        case.end();
        let differs = case.read.iter().zip(&case.written).position(|(read, written)| read != written);
        assert_eq!((case.read.len(), differs), (case.written.len(), None), "case {seed}: {:?}", case.story);
    }
}

//! Rotations of every kind between two scans: each line is printed once, or a gap is reported.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::random::Random;
use super::*;

const CASES: u64 = 600;
/// Number of the reader's absences in each case.
const STOPS: usize = 4;

/// Reason for the reader's absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absence {
    Restart,
    /// It was blocked, as by a full disk or SIGSTOP.
    Pause,
    /// Everything happened between two scans.
    No,
}

/// Configuration of a log's rotation.
#[derive(Debug)]
struct Style {
    names: Names,
    /// Copies and truncates instead of renaming.
    copies: bool,
    compress: Compress,
    /// Number of files that are kept.
    keep: usize,
    /// The file is moved to another directory.
    leaves: bool,
    /// Lines that start with the same bytes, as many as a fingerprint covers.
    alike: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Numbers,
    /// `x.log-20261128-1732752000`.
    Dates,
    /// `x.log.28-11-2026`: does not sort by time.
    DayFirst,
    /// `x-20261128.log`.
    BeforeExtension,
    /// `x.log-1128`.
    MonthDay,
    /// `x.log.28-Nov-2026`.
    MonthName,
    /// `x.log.2026-11-28T10:00:00+00:00`.
    Offset,
    /// `x.log.Fri`.
    Weekday,
    /// `x.log.old`, and `x.log.older` before it.
    Words,
    /// `x.log.1`, `x.log.2`: the newest has the highest number.
    Rising,
    /// `x-old.log`, which is a log of its own.
    OldBeforeExtension,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compress {
    Never,
    AtOnce,
    Delayed,
}

/// A log and its rotated files, the newest first.
struct Log {
    dir: tempfile::TempDir,
    style: Style,
    rotated: Vec<PathBuf>,
    rotations: u32,
    written: Vec<String>,
}

impl Log {
    fn base(&self) -> PathBuf {
        self.dir.path().join("x.log")
    }

    fn write(&mut self, path: &Path, lines: usize) {
        for _ in 0..lines {
            let number = self.written.len();
            let line =
                if self.style.alike { format!("{}{number}", "=".repeat(300)) } else { number.to_string() };
            append(path, &format!("{line}\n"));
            self.written.push(line);
        }
    }

    fn name(&self) -> String {
        let day = self.rotations;
        match self.style.names {
            Names::Numbers => "x.log.1".to_owned(),
            Names::Dates => format!("x.log-202611{day:02}-{}", 1_732_752_000 + day),
            Names::DayFirst => format!("x.log.{:02}-11-2026", 30 - day % 28),
            Names::BeforeExtension => format!("x-202611{day:02}.log"),
            Names::MonthDay => format!("x.log-11{day:02}"),
            Names::MonthName => format!("x.log.{:02}-Nov-2026", 30 - day % 28),
            Names::Offset => format!("x.log.2026-11-{day:02}T10:00:00+00:00"),
            Names::Weekday => {
                let days = ["Fri", "Sat", "Sun", "Mon", "Tue", "Wed", "Thu"];
                format!("x.log.{}", days[day as usize % days.len()])
            }
            Names::Words => "x.log.old".to_owned(),
            Names::Rising => format!("x.log.{day}"),
            Names::OldBeforeExtension => "x-old.log".to_owned(),
        }
    }

    fn rotate(&mut self) {
        self.rotations += 1;
        if self.style.names == Names::Words && self.rotated.len() == 2 {
            fs::remove_file(self.rotated.pop().unwrap()).unwrap();
        }
        if let (Names::Words, Some(old)) = (self.style.names, self.rotated.first_mut()) {
            let to = PathBuf::from(old.to_str().unwrap().replace("log.old", "log.older"));
            fs::rename(&*old, &to).unwrap();
            *old = to;
        }
        if self.style.names == Names::Numbers {
            for index in (0..self.rotated.len()).rev() {
                let gz = if self.rotated[index].extension().unwrap() == "gz" { ".gz" } else { "" };
                let to = self.rotated[index].with_file_name(format!("x.log.{}{gz}", index + 2));
                fs::rename(&self.rotated[index], &to).unwrap();
                self.rotated[index] = to;
            }
        }
        let mut to = self.dir.path().join(self.name());
        if self.style.leaves {
            fs::create_dir_all(self.dir.path().join("old")).unwrap();
            to = self.dir.path().join("old").join(self.name());
        }
        if self.style.copies {
            fs::copy(self.base(), &to).unwrap();
            File::options().write(true).open(self.base()).unwrap().set_len(0).unwrap();
        } else {
            fs::rename(self.base(), &to).unwrap();
            append(&self.base(), "");
        }
        let date = UNIX_EPOCH + Duration::from_secs(u64::from(self.rotations) * 86_400);
        File::options().append(true).open(&to).unwrap().set_modified(date).unwrap();
        self.rotated.retain(|path| *path != to);
        self.rotated.insert(0, to);
        match self.style.compress {
            Compress::AtOnce => self.compress(0),
            Compress::Delayed if self.rotated.len() > 1 => self.compress(1),
            _ => {}
        }
        if self.rotated.len() > self.style.keep {
            fs::remove_file(self.rotated.pop().unwrap()).unwrap();
        }
    }

    /// Like gzip(1), which keeps the modification time.
    fn compress(&mut self, index: usize) {
        let path = &self.rotated[index];
        if path.extension().unwrap() == "gz" {
            return;
        }
        let to = PathBuf::from(format!("{}.gz", path.display()));
        let mut gzip = GzEncoder::new(File::create(&to).unwrap(), Compression::fast());
        std::io::copy(&mut File::open(path).unwrap(), &mut gzip).unwrap();
        gzip.finish().unwrap().set_modified(fs::metadata(path).unwrap().modified().unwrap()).unwrap();
        fs::remove_file(path).unwrap();
        self.rotated[index] = to;
    }
}

fn style(random: &mut Random) -> Style {
    use Compress::{AtOnce, Delayed, Never};
    const NAMES: [Names; 11] = [
        Names::Numbers,
        Names::Dates,
        Names::DayFirst,
        Names::BeforeExtension,
        Names::MonthDay,
        Names::MonthName,
        Names::Offset,
        Names::Weekday,
        Names::Words,
        Names::Rising,
        Names::OldBeforeExtension,
    ];
    let names = NAMES[random.below(NAMES.len())];
    Style {
        names,
        copies: random.below(2) == 0,
        compress: [Never, AtOnce, Delayed][random.below(3)],
        keep: match names {
            Names::OldBeforeExtension => 1,
            Names::Words => 2,
            // A name is reused after seven days.
            Names::Weekday => [1, 2, 6][random.below(3)],
            _ => [1, 2, 7][random.below(3)],
        },
        leaves: random.below(8) == 0,
        alike: random.below(4) == 0,
    }
}

#[test]
fn after_any_rotation_each_line_is_shown_once_or_a_gap_is_reported() {
    for absence in [Absence::Restart, Absence::Pause, Absence::No] {
        check(absence);
    }
}

fn check(absence: Absence) {
    let (mut whole, mut gaps) = (0, 0);
    for seed in 0..CASES {
        let mut random = Random::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut reader = Reader::new(dir.path());
        let style = style(&mut random);
        let mut log = Log { dir, style, rotated: Vec::new(), rotations: 0, written: Vec::new() };
        let base = log.base();
        append(&base, "");
        let mut story = Vec::new();
        for _ in 0..STOPS {
            let lines = random.below(4);
            log.write(&base, 1 + lines);
            let mut shown = reader.text();
            if random.below(3) == 0 {
                // A file that was seen, as most are.
                log.rotate();
                log.write(&base, 1);
                shown = format!("{shown},{}", reader.text());
            }
            reader.stream.take_gaps();
            let kept = serde_json::to_string(&reader.stream.checkpoint()).unwrap();
            let before = log.written.len();
            let rotations = random.below(4);
            for rotation in 0..rotations {
                let lines = random.below(4);
                log.write(&base, 1 + lines);
                log.rotate();
                if !log.style.copies && log.style.compress != Compress::AtOnce && random.below(3) == 0 {
                    // Its writer still has it open.
                    let newest = log.rotated[0].clone();
                    let date = fs::metadata(&newest).unwrap().modified().unwrap();
                    log.write(&newest, 1);
                    // The file read last is known by its identity; only times show whether the numbers rise.
                    if rotation > 0 || log.style.names == Names::Rising {
                        File::options().append(true).open(&newest).unwrap().set_modified(date).unwrap();
                    }
                }
            }
            let lines = random.below(2);
            log.write(&base, lines);
            if absence == Absence::Restart {
                reader.resume(&kept);
            }
            let text =
                reader.text_after(if absence == Absence::Pause { MAX_SCAN_INTERVAL } else { Duration::ZERO });
            let lost = reader.stream.take_gaps();
            let told = lost != Gaps::default();
            story.push((shown, before, rotations, text.clone(), told));
            let got: Vec<&str> = text.split(',').filter(|line| !line.is_empty()).collect();
            let mut expected = log.written[before..].iter().map(String::as_str);
            // In order, without duplicates and older lines.
            let in_order = got.iter().all(|line| expected.any(|written| written == *line));
            let all = got.len() == log.written.len() - before;
            assert!(in_order, "{absence:?}, case {seed}, {:?}: {story:#?}", log.style);
            // A file removed or truncated between two scans leaves no trace; a follower that scans at once has read it.
            let is_traceless = absence == Absence::No
                && (log.style.leaves || log.style.copies || log.style.names == Names::OldBeforeExtension);
            assert!(
                all || told || is_traceless,
                "{absence:?}, case {seed} is not told, {:?}: {story:#?}",
                log.style
            );
            let found = !log.style.leaves && log.style.names != Names::OldBeforeExtension;
            let none_went = found && rotations < log.style.keep;
            assert!(
                !none_went || (all && !told),
                "{absence:?}, case {seed} lost or alarmed, {:?}: {story:#?}",
                log.style
            );
            whole += usize::from(all && rotations > 0);
            gaps += usize::from(!all);
        }
    }
    assert!(whole > 400 && gaps > 100, "{absence:?}: the cases say nothing: {whole} whole, {gaps} with gaps");
}

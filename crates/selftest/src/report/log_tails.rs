//! Last lines of logs of programs and stages that failed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use journal::StageResult;

use crate::context::Context;

/// Lines of each log.
const LINES: usize = 40;
/// Bytes read from its end.
const BYTES: u64 = 16 * 1024;
/// Number of logs.
const LOGS: usize = 8;
/// Logs of programs that see every fault.
const ALWAYS: [&str; 2] = ["/var/log/supervisor/supervisord.log", "/var/log/supervisor/boot.log"];

/// Returns path and last lines of each log.
pub fn of(context: &Context) -> Vec<(String, String)> {
    let programs = context.journal.down_programs().into_iter().filter_map(|program| program.log);
    let stages = context.timeline.iter().flat_map(|timeline| &timeline.stages);
    let failed = stages.filter(|run| run.result == Some(StageResult::Failed));
    let stages = failed.map(|run| format!("/var/log/{}.log", run.stage.log()));
    let mut paths: Vec<String> =
        ALWAYS.map(str::to_owned).into_iter().chain(programs).chain(stages).collect();
    paths.dedup();
    // A program may name a log anywhere, also on a volume that does not respond.
    paths.retain(|path| path.starts_with("/var/log/"));
    paths.truncate(LOGS);
    let tail = |path: String| {
        let text = tail(Path::new(&path)).unwrap_or_else(|error| format!("cannot read it: {error}"));
        (path, text)
    };
    paths.into_iter().map(tail).collect()
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(BYTES)))?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes)?;
    Ok(last_lines(&String::from_utf8_lossy(&bytes), size > BYTES))
}

/// Returns the last lines without control characters; the first one of a part is not whole.
fn last_lines(text: &str, is_part: bool) -> String {
    let lines: Vec<&str> = text.lines().skip(usize::from(is_part)).collect();
    let shown = &lines[lines.len().saturating_sub(LINES)..];
    let plain = shown.iter().map(|line| {
        let line = terminal::plain_text::line(line.as_bytes());
        String::from_utf8_lossy(&line).into_owned()
    });
    plain.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_lines_are_shown_as_text() {
        let text = (0..100).map(|number| format!("line {number}")).collect::<Vec<_>>().join("\n");
        let lines = last_lines(&text, false);
        assert_eq!((lines.lines().count(), lines.lines().next()), (40, Some("line 60")));
        assert_eq!(last_lines("rest\n\u{1b}[31mred\u{1b}[0m\n", true), "red");
    }
}

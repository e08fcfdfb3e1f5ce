//! Diagnostics on stderr; stdout is for results.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::quote::escape_control;

struct Stderr {
    tool: &'static str,
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let severity = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info => "",
            Level::Debug | Level::Trace => "debug: ",
        };
        // A message that cannot be written must not end the tool.
        let _ =
            io::stderr().write_all(prefixed(self.tool, &format!("{severity}{}", record.args())).as_bytes());
    }

    fn flush(&self) {}
}

/// True if every line carries the tool's name as a prefix.
static IN_STREAM: AtomicBool = AtomicBool::new(false);

/// Like [`init`], for a tool that writes directly to the container's output: each line starts with the tool's name, in
/// the format of `logtail`.
pub fn init_prefixed(tool: &'static str) {
    IN_STREAM.store(true, Ordering::Relaxed);
    init(tool, 0);
}

/// Formats a message: `tool: text`, or with prefixes `tool | text` for each line.
pub(crate) fn prefixed(tool: &str, text: &str) -> String {
    attribute(tool, &escape_control(text), is_prefixed())
}

pub(crate) fn is_prefixed() -> bool {
    IN_STREAM.load(Ordering::Relaxed)
}

fn attribute(tool: &str, text: &str, in_stream: bool) -> String {
    if in_stream {
        text.lines().flat_map(|line| [tool, " | ", line, "\n"]).collect()
    } else {
        format!("{tool}: {text}\n")
    }
}

/// Sends `log` records to stderr: warnings and errors always, progress from `verbosity` 0 on, details from 1 on.
///
/// `-q` is -1, each `-v` adds 1. Calling it twice keeps the first tool name.
pub fn init(tool: &'static str, verbosity: i8) {
    log::set_max_level(level(verbosity));
    // Fails only if a logger exists already, as in tests of one process.
    let _ = log::set_boxed_logger(Box::new(Stderr { tool }));
}

fn level(verbosity: i8) -> LevelFilter {
    match verbosity {
        ..0 => LevelFilter::Warn,
        0 => LevelFilter::Info,
        1.. => LevelFilter::Debug,
    }
}

/// Amount of diagnostics on stderr: `-q` and `-v` of the tools that have progress or details to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct Verbosity {
    /// Print only results, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print details as well
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Verbosity {
    /// Applies the choice to everything that is logged from now on.
    pub fn apply(self) {
        log::set_max_level(self.level());
    }

    fn level(self) -> LevelFilter {
        level(if self.quiet { -1 } else { i8::try_from(self.verbose).unwrap_or(i8::MAX) })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn each_line_of_a_prefixed_message_has_the_tools_name() {
        let text = "warning: one\nhint: two";
        assert_eq!(attribute("init", text, true), "init | warning: one\ninit | hint: two\n");
        assert_eq!(attribute("init", text, false), "init: warning: one\nhint: two\n");
    }

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        verbosity: Verbosity,
    }

    #[test]
    fn quiet_prints_warnings_and_verbose_prints_details() {
        let level = |arguments: &[&str]| {
            let arguments = ["tool"].iter().chain(arguments);
            Cli::try_parse_from(arguments).ok().map(|cli| cli.verbosity.level())
        };
        assert_eq!(level(&[]), Some(LevelFilter::Info));
        assert_eq!(level(&["-q"]), Some(LevelFilter::Warn));
        assert_eq!(level(&["-vv"]), Some(LevelFilter::Debug));
        assert_eq!(level(&["-q", "-v"]), None);
    }
}

//! Forms in which lines are printed.

use std::io::{self, Write};

use log_history::Level;

use crate::entry::Entry;

/// Form of a printed line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    Plain,
    Coloured,
    Json,
}

/// Colours of services (ECMA-48, SGR): neither red nor yellow, which are levels.
const SERVICES: [u8; 8] = [32, 34, 35, 36, 92, 94, 95, 96];

impl OutputFormat {
    /// Prints one line.
    pub fn print(self, out: &mut dyn Write, entry: &Entry<'_>) -> io::Result<()> {
        let Entry { at, service, level, text } = entry;
        match self {
            Self::Json => {
                serde_json::to_writer(&mut *out, entry)?;
                writeln!(out)
            }
            Self::Plain => match at {
                Some(at) => writeln!(out, "{at} {service} | {text}"),
                None => writeln!(out, "{service} | {text}"),
            },
            Self::Coloured => {
                if let Some(at) = at {
                    write!(out, "\x1b[2m{at}\x1b[0m ")?;
                }
                write!(out, "\x1b[{}m{service}\x1b[0m | ", colour(service))?;
                match level {
                    Some(Level::Error) => writeln!(out, "\x1b[31m{text}\x1b[0m"),
                    Some(Level::Warning) => writeln!(out, "\x1b[33m{text}\x1b[0m"),
                    Some(Level::Debug) => writeln!(out, "\x1b[2m{text}\x1b[0m"),
                    Some(Level::Info) | None => writeln!(out, "{text}"),
                }
            }
        }
    }
}

/// Returns the colour of a service, independent of other services.
fn colour(service: &str) -> u8 {
    let sum = service.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    SERVICES[sum % SERVICES.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "2026-11-24T00:25:58.123Z caddy | ERROR 7";

    #[test]
    fn each_form_has_its_own_look() {
        let entry = Entry::parse(LINE).unwrap();
        let printed = |form: OutputFormat, entry: &Entry<'_>| {
            let mut out = Vec::new();
            form.print(&mut out, entry).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(printed(OutputFormat::Plain, &entry), format!("{LINE}\n"));
        assert_eq!(
            printed(OutputFormat::Json, &entry),
            "{\"at\":\"2026-11-24T00:25:58.123Z\",\"service\":\"caddy\",\"level\":\"error\",\"text\":\"ERROR 7\"}\n"
        );
        let own = Entry::new(None, "caddy", "7");
        assert_eq!(printed(OutputFormat::Plain, &own), "caddy | 7\n");
        let coloured = printed(OutputFormat::Coloured, &entry);
        assert!(coloured.ends_with("\x1b[0m | \x1b[31mERROR 7\x1b[0m\n"), "{coloured:?}");
    }
}

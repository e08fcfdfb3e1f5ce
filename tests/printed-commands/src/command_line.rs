//! Judges a printed command by the tool's own command line.

use clap::Command;
use clap::error::ErrorKind;

use crate::has_placeholder;

/// Returns why `tool` refuses `words`, the first of which is its name; `None` if it takes them.
///
/// A placeholder counts as a valid value, and a mention may leave out what is required.
#[must_use]
pub fn error(tool: Command, words: &[String], is_mention: bool) -> Option<String> {
    let error = tool.try_get_matches_from(words).err()?;
    let line = words.join(" ");
    let is_fine = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::InvalidValue if is_mention && words.last().is_some_and(|word| word.starts_with('-')) => {
            true
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => has_placeholder(&line) || line.contains('{'),
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => is_mention,
        _ => false,
    };
    (!is_fine).then(|| format!("{line}: {}", error.to_string().lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use clap::{Arg, value_parser};

    use super::*;

    #[test]
    fn options_that_do_not_exist_are_named_and_placeholders_are_values() {
        let tool = || {
            let port = Arg::new("port").long("port").value_parser(value_parser!(u16)).required(true);
            Command::new("x").arg(port)
        };
        let of = |line: &str, is_mention| {
            error(tool(), &line.split(' ').map(str::to_owned).collect::<Vec<_>>(), is_mention)
        };
        assert_eq!(of("x --port PORT", false), None);
        assert_eq!(of("x", true), None);
        assert!(of("x", false).is_some());
        assert!(of("x --port http", false).is_some());
        let unknown = of("x --prot 1", true).unwrap();
        assert!(unknown.contains("x --prot 1: error: unexpected argument '--prot'"), "{unknown}");
    }
}

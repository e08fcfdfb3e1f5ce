//! The words that a shell completes, for `/usr/lib/leonardo/complete`.
//!
//! Not the scripts of `clap_complete`: they offer hidden options, in bash nothing after the first argument, and in no shell
//! names that only the container has.

use clap::builder::ValueHint;
use clap::{Arg, Command};

/// Kinds of names that the container knows, by tool and name of the value.
const NAMES: &[(&str, &str, &str)] = &[
    ("direct-url", "PORT", "@ports"),
    ("env-store", "NAME", "@variables"),
    ("logtail", "SERVICE", "@logs"),
    ("selftest", "CHECK", "@checks"),
    ("service-run", "USER", "@users"),
    ("share", "SERVICE", "@services"),
    ("sshd-run", "USER", "@users"),
    ("supervisorctl", "PROGRAM", "@programs"),
    ("workspace-sync", "NAME", "@trees"),
];

/// Adds the rows of a built command and its subcommands: four columns, separated by tabs.
///
/// 1. The command, such as `boot wait`.
/// 2. An option; a subcommand; `1` for the first argument, `*` for all that remain, `--` for all after `--`.
/// 3. `flag`; `command`; `text` for a value that only the user knows; `=VALUE`, one row each; `@KIND` of names.
/// 4. The description, which may be empty.
pub fn add(rows: &mut String, command: &Command) {
    let path = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut row = |word: &str, takes: &str, about: Option<String>| {
        let about = about.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        rows.extend([path, "\t", word, "\t", takes, "\t", &about, "\n"]);
    };
    for below in visible(command) {
        row(below.get_name(), "command", below.get_about().map(ToString::to_string));
    }
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        for word in spellings(argument) {
            for (takes, about) in values(path, argument) {
                row(&word, &takes, about);
            }
        }
    }
    for below in visible(command) {
        add(rows, below);
    }
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set())
}

fn spellings(argument: &Arg) -> Vec<String> {
    if let Some(index) = argument.get_index() {
        let many = argument.get_num_args().is_some_and(|count| count.max_values() > 1);
        return vec![match (argument.is_last_set(), many && !argument.is_trailing_var_arg_set()) {
            (true, _) => "--".to_owned(),
            (false, true) => "*".to_owned(),
            (false, false) => index.to_string(),
        }];
    }
    let short = argument.get_short().map(|letter| format!("-{letter}"));
    let long = argument.get_long().map(|word| format!("--{word}"));
    short.into_iter().chain(long).collect()
}

/// Third and fourth column of an argument's rows.
fn values(path: &str, argument: &Arg) -> Vec<(String, Option<String>)> {
    let about = argument.get_help().map(ToString::to_string);
    if !argument.get_action().takes_values() {
        return vec![("flag".to_owned(), about)];
    }
    // The first row of an option is the one that describes it.
    let option = (!argument.is_positional()).then(|| ("text".to_owned(), about.clone()));
    let possible = argument.get_possible_values();
    let possible = possible.iter().filter(|value| !value.is_hide_set());
    let fixed: Vec<_> = possible
        .map(|value| (format!("={}", value.get_name()), value.get_help().map(ToString::to_string)))
        .collect();
    if fixed.is_empty() {
        return vec![(kind(path, argument).to_owned(), about)];
    }
    option.into_iter().chain(fixed).collect()
}

fn kind(path: &str, argument: &Arg) -> &'static str {
    let tool = path.split(' ').next();
    let value = argument.get_value_names().and_then(<[_]>::first).map(clap::builder::Str::as_str);
    let named = NAMES
        .iter()
        .find(|(of, name, _)| Some(*of) == tool && value.is_some_and(|v| v.eq_ignore_ascii_case(name)));
    if let Some((.., kind)) = named {
        return kind;
    }
    match argument.get_value_hint() {
        ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath => "@files",
        _ if value == Some("COMMAND") => "@command",
        _ => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages;
    use crate::pages::tests::lamp;
    use crate::tools::TOOLS;

    #[test]
    fn what_help_hides_is_not_offered_and_a_value_has_a_row_of_its_own() {
        let mut command = lamp();
        command.build();
        let mut rows = String::new();
        add(&mut rows, &command);
        let rows: Vec<_> = rows.lines().collect();
        assert_eq!(
            rows,
            [
                "lamp\tblink\tcommand\tBlink a message",
                "lamp\t-c\ttext\tTake the glass of this colour",
                "lamp\t-c\t=red\t",
                "lamp\t-c\t=green\t",
                "lamp\t--colour\ttext\tTake the glass of this colour",
                "lamp\t--colour\t=red\t",
                "lamp\t--colour\t=green\t",
                "lamp\t--socket\ttext\tUse `this|that` <socket>",
                "lamp\t-h\tflag\tPrint help",
                "lamp\t--help\tflag\tPrint help",
                "lamp\t-V\tflag\tPrint version",
                "lamp\t--version\tflag\tPrint version",
                "lamp blink\t*\ttext\tWhat to say",
                "lamp blink\t--socket\ttext\tUse `this|that` <socket>",
                "lamp blink\t-h\tflag\tPrint help",
                "lamp blink\t--help\tflag\tPrint help",
            ]
        );
    }

    #[test]
    fn every_kind_of_names_is_used() {
        let pages = pages::all(TOOLS).unwrap();
        let words = &pages[std::path::Path::new("completion/words.tsv")];
        for (tool, value, kind) in NAMES {
            let mut rows = words.lines().filter(|row| row.starts_with(tool));
            assert!(rows.any(|row| row.contains(&format!("\t{kind}\t"))), "{tool} has no {value}");
        }
    }
}

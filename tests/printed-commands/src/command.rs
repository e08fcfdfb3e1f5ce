//! Finds the commands that a page prints.

use crate::{blocks, prose};

/// Programs that run the command after their own options.
const WRAPPERS: [&str; 4] = ["sudo", "eval", "RUN", "&&"];
/// Options of `docker exec` with a value of their own.
const WITH_VALUE: [&str; 6] = ["-e", "--env", "-u", "--user", "-w", "--workdir"];

/// A command of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrintedCommand {
    /// Number of its line, from 1.
    pub line: usize,
    /// Program and arguments, as the shell would split them.
    pub words: Vec<String>,
    /// True in prose, where arguments may be left out.
    pub is_mention: bool,
}

/// Returns the commands of a page: of code blocks, and of code in prose that has more than one word.
#[must_use]
pub fn commands(page: &str) -> Vec<PrintedCommand> {
    let mut found = Vec::new();
    for block in blocks(page) {
        let mut add = |line: usize, text: &str, is_mention: bool| {
            found.extend(split(text).into_iter().map(|words| PrintedCommand { line, words, is_mention }));
        };
        match block.language {
            "sh" | "dockerfile" => {
                joined(&block.text).for_each(|(at, line)| add(block.line + at, &line, false));
            }
            "ini" => block.text.lines().enumerate().for_each(|(at, line)| {
                if let Some(command) = line.strip_prefix("command=") {
                    add(block.line + at, command, false);
                }
            }),
            // The end of a tool's help: examples are indented, all else has its heading.
            "text" => {
                let examples = block.text.split_once("Examples:\n").map_or("", |(_, rest)| rest);
                let examples = examples.lines().map_while(|line| line.strip_prefix("  "));
                // What the command does comes after two spaces.
                examples.for_each(|line| add(block.line, line.split("  ").next().unwrap_or(line), false));
            }
            _ => {}
        }
    }
    for (line, text) in prose(page) {
        for code in text.split('`').skip(1).step_by(2) {
            let code = code.replace("\\|", "|").replace("[-", "-").replace(']', "");
            let mentioned = split(&code).into_iter().filter(|words| words.len() > 1);
            found.extend(mentioned.map(|words| PrintedCommand { line, words, is_mention: true }));
        }
    }
    found
}

/// Returns whether a line of a page cannot be run as it is, because it has `…` or a word in capitals that the reader
/// replaces.
#[must_use]
pub fn has_placeholder(line: &str) -> bool {
    let line = line.split(" #").next().unwrap_or_default();
    let is_placeholder = |word: &str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase());
    // Names of variables are in capitals too, after `$` or before `=`.
    line.contains('…')
        || line
            .split([' ', '/', ':', '\'', '"'])
            .any(|word| word.split('=').next_back().is_some_and(is_placeholder))
}

/// Lines with their numbers from 0; those that end in a backslash with the next ones.
fn joined(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut lines = text.lines().enumerate();
    std::iter::from_fn(move || {
        let (at, first) = lines.next()?;
        let mut line = first.to_owned();
        while let Some(kept) = line.strip_suffix('\\') {
            line = kept.to_owned() + lines.next().map_or("", |(_, next)| next.trim_start());
        }
        Some((at, line))
    })
}

/// Splits a line into its commands, without what only leads to them; nothing if it is not a shell's line.
fn split(line: &str) -> Vec<Vec<String>> {
    let Some(words) = shlex::split(line) else { return Vec::new() };
    let parts = words.split(|word| ["|", "||", "&&", ";", "&"].contains(&word.as_str()));
    parts.flat_map(innermost).collect()
}

fn innermost(words: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for inner in words.iter().filter_map(|word| word.split_once("$(")?.1.rsplit_once(')')) {
        found.extend(split(inner.0));
    }
    let end = words.iter().position(|word| word.starts_with(['>', '<']) || word.starts_with("2>"));
    let mut words = &words[..end.unwrap_or(words.len())];
    loop {
        let texts: Vec<&str> = words.iter().map(String::as_str).collect();
        let skipped = match texts.as_slice() {
            [first, ..] if WRAPPERS.contains(first) || is_assignment(first) => 1,
            ["docker", "exec", rest @ ..] => {
                let mut at = 0;
                while let Some(option) = rest.get(at).filter(|word| word.starts_with('-')) {
                    at += if WITH_VALUE.contains(option) { 2 } else { 1 };
                }
                3 + at
            }
            ["docker", "run", rest @ ..] => {
                let Some(at) = rest.iter().position(|word| *word == "init.sh") else { break };
                2 + at
            }
            ["bash", "-c" | "-lc", script, ..] => {
                found.extend(split(script));
                return found;
            }
            _ => break,
        };
        words = words.get(skipped..).unwrap_or_default();
    }
    found.extend((!words.is_empty()).then(|| words.to_vec()));
    found
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str) -> Vec<String> {
        commands(page).iter().map(|command| format!("{} {}", command.line, command.words.join(" "))).collect()
    }

    #[test]
    fn a_command_is_found_behind_what_leads_to_it() {
        let page = "\
See `logtail -n 5`, `logtail` and `a \\| share --list`.
```sh no-test: why
docker exec -it -u user leonardo bash -lc 'env | grep WEB_'   # note
eval \"$(cargo xtask engine env)\"
docker run -e X=1 leonardo/base-image:cpu-22.04 init.sh \\
    Y=2
docker stop leonardo && FOO=1 sudo gpu-limit exec -- python3 train.py > out
```
```ini
command=service-run --port 8080 -- x {listen}
```
";
        let expected = [
            "3 env",
            "3 grep WEB_",
            "4 cargo xtask engine env",
            "4 $(cargo xtask engine env)",
            "5 init.sh Y=2",
            "7 docker stop leonardo",
            "7 gpu-limit exec -- python3 train.py",
            "10 service-run --port 8080 -- x {listen}",
            "1 logtail -n 5",
            "1 share --list",
        ];
        assert_eq!(found(page), expected);
    }

    #[test]
    fn a_line_for_the_reader_to_complete_is_recognized() {
        for line in [
            "docker run …",
            "share --revoke ID",
            "docker commit CONTAINER IMAGE",
            "ssh root@localhost:PORT/x",
        ] {
            assert!(has_placeholder(line), "{line}");
        }
        for line in ["env | grep WEB_", "a -e X=1 # ID", "curl -H \"$auth\" $HOME"] {
            assert!(!has_placeholder(line), "{line}");
        }
    }
}

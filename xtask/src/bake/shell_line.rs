//! A command as a line that can be pasted into a shell; the line is only shown, nothing here ever runs it.

use std::borrow::Cow;
use std::process::Command;

/// Directory, environment, program and arguments of `command`, quoted where a shell would change them.
pub fn line(command: &Command) -> String {
    let mut words: Vec<String> = Vec::new();
    if let Some(directory) = command.get_current_dir() {
        words.extend(["cd".to_owned(), quoted(&directory.to_string_lossy()).into_owned(), "&&".to_owned()]);
    }
    // `env` takes its options before the assignments, so removed variables come first.
    let (set, removed): (Vec<_>, Vec<_>) = command.get_envs().partition(|(_, value)| value.is_some());
    if !set.is_empty() || !removed.is_empty() {
        words.push("env".to_owned());
    }
    for (name, _) in removed {
        words.extend(["-u".to_owned(), quoted(&name.to_string_lossy()).into_owned()]);
    }
    for (name, value) in set {
        let value = value.unwrap_or_default().to_string_lossy();
        words.push(format!("{}={}", name.to_string_lossy(), quoted(&value)));
    }
    words.push(quoted(&command.get_program().to_string_lossy()).into_owned());
    words.extend(command.get_args().map(|word| quoted(&word.to_string_lossy()).into_owned()));
    words.join(" ")
}

fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_very_arguments_back() {
        let words = [
            "",
            "a b",
            "it's",
            "*.args.A=$(id)",
            "`x`",
            "new\nline",
            "plain-1.2:3/4",
            "\"",
            "\\",
            "~",
            "#",
            "é",
        ];
        let mut command = Command::new("printf");
        command.arg("%s\\0").args(words).env("NAME", "a 'b'").env_remove("GONE").current_dir("/");
        let printed = line(&command);
        let output = Command::new("sh").arg("-c").arg(&printed).output().unwrap();
        let read: Vec<_> = output.stdout.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
        assert_eq!(read[..words.len()], words, "{printed}");
        assert!(
            printed.starts_with(r"cd / && env -u GONE NAME='a '\''b'\''' printf '%s\0' '' 'a b' "),
            "{printed}"
        );
    }

    #[test]
    fn what_needs_no_quotes_has_none() {
        let mut command = Command::new("docker");
        command.args(["buildx", "bake", "--file", "docker-bake.hcl", "--set", "x.args.A=1", "cpu-22_04"]);
        assert_eq!(line(&command), "docker buildx bake --file docker-bake.hcl --set x.args.A=1 cpu-22_04");
    }
}

//! The real binary, with stores of its own.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.0.path().join("environment.sh")).unwrap_or_default()
    }

    fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_env-store"));
        command.env_clear().env("PATH", env!("PATH")).env("GIVEN", "given");
        command.arg("--file").arg(self.0.path().join("environment.sh")).args(words);
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }

    /// It works, and prints this.
    #[track_caller]
    fn well(&self, words: &[&str], printed: &str) {
        assert_eq!(self.run(words), (Some(0), printed.to_owned(), String::new()), "{words:?}");
    }
}

#[test]
fn what_is_set_is_stored_for_shells_and_what_is_unset_is_gone() {
    let place = Place::new();
    place.well(&["set", "A=it's", "B=b=c==", "C="], "");
    assert!(
        place.text().contains("export A='it'\\''s'\nexport B='b=c=='\nexport C=''\n"),
        "{}",
        place.text()
    );
    let mode = std::fs::metadata(place.0.path().join("environment.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    place.well(&["set", "A=later"], "");
    place.well(&["unset", "B", "NEVER_STORED"], "");
    place.well(&["list"], "A=later\nC=\n");
    place.well(&["unset", "A", "C"], "");
    place.well(&["list"], "");
}

#[test]
fn a_wrong_name_stores_nothing_of_the_whole_command() {
    let place = Place::new();
    for (word, reason) in [
        ("1A=x", "1A: not a variable name (letters, digits and _, no digit first)"),
        ("HOME=x", "HOME: it has a different value in every session, so it is not stored"),
        ("UID=x", "UID: it is reserved by the shell, so it is not stored"),
        ("A", "A is not NAME=VALUE"),
    ] {
        let (code, out, err) = place.run(&["set", "GOOD=1", word]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{word}");
        assert!(err.contains(reason), "{err}");
    }
    assert_eq!(place.text(), "");
}

#[test]
fn a_list_has_no_secrets_unless_they_are_asked_for() {
    let place = Place::new();
    let assignments = ["HF_TOKEN=t0p", "HTTPS_PROXY=http://ada:sesame@proxy:1", "PLAIN=https://h/a@b"];
    place.well(&[&["set"], &assignments[..]].concat(), "");
    place.well(&["list"], "HF_TOKEN=********\nHTTPS_PROXY=http://********@proxy:1\nPLAIN=https://h/a@b\n");
    place.well(&["list", "--show-secrets"], &(assignments.join("\n") + "\n"));
    let object = r#"{"HF_TOKEN":"********","HTTPS_PROXY":"http://********@proxy:1","PLAIN":"https://h/a@b"}"#;
    place.well(&["list", "--json"], &format!("{object}\n"));
    let (code, shown, _) = place.run(&["list", "--json", "--show-secrets"]);
    assert!(code == Some(0) && shown.contains(r#""HF_TOKEN":"t0p""#), "{shown}");
}

#[test]
fn a_command_has_what_is_stored_and_passes_its_code_on() {
    let place = Place::new();
    place.well(&["set", "STORED=a b", "GIVEN=stored"], "");
    let (code, out, _) =
        place.run(&["exec", "--", "sh", "-c", "echo \"$STORED $GIVEN $1\"; exit 7", "sh", "-x"]);
    assert_eq!((code, out.as_str()), (Some(7), "a b stored -x\n"));
    assert_eq!(place.run(&["exec", "--", "/nonexistent"]).0, Some(127));
    assert_eq!(place.run(&["exec", "--", "/"]).0, Some(126));
    assert_eq!(place.run(&["exec"]).0, Some(2));
}

#[test]
fn a_damaged_store_is_named_by_its_line_and_left_as_it_is() {
    let place = Place::new();
    std::fs::write(place.0.path().join("environment.sh"), "# x\nexport A=1\n").unwrap();
    for words in [&["list"][..], &["set", "B=1"], &["exec", "--", "true"]] {
        let (code, _, err) = place.run(words);
        assert_eq!(code, Some(1), "{words:?}");
        assert!(err.contains("line 2 is not export NAME='VALUE'"), "{err}");
    }
    assert_eq!(place.text(), "# x\nexport A=1\n");
}

#[test]
fn a_variable_that_no_program_could_be_started_with_is_left_out() {
    let place = Place::new();
    let long = "x".repeat(131_072);
    let store = |value: &str| format!("export GOOD='1'\nexport LONG='{value}'\n");
    std::fs::write(place.0.path().join("environment.sh"), store(&long)).unwrap();
    let (code, out, err) = place.run(&["exec", "--", "sh", "-c", "echo \"$GOOD${LONG-none}\""]);
    assert_eq!((code, out.as_str()), (Some(0), "1none\n"));
    assert!(err.contains("LONG: it exceeds the kernel's limit of 131,072 bytes"), "{err}");
}

/// Names of bash(1) and dash(1) that no bash lists until they are set.
const DOCUMENTED: &str = "BASH_COMPAT BASH_ENV BASH_MONOSECONDS BASH_REMATCH BASH_TRAPSIG BASH_XTRACEFD CHILD_MAX \
    COLUMNS COMPREPLY COMP_CWORD COMP_KEY COMP_LINE COMP_POINT COMP_TYPE COMP_WORDS COPROC ENV EXECIGNORE FCEDIT FIGNORE \
    FUNCNAME FUNCNEST GLOBIGNORE GLOBSORT HISTCONTROL HISTFILE HISTFILESIZE HISTIGNORE HISTSIZE HISTTIMEFORMAT HOSTFILE \
    IGNOREEOF INPUTRC INSIDE_EMACS LANG LC_ALL LC_COLLATE LC_CTYPE LC_MESSAGES LC_NUMERIC LC_TIME LINES MAILCHECK \
    MAILPATH MAPFILE OPTARG PATH PIPESTATUS POSIXLY_CORRECT PROMPT_COMMAND PROMPT_DIRTRIM PS0 PS1 PS2 PS3 PS4 \
    READLINE_ARGUMENT READLINE_LINE READLINE_MARK READLINE_POINT REPLY TEXTDOMAIN TEXTDOMAINDIR TIMEFORMAT TMOUT TZ \
    auto_resume histchars";

#[test]
fn no_name_makes_a_shell_execute_a_value_or_fail_to_start() {
    let listed = Command::new("bash").args(["--norc", "-ic", "compgen -v"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let names: BTreeSet<&str> = listed.lines().chain(DOCUMENTED.split_whitespace()).collect();
    assert!(names.contains("RANDOM") && names.contains("SRANDOM") && names.contains("OPTIND"), "{names:?}");
    let shells = [["/bin/bash", "--norc", "-i"], ["/bin/bash", "--posix", "-s"], ["/bin/sh", "-i", "-s"]];
    for name in names {
        let place = Place::new();
        let path = |name: &str| place.0.path().join(name);
        let code = format!("$(: > {})", path("owned").display());
        let mut script = String::new();
        for (index, value) in [format!("a[{code}]"), code, "x".to_owned()].iter().enumerate() {
            if place.run(&["set", &format!("{name}={value}")]).0 == Some(0) {
                let kept = path(&format!("{index}.sh"));
                std::fs::copy(path("environment.sh"), &kept).unwrap();
                writeln!(script, ". {}", kept.display()).unwrap();
            }
        }
        script.push_str("/bin/bash -c :\n/bin/sh -c 'echo alive'\n");
        for shell in shells {
            let output = output(
                Command::new(shell[0])
                    .args(&shell[1..])
                    .current_dir(&place.0)
                    .env("HOME", "/nonexistent")
                    .env_remove(name),
                &script,
            );
            assert_eq!((output.as_str(), path("owned").exists()), ("alive\n", false), "{name}: {shell:?}");
        }
        let mut given = Command::new(env!("CARGO_BIN_EXE_env-store"));
        given.arg("--file").arg(path("none")).args(["exec", "/bin/sh"]).env(name, "x");
        assert_eq!(output(&mut given, "echo alive"), "alive\n", "{name} in the environment");
    }
}

/// Returns the output of a program that reads this on its input.
fn output(command: &mut Command, input: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

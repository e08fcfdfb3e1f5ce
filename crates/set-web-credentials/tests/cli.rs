//! The real binary: exit code, stdout and stderr, and the two files.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use env_store::Store;
use tempfile::TempDir;

const CHANGED: &str = "set-web-credentials: the new login is in force, and all sessions have ended\n\
                       set-web-credentials: new shells have it; what runs already keeps the old WEB_ variables\n";

/// A login and a store as a container has them.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let login = r#"{"web_user":"user","web_password":"old-password","web_token":"old-token","instance":"0badcafe","asked":"digest"}"#;
        fs::write(place.path("login.json"), login).unwrap();
        let mut store = Store::default();
        store.set("OTHER", "it's mine");
        store.set("WEB_PASSWORD", "old-password");
        store.write(&place.path("environment.sh")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let account = Command::new("id").arg("-un").output().unwrap().stdout;
        let mut command = Command::new(env!("CARGO_BIN_EXE_set-web-credentials"));
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.arg("--login").arg(self.path("login.json"));
        command.arg("--environment").arg(self.path("environment.sh"));
        command.arg("--lock").arg(self.path("lock"));
        command.args(["--account", String::from_utf8(account).unwrap().trim()]).args(args);
        command
    }

    fn run(&self, args: &[&str], stdin: &[u8]) -> (Option<i32>, String, String) {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        // A refused command line ends before it reads.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        shown(child.wait_with_output().unwrap())
    }

    fn login(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path("login.json")).unwrap()).unwrap()
    }

    /// User, password and token, in the login's file and in the store, which have to be the same.
    #[track_caller]
    fn settled(&self) -> [String; 3] {
        let login = self.login();
        let store = Store::read(&self.path("environment.sh")).unwrap();
        let stored: BTreeMap<_, _> =
            store.iter().map(|(name, value)| (name, value.to_str().unwrap())).collect();
        let [user, password, token] =
            ["web_user", "web_password", "web_token"].map(|name| login[name].as_str().unwrap().to_owned());
        assert_eq!(
            [stored["WEB_USER"], stored["WEB_PASSWORD"], stored["WEB_TOKEN"]],
            [&user, &password, &token]
        );
        assert_eq!((&login["instance"], &login["asked"]), (&"0badcafe".into(), &"digest".into()));
        assert_eq!(stored["OTHER"], "it's mine");
        [user, password, token]
    }
}

fn shown(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_line_of_standard_input_is_the_password_and_nothing_of_it_is_shown() {
    let place = Place::new();
    let ran = place.run(&["ada"], b"p 'q\" $(x)\nanother line\n");
    assert_eq!(ran, (Some(0), String::new(), CHANGED.to_owned()));
    assert_eq!(place.settled(), ["ada", "p 'q\" $(x)", "old-token"]);
    let mode = |name| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("login.json"), mode("environment.sh"), mode("lock")), (0o600, 0o640, 0o600));
}

#[test]
fn the_known_form_with_two_arguments_works() {
    let place = Place::new();
    assert_eq!(place.run(&["ada", "given"], b"not read"), (Some(0), String::new(), CHANGED.to_owned()));
    assert_eq!(place.settled(), ["ada", "given", "old-token"]);
    let store = fs::read_to_string(place.path("environment.sh")).unwrap();
    assert!(store.contains("export WEB_PASSWORD_B64='YWRhOmdpdmVu'\n"), "{store}");
}

#[test]
fn a_new_token_or_a_generated_password_leaves_the_rest_alone() {
    let place = Place::new();
    assert_eq!(place.run(&["--rotate-token"], b""), (Some(0), String::new(), CHANGED.to_owned()));
    let [user, password, token] = place.settled();
    assert_eq!((user.as_str(), password.as_str(), token.len()), ("user", "old-password", 43));

    let (code, stdout, stderr) = place.run(&["--generate"], b"");
    assert_eq!((code, stderr.as_str()), (Some(0), CHANGED));
    let printed = stdout.strip_suffix('\n').unwrap().to_owned();
    assert_eq!(printed.len(), 20);
    assert_eq!(place.settled(), ["user".to_owned(), printed.clone(), token.clone()]);

    let (code, stdout, _) = place.run(&["ada", "--generate", "--rotate-token"], b"");
    let [user, password, new] = place.settled();
    assert_eq!((code, user.as_str(), stdout), (Some(0), "ada", format!("{password}\n")));
    assert!(password != printed && new != token);
}

#[test]
fn what_cannot_be_used_is_refused_without_repeating_it_and_changes_nothing() {
    let place = Place::new();
    let before = fs::read(place.path("login.json")).unwrap();
    for (args, stdin, said) in [
        (&["a:b"][..], &b"secret\n"[..], "USER has a colon"),
        (&[""], b"secret\n", "USER is empty"),
        (&["a\nb"], b"secret\n", "USER has control characters"),
        (&["ada"], b"", "the password is empty"),
        (&["ada", ""], b"secret\n", "the password is empty"),
        (&["ada", "sec\nret"], b"", "the password has control characters"),
        (&["ada"], b"sec\0ret\n", "the password has control characters"),
    ] {
        let ran = place.run(args, stdin);
        assert_eq!(ran, (Some(2), String::new(), format!("set-web-credentials: {said}\n")));
    }
    for args in [&[][..], &["ada", "p", "--generate"], &["ada", "p", "q"], &["--fly"]] {
        assert_eq!(place.run(args, b"").0, Some(2), "{args:?}");
    }
    assert_eq!(fs::read(place.path("login.json")).unwrap(), before);
}

#[test]
fn what_a_kill_has_left_undone_is_repaired_by_the_same_command() {
    let place = Place::new();
    // As after a kill between the two files: the login is new, the store is not, and a temporary file lies about.
    let login = fs::read_to_string(place.path("login.json")).unwrap().replace("old-password", "new");
    fs::write(place.path("login.json"), login).unwrap();
    fs::set_permissions(place.path("login.json"), fs::Permissions::from_mode(0o600)).unwrap();
    // Process numbers end at 4194304 (proc(5), pid_max).
    fs::write(place.path(".login.json.4194305-0.tmp"), "secret").unwrap();
    place.run(&["user", "new"], b"");
    assert_eq!(place.settled(), ["user", "new", "old-token"]);
    assert!(!place.path(".login.json.4194305-0.tmp").exists());

    let again = "set-web-credentials: this login is in force already, and sessions go on\n";
    assert_eq!(place.run(&["user", "new"], b""), (Some(0), String::new(), again.to_owned()));
}

#[test]
fn two_at_the_same_time_both_take_effect() {
    for round in 0..30 {
        let place = Place::new();
        let password = format!("password-{round}");
        let both: [Child; 2] =
            [&["ada", &password][..], &["--rotate-token"]].map(|args| place.command(args).spawn().unwrap());
        for child in both {
            assert_eq!(
                shown(child.wait_with_output().unwrap()),
                (Some(0), String::new(), CHANGED.to_owned())
            );
        }
        let [user, set, token] = place.settled();
        assert_eq!((user.as_str(), set.as_str(), token.len()), ("ada", password.as_str(), 43));
    }
}

#[test]
fn a_login_that_is_not_there_or_damaged_is_an_error_with_the_next_step() {
    let place = Place::new();
    let path = place.path("login.json");
    fs::write(&path, r#"{"web_password": hunter2"#).unwrap();
    let hint = "hint: a start of the container makes one: docker restart\n";
    let path = path.display();
    assert_eq!(
        place.run(&["--rotate-token"], b""),
        (
            Some(1),
            String::new(),
            format!("set-web-credentials: cannot read the login from {path}: not a login\n{hint}")
        )
    );
    fs::remove_file(place.path("login.json")).unwrap();
    assert_eq!(
        place.run(&["--rotate-token"], b""),
        (Some(1), String::new(), format!("set-web-credentials: there is no login at {path}\n{hint}"))
    );
}

#[test]
fn a_store_that_cannot_be_changed_does_not_hide_the_new_password() {
    let place = Place::new();
    fs::write(place.path("environment.sh"), "export B=$(id)\n").unwrap();
    let (code, stdout, stderr) = place.run(&["--generate"], b"");
    assert_eq!(code, Some(1));
    assert_eq!(place.login()["web_password"], stdout.trim_end());
    let said = "set-web-credentials: the login is in force, but new shells do not see it: cannot understand ";
    assert!(stderr.starts_with(said), "{stderr}");
}

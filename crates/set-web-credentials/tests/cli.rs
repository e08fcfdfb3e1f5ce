//! Runs the binary and checks its exit code, stdout, stderr and the two files.

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

const CHANGED: &str = "set-web-credentials: login changed; all sessions and API tokens were ended\n\
                       set-web-credentials: new shells get the new WEB_ variables; running programs keep the old ones\n";

/// Temporary directory with a login and an environment store.
struct Fixture(TempDir);

impl Fixture {
    fn new() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        let login = r#"{"web_user":"user","web_password":"old-password","web_token":"old-token","instance":"0badcafe","asked":"digest"}"#;
        fs::write(fixture.path("login.json"), login).unwrap();
        let mut store = Store::default();
        store.set("OTHER", "it's mine");
        store.set("WEB_PASSWORD", "old-password");
        store.write(&fixture.path("environment.sh")).unwrap();
        fixture
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
        // A usage error is reported before standard input is read.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        shown(child.wait_with_output().unwrap())
    }

    fn login(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path("login.json")).unwrap()).unwrap()
    }

    /// Returns user, password and token, which must be the same in the login and in the store.
    #[track_caller]
    fn stored_login(&self) -> [String; 3] {
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
fn the_first_line_of_standard_input_is_the_password_and_is_not_printed() {
    let fixture = Fixture::new();
    let ran = fixture.run(&["ada"], b"p 'q\" $(x)\nanother line\n");
    assert_eq!(ran, (Some(0), String::new(), CHANGED.to_owned()));
    assert_eq!(fixture.stored_login(), ["ada", "p 'q\" $(x)", "old-token"]);
    let mode = |name| fs::metadata(fixture.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("login.json"), mode("environment.sh"), mode("lock")), (0o600, 0o640, 0o600));
}

#[test]
fn the_password_can_be_an_argument() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run(&["ada", "given"], b"not read"), (Some(0), String::new(), CHANGED.to_owned()));
    assert_eq!(fixture.stored_login(), ["ada", "given", "old-token"]);
    let store = fs::read_to_string(fixture.path("environment.sh")).unwrap();
    assert!(store.contains("export WEB_PASSWORD_B64='YWRhOmdpdmVu'\n"), "{store}");
}

#[test]
fn a_new_token_or_a_generated_password_keeps_the_other_fields() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run(&["--rotate-token"], b""), (Some(0), String::new(), CHANGED.to_owned()));
    let [user, password, token] = fixture.stored_login();
    assert_eq!((user.as_str(), password.as_str(), token.len()), ("user", "old-password", 43));

    let (code, stdout, stderr) = fixture.run(&["--generate"], b"");
    assert_eq!((code, stderr.as_str()), (Some(0), CHANGED));
    let printed = stdout.strip_suffix('\n').unwrap().to_owned();
    assert_eq!(printed.len(), 20);
    assert_eq!(fixture.stored_login(), ["user".to_owned(), printed.clone(), token.clone()]);

    let (code, stdout, _) = fixture.run(&["ada", "--generate", "--rotate-token"], b"");
    let [user, password, new] = fixture.stored_login();
    assert_eq!((code, user.as_str(), stdout), (Some(0), "ada", format!("{password}\n")));
    assert!(password != printed && new != token);
}

#[test]
fn invalid_values_are_rejected_without_repeating_them_and_change_nothing() {
    let fixture = Fixture::new();
    let before = fs::read(fixture.path("login.json")).unwrap();
    for (args, stdin, message) in [
        (&["a:b"][..], &b"secret\n"[..], "USER contains a colon"),
        (&[""], b"secret\n", "USER is empty"),
        (&["a\nb"], b"secret\n", "USER contains control characters"),
        (&["ada"], b"", "the password is empty"),
        (&["ada", ""], b"secret\n", "the password is empty"),
        (&["ada", "sec\nret"], b"", "the password contains control characters"),
        (&["ada"], b"sec\0ret\n", "the password contains control characters"),
    ] {
        let ran = fixture.run(args, stdin);
        assert_eq!(ran, (Some(2), String::new(), format!("set-web-credentials: {message}\n")));
    }
    for args in [&[][..], &["ada", "p", "--generate"], &["ada", "p", "q"], &["--fly"]] {
        assert_eq!(fixture.run(args, b"").0, Some(2), "{args:?}");
    }
    assert_eq!(fs::read(fixture.path("login.json")).unwrap(), before);
}

#[test]
fn repeating_the_command_completes_what_a_kill_interrupted() {
    let fixture = Fixture::new();
    // State after a kill between the two writes: a new login, an old store, and a temporary file.
    let login = fs::read_to_string(fixture.path("login.json")).unwrap().replace("old-password", "new");
    fs::write(fixture.path("login.json"), login).unwrap();
    fs::set_permissions(fixture.path("login.json"), fs::Permissions::from_mode(0o600)).unwrap();
    // No process has this number: the highest is 4194304 (proc(5), pid_max).
    fs::write(fixture.path(".login.json.4194305-0.tmp"), "secret").unwrap();
    fixture.run(&["user", "new"], b"");
    assert_eq!(fixture.stored_login(), ["user", "new", "old-token"]);
    assert!(!fixture.path(".login.json.4194305-0.tmp").exists());

    let again = "set-web-credentials: nothing to change: this login is already set\n";
    assert_eq!(fixture.run(&["user", "new"], b""), (Some(0), String::new(), again.to_owned()));
}

#[test]
fn concurrent_changes_both_take_effect() {
    for round in 0..30 {
        let fixture = Fixture::new();
        let password = format!("password-{round}");
        let both: [Child; 2] =
            [&["ada", &password][..], &["--rotate-token"]].map(|args| fixture.command(args).spawn().unwrap());
        for child in both {
            assert_eq!(
                shown(child.wait_with_output().unwrap()),
                (Some(0), String::new(), CHANGED.to_owned())
            );
        }
        let [user, set, token] = fixture.stored_login();
        assert_eq!((user.as_str(), set.as_str(), token.len()), ("ada", password.as_str(), 43));
    }
}

#[test]
fn a_missing_or_corrupt_login_is_an_error_with_a_hint() {
    let fixture = Fixture::new();
    let path = fixture.path("login.json");
    fs::write(&path, r#"{"web_password": hunter2"#).unwrap();
    let hint = "hint: restart the container to create a login: docker restart NAME\n";
    let path = path.display();
    assert_eq!(
        fixture.run(&["--rotate-token"], b""),
        (
            Some(1),
            String::new(),
            format!("set-web-credentials: cannot read the login from {path}: not a login\n{hint}")
        )
    );
    fs::remove_file(fixture.path("login.json")).unwrap();
    assert_eq!(
        fixture.run(&["--rotate-token"], b""),
        (Some(1), String::new(), format!("set-web-credentials: there is no login at {path}\n{hint}"))
    );
}

#[test]
fn a_generated_password_is_printed_even_if_the_store_cannot_be_changed() {
    let fixture = Fixture::new();
    fs::write(fixture.path("environment.sh"), "export B=$(id)\n").unwrap();
    let (code, stdout, stderr) = fixture.run(&["--generate"], b"");
    assert_eq!(code, Some(1));
    assert_eq!(fixture.login()["web_password"], stdout.trim_end());
    let message =
        "set-web-credentials: the login was changed, but the environment store was not: cannot parse ";
    assert!(stderr.starts_with(message), "{stderr}");
}

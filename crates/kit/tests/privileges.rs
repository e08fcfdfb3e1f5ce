//! A process gives up root's rights for good, or ends. Needs root, and setpriv of util-linux.

// The lint's exception for tests does not reach functions.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::process::{Command, Output};

/// Set for the process that drops its rights, to the account.
const ACCOUNT: &str = "PRIVILEGES_TEST_ACCOUNT";
const FIELDS: [&str; 9] =
    ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"];

/// Runs this test in another process with more or less than root's rights.
fn dropped(account: &str, setpriv: &[&str]) -> Output {
    let mut command = Command::new(kit::cmd::SETPRIV);
    command.args(setpriv).arg("--").arg(std::env::current_exe().unwrap());
    command.args(["--exact", "nothing_of_root_is_left", "--nocapture"]).env(ACCOUNT, account);
    command.output().unwrap()
}

fn drop_and_show(account: &str) {
    kit::logging::init("test", 0);
    kit::privileges::drop_to(account).unwrap();
    // Of this thread: tests have one each.
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let fields = status.lines().filter_map(|line| line.split_once(':'));
    for (name, value) in fields.filter(|(name, _)| FIELDS.contains(name)) {
        println!("{name}={}", value.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}

/// The fields in the order of [`FIELDS`], after success.
fn fields(output: &Output) -> [String; 9] {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    FIELDS
        .map(|name| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap().into())
}

const NONE: &str = "0000000000000000";

#[test]
fn nothing_of_root_is_left() {
    if let Ok(account) = std::env::var(ACCOUNT) {
        return drop_and_show(&account);
    }
    let nobody = ["65534 65534 65534 65534", "65534 65534 65534 65534", "65534"];
    let confined = [nobody.as_slice(), &[NONE, NONE, NONE, NONE, NONE, "1"]].concat();
    let held = ["--groups=7", "--inh-caps=+chown,+kill,+setpcap", "--ambient-caps=+chown,+kill,+setpcap"];
    assert_eq!(fields(&dropped("nobody", &held)), confined[..]);

    let without = dropped("nobody", &["--groups=7", "--bounding-set=-setpcap"]);
    let mut seen = fields(&without);
    assert_ne!(std::mem::replace(&mut seen[6], NONE.to_owned()), NONE);
    assert_eq!(seen, confined[..]);
    assert!(String::from_utf8_lossy(&without.stderr).contains("the container lacks SETPCAP"), "{without:?}");
}

#[test]
fn a_process_that_is_not_root_keeps_its_account_and_gives_up_the_rest() {
    let daemon = [
        "--reuid=1",
        "--regid=1",
        "--groups=7",
        "--inh-caps=+setpcap,+kill",
        "--ambient-caps=+setpcap,+kill",
    ];
    let seen = fields(&dropped("nobody", &daemon));
    assert_eq!(seen, ["1 1 1 1", "1 1 1 1", "7", NONE, NONE, NONE, NONE, NONE, "1"]);
}

#[test]
fn a_process_that_cannot_become_the_account_does_not_run_on() {
    for (account, setpriv, why) in [
        ("nobody", "--bounding-set=-setuid", "cannot switch to user nobody: EPERM"),
        ("nobody", "--bounding-set=-setgid", "cannot switch to user nobody: EPERM"),
        ("none.such", "--groups=7", "user none.such does not exist"),
        ("root", "--groups=7", "the account root is root"),
    ] {
        let output = dropped(account, &[setpriv]);
        let text = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
        assert!(!output.status.success() && text.contains(why) && !text.contains("Uid="), "{text}");
    }
}

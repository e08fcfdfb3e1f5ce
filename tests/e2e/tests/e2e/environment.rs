//! The same variables in every kind of session, to the byte.

use std::collections::BTreeMap;

use harness::{Container, Image, KeyPair, Output, RunOptions};

/// Values that other systems have lost, or have been broken by.
fn torture() -> Vec<(&'static str, String)> {
    vec![
        ("T_QUOTES", r#"it's "quoted" and 'closed'"#.into()),
        ("T_COMMANDS", "$(touch /tmp/owned) `touch /tmp/owned` ; touch /tmp/owned & ${HOME} $HOME".into()),
        ("T_NEWLINES", "\nfirst\n\nthird'\n\"\n".into()),
        ("T_UNICODE", "žluťoučký 🐎 \u{200b}".into()),
        ("T_LONG", "x'$\"\n".repeat(20_000)),
        ("T_EQUALS", "b=c==".into()),
        ("T_BACKSLASH", r"\n \\ \' \".into()),
        ("T_PERCENT", "%(ENV_HOME)s %d %%".into()),
        ("T_SPACES", "  two  spaces\tand a tab ".into()),
        ("T_COMMENT", "a # b ; c".into()),
        ("T_EXCLAMATION", "!! !$".into()),
        ("T_EMPTY", String::new()),
    ]
}

/// The variables of a session that printed a marker and then its environment, separated by NUL.
#[track_caller]
fn variables(output: &Output) -> BTreeMap<String, String> {
    output.text();
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, text) = text.split_once("BEGIN\n").expect("the marker");
    text.split('\0')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

const SHOW: &str = "echo BEGIN; env -0";

/// Environment of a program that an extended image adds to supervisord.
fn supervised(container: &Container) -> Output {
    let program = "[program:probe]\ncommand=bash -c \"env -0 > /tmp/probe.new && mv /tmp/probe.new /tmp/probe\"\n\
                   startsecs=0\nautorestart=false\n";
    container.wait_until_ready();
    container.write("/etc/supervisor/conf.d/probe.conf", program);
    container.sh("supervisorctl update").text();
    container.wait_until("the supervised program", || container.sh("test -e /tmp/probe").code == Some(0));
    container.sh("echo BEGIN; cat /tmp/probe")
}

fn sessions(container: &Container, key: &KeyPair) -> Vec<(&'static str, BTreeMap<String, String>)> {
    vec![
        ("a supervised program", variables(&supervised(container))),
        ("ssh host command", variables(&key.ssh(container, "root", &[], &[SHOW], ""))),
        ("ssh host command as the user", variables(&key.ssh(container, "user", &[], &[SHOW], ""))),
        ("an SSH login shell", variables(&key.ssh(container, "user", &[], &[], SHOW))),
        ("docker exec bash -lc", variables(&container.exec(&["bash", "-lc", SHOW]))),
        ("docker exec bash -ic", variables(&container.exec(&["bash", "-ic", SHOW]))),
        ("docker exec sh -lc", variables(&container.exec(&["sh", "-lc", SHOW]))),
        ("su - user", variables(&container.exec(&["su", "-", "user", "-c", SHOW]))),
    ]
}

#[test]
fn every_session_sees_every_byte_and_nothing_is_executed() {
    let key = KeyPair::generate();
    let run = RunOptions::new().env("SSH_PUBKEY", key.public()).command(&[
        "init.sh",
        "P_EQUALS=b=c==",
        "P_WORDS=x  y'\"$(id)",
    ]);
    let container =
        torture().into_iter().fold(run, |run, (name, value)| run.env(name, value)).start_and_wait();
    container.wait_until("sshd", || key.ssh(&container, "root", &[], &["true"], "").code == Some(0));
    let mut expected = torture();
    expected.extend([("P_EQUALS", "b=c==".into()), ("P_WORDS", "x  y'\"$(id)".into())]);
    for (session, found) in sessions(&container, &key) {
        for (name, value) in &expected {
            assert!(found.get(*name) == Some(value), "{name} in {session}: {:?}", found.get(*name));
        }
        for name in ["WEB_USER", "WEB_PASSWORD", "WEB_PASSWORD_B64", "WEB_TOKEN", "WORKSPACE"] {
            assert!(found.get(name).is_some_and(|value| !value.is_empty()), "{name} in {session}");
        }
        assert!(
            found["PATH"].starts_with("/opt/leonardo/bin:/opt/caddy/bin:"),
            "{session}: {}",
            found["PATH"]
        );
    }
    assert_eq!(container.sh("ls /tmp/owned").code, Some(2), "something was executed");
}

#[test]
fn the_documented_way_to_find_the_password_works() {
    let container = RunOptions::new().start_and_wait();
    let [user, password, token] = container.login();
    let found = container.exec(&["su", "-", "user", "-c", "env | grep WEB_ | sort"]).text();
    assert!(found.contains(&format!("WEB_PASSWORD={password}\n")), "{found}");
    assert!(
        found.contains(&format!("WEB_TOKEN={token}\n")) && found.ends_with(&format!("WEB_USER={user}")),
        "{found}"
    );
}

#[test]
fn the_store_is_not_public_and_nothing_secret_is_in_the_log_or_in_arguments() {
    let container = RunOptions::new().env("HF_TOKEN", "hf-secret-value").start_and_wait();
    let [_, password, token] = container.login();
    let facts = container
        .sh("stat -c '%a %U %G' /opt/leonardo/etc/environment.sh /opt/leonardo/etc/web_credentials.json");
    assert_eq!(facts.text(), "640 root leonardo\n600 portal portal");
    let logs = container.logs() + &container.sh("cat /var/log/*.log /var/log/supervisor/*.log").text();
    let arguments = container.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").text();
    for secret in [&password, &token, "hf-secret-value"] {
        assert!(!logs.contains(secret) && !arguments.contains(secret));
    }
    container
        .exec(&["su", "nobody", "-s", "/bin/sh", "-c", "cat /opt/leonardo/etc/environment.sh"])
        .failure(1);
}

#[test]
fn a_stored_variable_reaches_new_sessions_and_a_nested_shell_keeps_its_own() {
    let container = RunOptions::new().env("A", "1").start_and_wait();
    container.exec(&["env-store", "set", "LATER=it's"]).text();
    assert_eq!(container.exec(&["bash", "-lc", "echo \"$LATER\""]).text(), "it's");
    let nested = "export A=changed; bash -ic 'echo $A'";
    assert_eq!(container.exec(&["bash", "-lc", nested]).text(), "changed");
    assert_eq!(
        container.exec(&["env-store", "list"]).text().lines().find(|line| line.starts_with("WEB_TOKEN")),
        Some("WEB_TOKEN=********")
    );
}

#[test]
fn what_an_image_stores_at_its_build_reaches_sessions_hooks_and_scripts_and_the_container_wins() {
    let key = KeyPair::generate();
    let image = Image::extended(
        "RUN env-store set \"BUILT=it's\" BOTH=built GONE=x && env-store unset GONE && \
             echo 'echo \"hook: $BUILT $BOTH\"' > /opt/leonardo/bin/preflight.d/10-show.sh && \
             echo 'echo \"script: $BUILT $BOTH\"' > /opt/leonardo/bin/provisioning.sh",
    );
    let container =
        RunOptions::new().image(&image).env("SSH_PUBKEY", key.public()).env("BOTH", "given").start_and_wait();
    container.wait_until_ready();
    assert_eq!(container.exec(&["cat", "/var/log/preflight.log"]).text(), "hook: it's given");
    let log = container.exec(&["cat", "/var/log/provisioning.log"]).text();
    assert!(log.contains("script: it's given"), "{log}");
    let shown = "echo \"$BUILT $BOTH ${GONE-gone}\"";
    assert_eq!(key.ssh(&container, "user", &[], &[shown], "").text(), "it's given gone");
    assert_eq!(container.exec(&["env-store", "exec", "--", "sh", "-c", shown]).text(), "it's given gone");
    container.exec(&["env-store", "unset", "BUILT"]).text();
    assert_eq!(container.exec(&["bash", "-lc", "echo \"${BUILT-gone}\""]).text(), "gone");
}

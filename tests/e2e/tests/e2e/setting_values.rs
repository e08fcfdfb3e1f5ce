//! Values of documented variables that cannot be used, or are not quite what people meant.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harness::{KeyPair, RunOptions};
use kit::variables;

#[test]
fn every_invalid_value_is_reported_in_the_log_and_in_the_portal() {
    let run = variables::ALL
        .iter()
        .fold(RunOptions::new(), |run, variable| run.env(variable.name, variable.invalid));
    let container = run.env("WEB_PASSWROD", "x").start_and_wait();
    let [user, password, _] = container.login();
    let page = container.web(1111).basic(&user, &password).get("/").ok_text().expect("the portal");
    let logs = container.logs();
    for name in variables::ALL.iter().map(|variable| variable.name).chain(["WEB_PASSWROD"]) {
        assert!(logs.contains(&format!("init | warning: {name}: ")), "{name} in {logs}");
        assert!(page.contains(&format!("<b>{name}</b> ")), "{name} in {page}");
    }
    assert_eq!(user, "user");
    assert_eq!(container.exec(&["id", "-un", "1000"]).text(), "user");
}

#[test]
fn a_secret_is_what_its_author_sees_and_keys_may_be_separated_in_any_way() {
    let (one, two) = (KeyPair::generate(), KeyPair::generate());
    let container = RunOptions::new()
        .env("WEB_USER", " 'ada' ")
        .env("WEB_PASSWORD", "\u{feff}\"se$cret\"\r\n")
        .env("WEB_TOKEN", "tok3n\n")
        .env("WORKSPACE_SYNC", "\"false\"")
        .env("SSH_PUBKEY", format!("\"{}\\n{}\"\r", one.public(), two.public()))
        .start_and_wait();
    let web = container.web(1111);
    assert_eq!(web.log_in("ada", "se$cret").status, 303);
    assert_eq!(web.with("authorization", "Bearer tok3n").get("/").status, 200);
    for key in [one, two] {
        container.wait_until("sshd", || key.ssh(&container, "user", &[], &["true"], "").code == Some(0));
    }
    let logs = container.logs();
    for problem in [
        "WEB_PASSWORD: the value is used without a line break and invisible characters and quotes around it",
        "WEB_TOKEN: the value is used without a line break around it",
    ] {
        assert!(logs.contains(problem), "{logs}");
    }
    assert!(
        !logs.contains("se$cret") && !logs.contains("tok3n") && !logs.contains("WORKSPACE_SYNC:"),
        "{logs}"
    );
    let stored = container.exec(&["bash", "-lc", "printf %s \"$WEB_USER $WEB_PASSWORD $WEB_TOKEN\""]).text();
    assert_eq!(stored, "ada se$cret tok3n");
}

#[test]
fn secrets_are_read_from_files_and_the_names_of_the_files_go_no_further() {
    let dir = tempfile::tempdir().unwrap();
    for (name, secret) in [("password", "of a file\r\n"), ("token", "tok3n\n"), ("user", "u5er")] {
        let path = dir.path().join(name);
        fs::write(&path, secret).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    }
    let container = RunOptions::new()
        .mount(dir.path(), "/run/secrets", "ro")
        .env("WEB_USER", "ada")
        .env("WEB_PASSWORD_FILE", "/run/secrets/password")
        .env("WEB_TOKEN_FILE", "/run/secrets/token")
        .env("USER_PASSWORD_FILE", "/run/secrets/user")
        .env("CF_TUNNEL_TOKEN_FILE", "/run/secrets/none")
        .start_and_wait();
    let web = container.web(1111);
    assert_eq!(web.log_in("ada", "of a file").status, 303);
    assert_eq!(web.with("authorization", "Bearer tok3n").get("/").status, 200);
    // As another account: root needs no password.
    let login = "setpriv --reuid user --regid user --clear-groups su user -c id";
    container.sh(&format!("usermod -aG sudo user; echo u5er | {login}")).text();
    let logs = container.logs();
    let problem = "CF_TUNNEL_TOKEN_FILE: cannot read \"/run/secrets/none\": No such file or directory (os error 2); ignored";
    assert_eq!(logs.matches("_FILE: ").count(), 1, "{logs}");
    assert!(logs.contains(problem), "{logs}");
    let seen = "cat /proc/1/environ /opt/leonardo/etc/environment.sh | tr '\\0' '\\n'";
    let seen = container.sh(seen).text();
    assert!(seen.contains("WEB_TOKEN=tok3n") && !seen.contains("_FILE="), "{seen}");
    // The files are compared by their content.
    container.exec(&["init.sh"]).text();
    container.exec(&["init.sh", "WEB_PASSWORD=other", "WEB_TOKEN=tok3n"]).failure(1);
    // A login shell has the values that the start stored.
    let in_login_shell = || container.exec(&["bash", "-lc", "init.sh"]);
    let agrees = in_login_shell();
    assert!(agrees.code == Some(0) && !agrees.stderr.contains("is set too"), "{agrees:?}");
    let path = dir.path().join("token");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "chang3d").unwrap();
    let differs = in_login_shell();
    assert!(differs.failure(1).contains("WEB_TOKEN: create a new container"), "{differs:?}");
}

#[test]
fn a_path_of_the_users_own_and_names_that_no_shell_takes_reach_every_program() {
    // Not by env(), which docker itself would get.
    let run = || RunOptions::new().option("--env").option("PATH=/usr/bin:/bin");
    let refused = run().command(&["init.sh", "FOO"]).run_to_end();
    assert_eq!(refused.failure(2), "init | the parameter \"FOO\" is not NAME=VALUE\n");
    let container = run().env("A.B", "1=2").env("DOCKER_RESOURCE_NVIDIA-GPU", "GPU-1,GPU-2").start_and_wait();
    let environ = |script: &str| {
        let bytes = container.sh(script).stdout;
        bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let path = "PATH=/opt/leonardo/bin:/opt/caddy/bin:/usr/bin:/bin:/opt/micromamba/bin:/opt/leonardo/stubs";
    let supervised = environ("cat /proc/$(/usr/local/bin/supervisorctl pid storagemonitor)/environ");
    let executed = environ("/opt/leonardo/bin/env-store exec -- env -0");
    for variable in ["A.B=1=2", "DOCKER_RESOURCE_NVIDIA-GPU=GPU-1,GPU-2", path] {
        for program in [&supervised, &executed] {
            assert!(program.iter().any(|pair| pair == variable.as_bytes()), "{variable}");
        }
    }
    let logs = container.logs();
    assert_eq!(logs.matches("no shell can have a variable of this name").count(), 1);
    for name in ["GPU-1", "GPU-2"] {
        let problem =
            format!("DOCKER_RESOURCE_NVIDIA-GPU: {name:?} is not a whole GPU of this container; ignored");
        assert!(logs.contains(&problem), "{logs}");
    }
    container.exec(&["bash", "-lc", "env-store list"]).text();
}

#[test]
fn bytes_that_are_no_text_reach_supervised_programs_and_no_shell_executes_a_value() {
    // As parameters: docker itself would give them to each program that this test starts.
    let owned = "exec env \"R=$(printf 'a\\377b')\" init.sh P-Q=2 OPTIND=x UID=7 'RANDOM=a[$(touch /owned)]'";
    let container = RunOptions::new().command(&["bash", "-c", owned]).start_and_wait();
    container.wait_until_ready();
    let environ = container.sh("cat /proc/$(supervisorctl pid storagemonitor)/environ").stdout;
    for variable in [&b"R=a\xffb"[..], b"P-Q=2"] {
        assert!(environ.split(|&byte| byte == 0).any(|pair| pair == variable));
    }
    for shell in [["bash", "-lc", "test ! -e /owned"], ["sh", "-lc", "test ! -e /owned"]] {
        container.exec(&shell).text();
    }
    let (logs, report) = (container.logs(), container.exec(&["boot", "report"]).text());
    for problem in
        ["OPTIND: sh reserves this name", "UID: this name is reserved", "RANDOM: this name is reserved"]
    {
        assert!(logs.contains(problem) && report.contains(problem), "{problem}: {logs}\n{report}");
    }
    assert!(!report.contains("exit code"), "{report}");
}

//! Changing the login of a running container.

use harness::{Container, HttpClient, RunOptions};

/// Statuses for this user, password and token: form, Basic, Bearer.
fn ways_in(web: &HttpClient, [user, password, token]: [&str; 3]) -> [u16; 3] {
    let bearer = web.with("authorization", &format!("Bearer {token}"));
    [web.log_in(user, password).status, web.basic(user, password).get("/").status, bearer.get("/").status]
}

const IN: [u16; 3] = [303, 200, 200];
const OUT: [u16; 3] = [401, 401, 401];

fn shell_sees(container: &Container) -> [String; 3] {
    let script = "printf '%s\n' \"$WEB_USER\" \"$WEB_PASSWORD\" \"$WEB_TOKEN\"";
    let text = container.exec(&["bash", "-lc", script]).text();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.try_into().expect("three lines")
}

fn logs(container: &Container) -> String {
    container.logs()
        + &container.sh("cat /var/log/*.log /var/log/supervisor/*.log /run/leonardo/*.json*").text()
}

#[test]
fn a_change_is_in_force_at_once_for_every_way_in_and_ends_the_rest() {
    let container =
        RunOptions::new().env("WEB_PASSWORD", "old password").env("WEB_TOKEN", "old-token").start_and_wait();
    let web = container.web(1111);
    let session = web.with("cookie", &web.log_in("user", "old password").cookie());
    assert_eq!(session.get("/").status, 200);

    let changed = container.sh("printf 'new p:w\\n' | set-web-credentials ada --rotate-token");
    assert_eq!(changed.text(), "", "nothing is an answer here");
    let said = "set-web-credentials: login changed; all sessions and API tokens were ended\n\
                set-web-credentials: new shells get the new WEB_ variables; running programs keep the old ones\n";
    assert_eq!(changed.stderr, said);
    let [user, password, token] = container.login();
    assert_eq!((user.as_str(), password.as_str()), ("ada", "new p:w"));
    assert_eq!(ways_in(&web, [&user, &password, &token]), IN);
    assert_eq!(session.get("/").status, 401, "the old session");
    assert_eq!(ways_in(&web, ["user", "old password", "old-token"]), OUT);

    assert_eq!(shell_sees(&container), [user, password, token.clone()]);
    let seen = logs(&container);
    for secret in ["new p:w", &token, "old password", "old-token"] {
        assert!(!seen.contains(secret), "{secret}");
    }
    let facts =
        container.sh("cd /opt/leonardo/etc && stat -c '%a %U %G' web_credentials.json environment.sh");
    assert_eq!(facts.text(), "600 portal portal\n640 root leonardo");
}

#[test]
fn a_change_outlives_a_restart_that_asks_for_the_same_as_before() {
    let container = RunOptions::new().env("WEB_PASSWORD", "old").start_and_wait();
    container.exec(&["set-web-credentials.sh", "ada", "new"]).text();
    container.restart();
    container.wait_for_portal();
    let [user, password, token] = container.login();
    assert_eq!((user.as_str(), password.as_str()), ("ada", "new"));
    assert_eq!(ways_in(&container.web(1111), [&user, &password, &token]), IN);
    assert_eq!(container.web(1111).log_in("user", "old").status, 401);
    assert_eq!(shell_sees(&container), [user, password, token]);
}

#[test]
fn another_password_of_a_new_container_wins_over_the_change() {
    let volume = Volume::new();
    let mount = format!("{}:/opt/leonardo/etc", volume.0);
    let run = |password: &str| {
        RunOptions::new().option("--volume").option(&mount).env("WEB_PASSWORD", password).start_and_wait()
    };
    let first = run("asked");
    let [_, _, token] = first.login();
    first.exec(&["set-web-credentials", "ada", "changed"]).text();
    drop(first);
    let second = run("asked");
    assert_eq!(second.login(), ["ada".to_owned(), "changed".to_owned(), token.clone()]);
    drop(second);
    let third = run("asked anew");
    assert_eq!(third.login(), ["user".to_owned(), "asked anew".to_owned(), token]);
    assert_eq!(third.web(1111).log_in("user", "asked anew").status, 303);
}

/// Types words at a real terminal, each as soon as it is asked for; prints what the terminal showed, and at the end
/// whether it would show again what is typed.
const TYPIST: &str = r#"
import os, pty, signal, sys, termios
signal.alarm(30)
process, terminal = pty.fork()
if process == 0:
    os.execvp("set-web-credentials", ["set-web-credentials", "ada"])
seen = b""
answers = [word.encode() for word in sys.argv[1:]]
while True:
    try:
        part = os.read(terminal, 1000)
    except OSError:
        break
    seen += part
    if answers and seen.count(b": ") == len(sys.argv) - len(answers):
        os.write(terminal, answers.pop(0))
status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
shows = bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
print(seen.decode().replace("\r", ""), status, shows)
"#;

#[test]
fn a_person_is_asked_twice_and_does_not_see_what_they_type() {
    let container = RunOptions::new().start_and_wait();
    let type_in = |words: &[&str]| container.exec(&[&["python3", "-c", TYPIST], words].concat()).text();
    assert_eq!(
        type_in(&["typed it\r", "typed it\r"]),
        "New password of ada: \nRepeat the password: \n\
         set-web-credentials: login changed; all sessions and API tokens were ended\n\
         set-web-credentials: new shells get the new WEB_ variables; running programs keep the old ones\n 0 True"
    );
    assert_eq!(
        type_in(&["one\r", "other\r"]),
        "New password of ada: \nRepeat the password: \n\
         set-web-credentials: the passwords do not match; nothing was changed\n 1 True"
    );
    // Ctrl-C: ended by SIGINT, and the terminal is as it was.
    let interrupted = type_in(&["typed it\r", "typ\u{3}"]);
    assert!(interrupted.ends_with(" -2 True") && !interrupted.contains("typ"), "{interrupted}");
    assert_eq!(container.web(1111).log_in("ada", "typed it").status, 303);
}

#[test]
fn only_root_may_and_the_user_gets_a_hint() {
    let container = RunOptions::new().start_and_wait();
    let denied = container.exec(&["su", "-", "user", "-c", "set-web-credentials ada < /dev/null"]);
    let said = "set-web-credentials: only root can change the login: \
                cannot open /run/leonardo/web_credentials.lock: Permission denied (os error 13)\n\
                hint: run: sudo set-web-credentials …\n";
    assert_eq!(denied.failure(1), said);
    let made = container.exec(&["su", "-", "user", "-c", "sudo set-web-credentials --generate"]).text();
    assert_eq!(container.web(1111).log_in("user", &made).status, 303);
}

/// Kills a change after the given part of the time that a whole one takes; prints whether that came early enough.
const KILLER: &str = r#"
import subprocess, sys, time
def change(password):
    return subprocess.Popen(["set-web-credentials", "ada", password, "--rotate-token"], stderr=subprocess.DEVNULL)
started = time.monotonic()
change("whole").wait()
whole = time.monotonic() - started
killed = change("killed")
time.sleep(whole * float(sys.argv[1]))
killed.kill()
print(killed.wait() == -9)
"#;

#[test]
fn a_kill_at_any_moment_leaves_a_login_that_works_and_the_next_run_repairs_the_rest() {
    let container = RunOptions::new().start_and_wait();
    let web = container.web(1111);
    let mut killed = 0;
    for round in 0..20 {
        let part = (f64::from(round) / 20.0).to_string();
        killed += usize::from(container.exec(&["python3", "-c", KILLER, &part]).text() == "True");
        let [user, password, token] = container.login();
        assert!(["whole", "killed"].contains(&password.as_str()), "{password}");
        assert_eq!(ways_in(&web, [&user, &password, &token]), IN, "round {round}");
    }
    assert!(killed >= 5, "only {killed} of 20 were killed half-way");
    container.exec(&["set-web-credentials", "ada", "last"]).text();
    let login = container.login();
    assert_eq!(login[..2], ["ada", "last"]);
    assert_eq!(shell_sees(&container), login);
    let left = container.sh("ls -A /opt/leonardo/etc | grep '\\.tmp$'");
    assert_eq!((left.code, left.stdout), (Some(1), Vec::new()));
}

/// A volume of the engine's, removed with the test.
struct Volume(String);

impl Volume {
    fn new() -> Self {
        Self(format!("leonardo-e2e-credentials-{}", std::process::id()))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["volume", "rm", "--force", &self.0]).output();
    }
}

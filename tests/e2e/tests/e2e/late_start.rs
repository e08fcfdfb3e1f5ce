//! `init.sh --detach`, where another program is the container's first process.

use harness::{Container, KeyPair, Output, RunOptions};

use crate::init_in_running_container::state;

/// A provider's first process: an SSH server with its own keys, which replaces its environment by its title.
const SSHD: &str = "mkdir -p /run/sshd && ssh-keygen -A && exec /usr/sbin/sshd -D -e";
/// A program of root that leaves an orphan behind at each start, and one of the system user that ignores SIGTERM.
const PROGRAMS: &str = "\
[program:mine]
command=bash -c '(setsid true &); exec sleep 1000'
startsecs=0
autorestart=true
[program:stubborn]
command=bash -c 'trap \"\" TERM; exec sleep 1002'
user=user
stopwaitsecs=1
";
const SCRIPT: &str = "#!/bin/bash\necho \"$GREETING\" >> ~/provisioned\n";
const SETTINGS: [&str; 3] = ["WEB_USER=ada", "WEB_PASSWORD=first", "GREETING=a \"b\" $(id)"];

/// A container with a script of the user's and a program, in which nothing of ours runs.
fn container(run: RunOptions, first: &[&str]) -> Container {
    let container = run.command(first).start();
    container.write("/opt/leonardo/bin/provisioning.sh", SCRIPT);
    container.write("/etc/supervisor/conf.d/mine.conf", PROGRAMS);
    container
}

/// Everything that a normal start provides.
#[track_caller]
fn has_everything(container: &Container) {
    container.wait_for_portal();
    container.wait_until_ready();
    assert_eq!(container.web(1111).log_in("ada", "first").status, 303);
    let report = container.exec(&["boot", "report"]).text();
    assert!(report.starts_with("Ready, "), "{report}");
    assert_eq!(container.exec(&["cat", "/home/user/provisioned"]).text(), "a \"b\" $(id)");
    assert_eq!(container.exec(&["bash", "-lc", "echo \"$GREETING\""]).text(), "a \"b\" $(id)");
    let running = |name: &str| container.exec(&["supervisorctl", "status", name]).text().contains("RUNNING");
    container.wait_until("the program", || running("mine"));
    let status = String::from_utf8(container.exec(&["supervisorctl", "status"]).stdout).unwrap();
    assert!(!status.contains("FATAL") && !status.contains("BACKOFF"), "{status}");
    container.wait_until("the container's log", || container.logs().contains("boot | boot: ready, "));
    let session = "pid=$(supervisorctl pid); test $(ps -o sid= -p $pid) = $pid";
    container.sh(session).text();
    container.sh("supervisorctl restart mine").text();
    // The first process has to reap a supervisord that ended, and what that left behind.
    let zombies = "ps axo stat,comm | grep '^Z.* true'";
    container.wait_until("the orphans' end", || container.sh(zombies).code == Some(1));
}

/// A second run of the same hook.
#[track_caller]
fn repeats(container: &Container, again: &Output) {
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stderr.contains("supervisord is already running with these settings"), "{again:?}");
    let before = state(container);
    let differs = container.exec(&["env", "TASK_ID=8", "init.sh", "--detach", "WEB_PASSWORD=other"]);
    let differs = differs.failure(1);
    assert!(
        differs.contains("WEB_PASSWORD: sudo set-web-credentials") && !differs.contains("TASK_ID"),
        "{differs}"
    );
    assert_eq!(state(container), before);
}

#[test]
fn everything_starts_behind_a_first_process_that_does_nothing() {
    let key = KeyPair::generate();
    let run = SETTINGS.iter().fold(RunOptions::new(), |run, setting| {
        let (name, value) = setting.split_once('=').unwrap();
        run.env(name, value)
    });
    let container = container(run.env("SSH_PUBKEY", key.public()), &["sleep", "infinity"]);
    // The session lacks the container's variables, and hangs up when the hook has ended.
    let hook = ["bash", "-c", "exec env -i TASK_ID=7 PATH=/bin TERM=xterm init.sh --detach"];
    for _ in 0..2 {
        let started = container.terminal(&hook).text();
        assert!(started.contains("services run in the background; progress: boot report"), "{started}");
        has_everything(&container);
        let shown = key.ssh(&container, "user", &[], &["echo", "\"$GREETING$TASK_ID\""], "").text();
        assert_eq!(shown, "a \"b\" $(id)7");
        repeats(&container, &container.exec(&hook));
        container.restart();
    }
    container.exec(&hook).text();
    container.sh("supervisorctl shutdown").text();
    container.wait_until("the stop", || container.sh("pgrep -f ^/opt/supervisor/bin/").code == Some(1));
    assert_eq!(container.exec(&["cat", "/proc/1/comm"]).text(), "sleep");
    container.exec(&hook).text();
    has_everything(&container);
    // What a killed supervisord leaves behind makes way; what was started from a terminal stays.
    let terminal = "SUPERVISOR_ENABLED=1 setsid sleep 1001 & kill -9 $(supervisorctl pid)";
    container.sh(terminal).text();
    let again = container.exec(&hook);
    assert!(again.stderr.contains("init | warning: supervisord was killed; ending "), "{again:?}");
    assert_eq!(again.code, Some(0));
    has_everything(&container);
    assert_eq!(container.sh("pgrep -fc '^sleep 100[012]'").text(), "3");
}

#[test]
fn everything_starts_beside_an_ssh_server_which_is_left_alone() {
    let key = KeyPair::generate();
    let container = container(RunOptions::new(), &["bash", "-c", SSHD]);
    let login = |line: &str| key.ssh(&container, "root", &[], &[line], "");
    container.write("/root/.ssh/authorized_keys", &key.public());
    container.wait_until("the provider's sshd", || login("true").code == Some(0));
    let identity = || {
        container.sh("ssh-keyscan 127.0.0.1 2> /dev/null | sort; md5sum /etc/ssh/*; cat /proc/1/comm").text()
    };
    let before = identity();
    assert_eq!(before.matches("127.0.0.1 ").count(), 3, "{before}");
    let settings = SETTINGS.map(|setting| format!("'{setting}'")).join(" ");
    let hook = format!("init.sh --detach 'SSH_PUBKEY=ssh-ed25519 x' {settings}");
    for _ in 0..2 {
        let started = login(&hook);
        started.text();
        let problem =
            "SSH_PORT: port 22 is held by sshd (process 1), which keeps running; it does not read SSH_PUBKEY";
        assert!(started.stderr.contains(problem), "{started:?}");
        has_everything(&container);
        assert_eq!(login("echo \"$GREETING\"").text(), "a \"b\" $(id)");
        assert_eq!(identity(), before);
        repeats(&container, &login(&hook));
        assert!(container.exec(&["boot", "report"]).text().contains(problem));
        container.restart();
        container.wait_until("the provider's sshd", || login("true").code == Some(0));
    }
    assert_eq!(identity(), before);
    login(&format!("{hook} SSH_PORT=2222")).text();
    let second = "ssh-keyscan -p 2222 127.0.0.1";
    container.wait_until("our own sshd", || {
        String::from_utf8_lossy(&container.sh(second).stdout).contains("127.0.0.1")
    });
    assert_eq!(identity(), before);
}

#[test]
fn a_login_shell_in_a_saved_container_does_not_bring_the_secrets_of_the_original() {
    let late = ["bash", "-lc", "init.sh --detach"];
    let first = RunOptions::new().command(&["sleep", "infinity"]).start();
    // For an sshd that the provider starts later.
    first.sh("ssh-keygen -A").text();
    let keys = || first.sh("md5sum /etc/ssh/ssh_host_*_key").text();
    let before = keys();
    first.exec(&["init.sh", "--detach", "HF_TOKEN=of-the-original"]).text();
    assert_eq!(keys(), before);
    let [_, password, token] = first.login();
    let image = first.commit();
    let run = |command: &[&str]| RunOptions::new().image(&image).env("WEB_USER", "ada").command(command);
    let behind = run(&["sleep", "infinity"]).env("WEB_TOKEN", "g1ven").start();
    let behind_shell = run(&["bash", "-lc", "exec sleep infinity"]).start();
    for container in [&behind, &behind_shell] {
        container.exec(&late).text();
        container.wait_for_portal();
    }
    let as_first = run(&["bash", "-lc", "exec init.sh"]).start_and_wait();
    let [user, _, given] = behind.login();
    assert_eq!([user, given], ["ada", "g1ven"]);
    for container in [&behind, &behind_shell, &as_first] {
        let login = container.login();
        assert!(login[1] != password && login[2] != token, "{login:?}");
        let secrets = "cat /opt/leonardo/etc/environment.sh /proc/$(supervisorctl pid)/environ";
        assert!(!container.sh(secrets).text().contains("of-the-original"));
        container.sh("ls /etc/ssh/ssh_host_*").failure(2);
    }
    let login = as_first.login();
    as_first.restart();
    as_first.wait_for_portal();
    assert_eq!(as_first.login(), login, "a restart is the same container");
}

#[test]
fn what_cannot_be_started_late_is_refused_with_the_way_out() {
    let refused = RunOptions::new().command(&["init.sh", "--detach"]).run_to_end();
    assert_eq!(refused.failure(2), "init | --detach needs another first process; use: init.sh\n");
    let container = RunOptions::new().command(&["sleep", "infinity"]).start();
    let user = container.exec(&["setpriv", "--reuid", "65534", "--clear-groups", "init.sh", "--detach"]);
    assert_eq!(
        user.failure(1),
        "init | init must be root, and this is user 65534\ninit | hint: run: sudo -E init.sh --detach\n"
    );
    container.sh("mv /usr/local/bin/supervisord /").text();
    let missing = container.exec(&["init.sh", "--detach"]);
    assert!(missing.failure(1).contains("init | supervisord exited (exit status: 1); see "), "{missing:?}");
    assert!(container.logs().contains("init | cannot run /usr/local/bin/supervisord: No such file"));
    container.sh("mv /supervisord /usr/local/bin/").text();
    // Two hooks of one provider at once.
    let both = "init.sh --detach & first=$!; init.sh --detach || exit; wait $first";
    container.sh(both).text();
    container.wait_for_portal();
    assert_eq!(container.sh("pgrep -c supervisord").text(), "1");
}

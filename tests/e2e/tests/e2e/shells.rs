//! At the prompt: manual pages, and completion with TAB.

use harness::{Container, RunOptions};

/// Names that anyone in the group can register, or give to a log.
const HOSTILE: &str = r#"
cd /run/http_ports
echo '{"service_name":"My App","proxy_port":8188,"listen_port":18188}' > 8188
echo '{"service_name":"$(touch /tmp/run) `touch /tmp/run`","proxy_port":8189,"listen_port":18189}' > 8189
echo '{"service_name":"two\nlines","proxy_port":8190,"listen_port":18190}' > 8190
echo '{"service_name":"z","proxy_port":' > 8191
mkfifo 8192
mkdir '/opt/.image/:command a[$(touch /tmp/run)]'
printf '[program:$(touch /tmp/run)"]\n[program:-x]\n[program:]\n[program:a[$(touch /tmp/run)]]\n' > /etc/supervisor/conf.d/bad.conf
mkfifo /etc/supervisor/conf.d/fifo.conf
cd /var/log/supervisor
touch -- '$(touch run).log' $'two\nlines.log' $'\e[31mred.log' '-rf.log' "it's.log"
"#;

/// Values offered for a command line, without their descriptions.
fn candidates(container: &Container, words: &[&str]) -> Vec<String> {
    let output = container.exec(&[&["/usr/lib/leonardo/complete"], words].concat()).text();
    output.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

/// What an interactive shell shows after these keys, once it contains `wanted`.
#[track_caller]
fn typed(container: &Container, shell: &str, keys: &[&str], wanted: &str) {
    let tmux = |words: &[&str]| container.exec(&[&["tmux", "-f", "/dev/null"], words].concat());
    tmux(&["new-session", "-d", "-s", "keys", "-x", "100", "-y", "30", shell]).text();
    let screen = || tmux(&["capture-pane", "-p", "-t", "keys"]).text();
    container.wait_until("a prompt", || screen().contains(":/#"));
    let mut sent = Vec::new();
    for key in keys {
        let (how, text) = match *key {
            "Tab" => ("-H", "09"),
            "Enter" => ("-H", "0d"),
            text => ("-l", text),
        };
        sent.extend(["send-keys", "-t", "keys", how, "--", text, ";"]);
    }
    tmux(&sent).text();
    container.wait_until(&format!("{wanted:?} after {keys:?}"), || screen().contains(wanted));
    tmux(&["kill-session", "-t", "keys"]).text();
}

#[test]
fn every_tool_has_a_manual_page_under_each_of_its_names() {
    let container = RunOptions::new().command(&["sleep", "infinity"]).start();
    let missing = "for tool in /opt/leonardo/bin/*; do [ -d $tool ] || man $(basename $tool) | grep -q ^NAME || echo $tool; done";
    assert_eq!(container.sh(missing).text(), "");
    assert!(
        container.exec(&["man", "boot-report"]).text().contains("\nEXIT STATUS\n       0      Success\n")
    );
    assert!(container.exec(&["man", "-k", "sync"]).text().contains("\nworkspace-sync-refresh(1) - "));
    assert!(container.exec(&["apropos", "sync"]).text().contains("\nworkspace-sync-refresh(1) - "));
    container.exec(&["man", "nothing"]).failure(5);
}

#[test]
fn tab_completes_names_and_evaluates_none() {
    let container = RunOptions::new().start_and_wait();
    container.wait_until_ready();
    container.sh(HOSTILE).text();

    let logs = candidates(&container, &["logtail.sh", "caddy", ""]);
    for name in ["caddy", "provisioning", "$(touch run)", "it's"] {
        assert!(logs.iter().any(|log| log == name), "{name} is not in {logs:?}");
    }
    assert!(!logs.iter().any(|log| log.contains("red") || log.contains("two") || log == "-rf"), "{logs:?}");
    let services = candidates(&container, &["share", ""]);
    assert_eq!(services, ["My App", "$(touch /tmp/run) `touch /tmp/run`"]);
    assert_eq!(candidates(&container, &["cfqt-url", "--port", ""]), ["1111", "8188", "8189", "8190"]);
    let programs = candidates(&container, &["supervisorctl", "restart", ""]);
    // One that runs, one that has ended, one that was never started, and those of a bad file.
    for name in ["caddy", "boot", "sshd", "$(touch /tmp/run)\""] {
        assert!(programs.iter().any(|program| program == name), "{name} is not in {programs:?}");
    }
    assert_eq!(candidates(&container, &["workspace-sync", "refresh", ""]), ["micromamba"]);
    assert!(candidates(&container, &["env-store", "unset", ""]).contains(&"WEB_TOKEN".to_owned()));
    assert_eq!(candidates(&container, &["boot", "wait", "sync", "--", "ls", ""]), [":command 4"]);

    for shell in ["bash", "bash -l"] {
        typed(
            &container,
            shell,
            &["logtail.sh --no", "Tab", "cad", "Tab", "boo", "Tab", "#"],
            "# logtail.sh --no-follow caddy boot #",
        );
        typed(&container, shell, &["sudo supervisorctl res", "Tab", "cad", "Tab", "#"], " restart caddy #");
        typed(
            &container,
            shell,
            &["boot wait --timeout=5s pro", "Tab", "v", "Tab", "-- ls /us", "Tab"],
            " provisioning -- ls /usr/",
        );
        typed(&container, shell, &["workspace-sync refresh ", "Tab", "#"], " refresh micromamba #");
        typed(&container, shell, &["share My", "Tab", "#"], r"# share My\ App #");
        // Enter runs the line: the service's name is an argument, and no command.
        typed(&container, shell, &["share $", "Tab", "--json", "Enter"], "\"url\"");
    }
    assert_eq!(
        container.sh("find / -xdev -name run -newer /run/http_ports/8192 -not -path '/proc/*'").text(),
        ""
    );
}

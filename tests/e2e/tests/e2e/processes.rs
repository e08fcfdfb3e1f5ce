//! Programs of supervisord in the portal: what is known of them, who may change them, and what remains possible in a failure.

use harness::{Container, HttpClient, RunOptions};
use serde_json::{Value, json};

const CONFIGURATION: &str = "/etc/supervisor/conf.d/mine.conf";

/// Sends a line to the socket as an account; returns the response, or nothing if the connection was refused or closed.
const ASK: &str = "\
import json, socket, sys
try:
    s = socket.socket(socket.AF_UNIX)
    s.connect('/run/process-control/control.sock')
    s.sendall(sys.argv[1].encode())
    print(s.makefile().readline(), end='')
except OSError:
    pass
";

fn ask_as(container: &Container, account: &str, line: &str) -> Value {
    let words =
        ["setpriv", "--reuid", account, "--regid", account, "--init-groups", "python3", "-c", ASK, line];
    let answer = container.exec(&words).text();
    if answer.is_empty() { Value::Null } else { serde_json::from_str(&answer).expect("JSON") }
}

fn ask(container: &Container, request: &Value) -> Value {
    ask_as(container, "portal", &format!("{request}\n"))
}

fn list(container: &Container) -> Vec<Value> {
    let listed = ask(container, &json!({ "request": "list" }));
    listed["programs"].as_array().unwrap_or_else(|| panic!("no list: {listed}")).clone()
}

#[track_caller]
fn program(container: &Container, name: &str) -> Value {
    let programs = list(container);
    let found = programs.iter().find(|program| program["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {programs:?}")).clone()
}

fn act(container: &Container, action: &str, name: &str) -> Value {
    ask(container, &json!({ "request": action, "name": name, "requester": "a\ntest: \u{202e}evil" }))
}

/// A container with these programs, which runs with these options of `docker run`.
fn with_programs(options: &[&str], programs: &str) -> Container {
    let run = options.iter().fold(RunOptions::new(), |run, option| run.option(option));
    let container = run.start_and_wait();
    container.wait_until_ready();
    container.write(CONFIGURATION, programs);
    container.exec(&["supervisorctl", "update"]).text();
    container
}

const HOSTILE: &str = "\
[program:<b>'\"&ä]
command=sleep 1000
[program:pair]
command=sleep 1000
process_name=%(program_name)s_%(process_num)d
numprocs=2
autostart=false
[program:broken]
command=/bin/sh -c 'echo last words; exit 3'
startretries=1
[program:missing]
command=/opt/none/here
autostart=false
[program:stubborn]
command=/bin/sh -c 'trap \"\" TERM; while :; do sleep 1; done'
stopwaitsecs=2
[program:mine]
command=sleep 1000
[program:*]
command=sleep 1000
";

#[test]
fn programs_are_started_stopped_and_restarted_by_names_of_supervisords_list_alone() {
    let container = with_programs(&[], HOSTILE);
    container.wait_until("supervisord to give up", || program(&container, "broken")["state"] == "FATAL");
    for name in ["<b>'\"&ä", "mine", "stubborn", "caddy", "serviceportal", "logtail"] {
        let before = program(&container, name)["pid"].clone();
        let result = act(&container, "restart", name);
        let now = program(&container, name);
        assert_eq!(result["outcome"]["message"], format!("{name} is running with pid {}", now["pid"]));
        assert!(now["state"] == "RUNNING" && now["pid"] != before, "{name}: {now}");
    }
    assert_eq!(program(&container, "stubborn")["last_exit"]["sentence"], "stopped on request, with SIGKILL");
    for (action, name, message) in [
        ("start", "pair:*", "all 2 programs are running"),
        ("stop", "pair:pair_1", "pair:pair_1 is stopped"),
        ("restart", "pair:*", "all 2 programs are running"),
        ("stop", "pair:*", "all 2 programs are stopped"),
        ("start", "broken", "broken did not start: exit code 3"),
        ("start", "missing", "missing did not start: can't find command '/opt/none/here'"),
        ("stop", "mine", "mine is stopped"),
        ("start", "mine", "mine is running with pid "),
    ] {
        let result = act(&container, action, name);
        let said = result["outcome"]["message"].as_str().unwrap_or_else(|| panic!("{result}"));
        assert!(said.starts_with(message), "{action} {name}: {said}");
    }
    for (action, name, kind) in [
        ("stop", "caddy", "protected"),
        ("stop", "serviceportal", "protected"),
        ("stop", "caddy:*", "protected"),
        ("restart", "processcontrol", "protected"),
        ("stop", "no such", "unknown"),
        ("stop", "pair", "unknown"),
        ("stop", "pair:", "unknown"),
        ("stop", "all", "unknown"),
        ("stop", "*:*", "protected"),
        ("start", "mine", "conflict"),
        ("stop", "pair:*", "conflict"),
        ("signal", "mine", "invalid"),
    ] {
        assert_eq!(act(&container, action, name)["refusal"]["kind"], kind, "{action} {name}");
    }
    // supervisord takes this name for a group, so no request is sent with it.
    assert_eq!(act(&container, "restart", "*")["refusal"]["kind"], "protected");
    assert_eq!(program(&container, "*")["state"], "RUNNING");
    let log = container.log_with("processcontrol", "process-control: restart of \"mine\" for");
    assert!(!log.contains("\ntest: ") && log.contains(r"a\ntest: \u{202e}evil"), "{log}");
}

#[test]
fn the_portal_and_root_are_served_and_no_other_account() {
    let container = RunOptions::new().start_and_wait();
    let list = "{\"request\":\"list\"}\n";
    for (account, served) in [("portal", true), ("root", true), ("caddy", false), ("user", false)] {
        assert_eq!(ask_as(&container, account, list)["programs"].is_array(), served, "{account}");
    }
    // The directory alone does not decide.
    container.sh("chmod 777 /run/process-control/control.sock; chmod 755 /run/process-control").text();
    assert_eq!(ask_as(&container, "caddy", list), Value::Null);
    container.log_with("processcontrol", "process-control: warning: refused user ");
    // What is no request, too large or not complete costs nothing else.
    for line in ["\n", "{}\n", "\u{1b}[2J\n", &format!("{}\n", "x".repeat(100_000))] {
        let answer = ask_as(&container, "portal", line);
        assert!(answer.is_null() || answer["refusal"]["kind"] == "invalid", "{answer}");
    }
    container.exec(&[
        "timeout",
        "-s",
        "KILL",
        "1",
        "setpriv",
        "--reuid",
        "portal",
        "--regid",
        "portal",
        "--clear-groups",
        "python3",
        "-c",
        "import socket, time\nopen = [socket.socket(socket.AF_UNIX) for _ in range(15)]\n\
         for s in open: s.connect('/run/process-control/control.sock')\ntime.sleep(100)",
    ]);
    assert!(ask_as(&container, "portal", list)["programs"].is_array());
    for planted in ["rm -f /run/process-control/control.sock", "ln -sf /etc/passwd /run/process-control/x"] {
        let words =
            ["setpriv", "--reuid", "portal", "--regid", "portal", "--clear-groups", "sh", "-c", planted];
        assert_ne!(container.exec(&words).code, Some(0), "{planted}");
    }
}

#[test]
fn an_exit_for_lack_of_memory_is_named_wherever_problems_are() {
    let hog = "/usr/bin/python3 -c 'x = bytearray(900 * 1000 * 1000)'";
    let programs = format!(
        "[program:hog]\ncommand={hog}\nstartsecs=0\nautorestart=false\nautostart=false\n\
         [program:tree]\ncommand=/bin/sh -c \"{hog}; exit $?\"\nstartsecs=60\nstartretries=1\nautostart=false\n\
         [program:killed]\ncommand=/bin/sh -c 'sleep 2; kill -9 $$'\nautorestart=false\nautostart=false\n\
         [program:full]\ncommand=/bin/sh -c 'dd if=/dev/zero of=/dev/full count=1; exit 1'\nstartsecs=0\n\
         autorestart=false\nautostart=false\n"
    );
    let container = with_programs(&["--memory=420m", "--memory-swap=420m"], &programs);
    let exit = |name: &str| program(&container, name)["last_exit"]["sentence"].clone();
    let full = "because the container's 420.0 MiB of memory were full";
    for (name, sentence) in [
        ("hog", format!("terminated by SIGKILL {full}")),
        ("killed", "terminated by SIGKILL".to_owned()),
        ("full", "exit code 1 while a disk was full".to_owned()),
        ("tree", format!("exit code 137 {full}")),
    ] {
        act(&container, "start", name);
        container.wait_until(name, || !exit(name).is_null());
        assert_eq!(exit(name), sentence, "{name}");
    }
    container.wait_until("supervisord to give up", || program(&container, "tree")["state"] == "FATAL");
    let [_, _, token] = container.login();
    let web = container.web(1111).with("Authorization", &format!("Bearer {token}"));
    let named = format!("exit code 137 {full}");
    for said in [
        container.exec(&["boot", "report"]).text(),
        container.exec(&["boot", "banner"]).text(),
        web.get("/leonardo/state.json").ok_text().expect("the state"),
        web.get("/leonardo/processes").ok_text().expect("the page").replace("&#39;", "'"),
    ] {
        assert!(said.contains(&named), "{said}");
    }
}

#[test]
fn a_supervisord_without_its_socket_is_named_and_a_killed_process_control_leaves_no_door_shut() {
    let container = RunOptions::new().start_and_wait();
    // This is the state in the middle of a restart.
    container.sh("supervisorctl stop caddy && kill -9 $(supervisorctl pid processcontrol)").text();
    container.wait_until("the next process to start it", || {
        let state = container.exec(&["supervisorctl", "status", "caddy"]).stdout;
        String::from_utf8_lossy(&state).contains("RUNNING")
    });
    // Without supervisord, the page says so.
    let [_, _, token] = container.login();
    let web: HttpClient = container.web(1111).with("Authorization", &format!("Bearer {token}"));
    container.sh("mv /run/supervisor.sock /run/supervisor.away").text();
    container.wait_until("the page to name it", || {
        let page = web.get("/leonardo/processes").ok_text().expect("the page");
        page.contains("supervisord does not run, or has no socket at /run/supervisor.sock")
    });
}

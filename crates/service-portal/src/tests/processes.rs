//! The page of processes, with a stand-in for `process-control`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, channel};

use process_control::{Action, Exit, Program};
use serde_json::{Value, json};

use super::fixture::Portal;

fn program(name: &str, state: &str) -> Program {
    let (name, state) = (name.to_owned(), state.to_owned());
    Program { group: name.clone(), name, state, can_stop: true, can_restart: true, ..Program::default() }
}

/// Programs with states and names of all kinds.
fn programs(log: &str) -> Vec<Program> {
    let caddy = Program {
        pid: Some(7),
        can_stop: false,
        protection: Some("it is the door".into()),
        caution: Some("All pages are away.".into()),
        description: Some("web".into()),
        ..program("caddy", "RUNNING")
    };
    let exit = Exit {
        at: 4e9,
        sentence: "exit code 137 because memory was full".into(),
        expected: false,
        log: Some(log.to_owned()),
        log_size: 31,
    };
    let broken = Program { last_exit: Some(exit), restarts: 3, ..program("broken", "FATAL") };
    let busy = Program { action: Some(Action::Restart), ..program("busy", "STOPPING") };
    let notebook = Program { pid: Some(8), uptime: Some(7_200), ..program("notebook", "RUNNING") };
    vec![broken, busy, notebook, program("<script>&\"'ä:*", "RUNNING"), caddy]
}

/// Answers as `process-control` does; every action is sent to the test.
fn serve(portal: &Portal) -> Receiver<String> {
    let listener = UnixListener::bind(portal.state.process_control()).unwrap();
    let logs = portal.directory.path().join("logs/var/log");
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::write(logs.join("broken.log"), "<b>Epoch 1\nOut of memory & gone\nof the next start\n").unwrap();
    let programs = programs("/var/log/broken.log");
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let asked: Value = serde_json::from_str(&line).unwrap();
            let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
            let answer = match (text("request").as_str(), text("name").as_str()) {
                ("list", _) => json!({ "programs": programs }),
                ("selftest", _) => json!({ "selftest": {
                    "ok": false, "passed": 1, "warned": 0, "failed": 1, "skipped": 0, "checks": [
                        {"name": "boot", "verdict": "pass", "findings": [{"verdict": "pass", "seen": "ready"}]},
                        {"name": "gate", "verdict": "fail", "findings": [
                            {"verdict": "fail", "seen": "<b>closed", "remedy": "supervisorctl restart caddy"}]},
                    ]
                } }),
                (_, "none") => json!({ "refusal": { "kind": "unknown", "message": "no <program> none" } }),
                (action, name) => {
                    sender.send(format!("{action} {name} for {}", text("requester"))).unwrap();
                    let message = format!("{name} is running with pid 8");
                    json!({ "outcome": { "ok": true, "finished": true, "message": message, "programs": [] } })
                }
            };
            writeln!(stream, "{answer}").unwrap();
        }
    });
    receiver
}

#[test]
fn only_the_owner_on_the_portals_port_sees_and_changes_programs() {
    let portal = Portal::new();
    let actions = serve(&portal);
    portal.check_pages(
        "portal page /leonardo/processes                    => 302 to /leonardo/login
         portal page session /leonardo/processes            => 200 <Processes> (logout)
         portal program bearer /leonardo/processes          => 200 <Processes>
         page session /leonardo/processes                   => 403 Open this page on the portal's own port.
         portal page guest /leonardo/processes              => 302 to /leonardo/login
         portal program bearer-read /leonardo/processes     => 403",
    );
    for words in [
        "portal POST /leonardo/processes",
        "portal fetch-site session POST /leonardo/processes",
        "portal fetch-port session POST /leonardo/processes",
        "portal fetch-site session POST content-type=text/plain /leonardo/processes/act",
        "portal program session POST /leonardo/processes",
        "portal program bearer-logs POST /leonardo/processes",
        "own session POST /leonardo/processes",
    ] {
        for body in ["name=broken&action=start", "{\"name\":\"broken\",\"action\":\"start\"}"] {
            let status = portal.send(words, body).status;
            assert!((400..500).contains(&status), "{words}: {status}");
        }
    }
    let read = portal.send("portal page session /leonardo/processes/act?name=broken&action=start", "").status;
    assert_eq!((read, actions.try_recv().ok()), (405, None));
}

#[test]
fn a_form_is_answered_by_the_page_with_the_result() {
    let portal = Portal::new();
    let actions = serve(&portal);
    let post = |body: &str| {
        portal.send(
            "portal own session POST origin=http://gpu.lan:1111 host=gpu.lan:1111 /leonardo/processes",
            body,
        )
    };
    let shown = |location: &str| portal.send(&format!("portal page session {location}"), "").body;
    let done = post("name=broken&action=start");
    assert_eq!((done.status, done.header("refresh")), (200, None), "{}", done.body);
    let asked = actions.recv().unwrap();
    assert!(asked.starts_with("start broken for session ") && asked.ends_with(" from 192.0.2.1"), "{asked}");
    assert!(done.body.contains("broken is running with pid 8</p>"), "{}", done.body);
    let unknown = post("name=none&action=start").body;
    assert!(unknown.contains("no &#60;program&#62; none</p>"), "{unknown}");
    assert_eq!(post("name=broken&action=kill").status, 422);
    // What interrupts connections or ends work is confirmed first.
    for (program, consequence) in [("caddy", "All pages are away."), ("notebook", "It has run for 2 h;")] {
        let asked = post(&format!("name={program}&action=restart"));
        let location = asked.header("location").unwrap().to_owned();
        assert_eq!(location, format!("/leonardo/processes?confirm=restart&name={program}"));
        assert!(shown(&location).contains(consequence), "{program}");
    }
    assert_eq!(actions.try_iter().count(), 0);
    let begun = post("name=caddy&action=restart&confirmed=yes");
    assert_eq!(begun.header("refresh"), Some("4; url=/leonardo/processes"), "{}", begun.body);
    // A link cannot make the page ask for anything else.
    for query in ["confirm=%3Cb%3E&name=caddy", "confirm=restart&name=%3Cb%3E"] {
        assert!(!shown(&format!("/leonardo/processes?{query}")).contains("?</h1>"), "{query}");
    }
}

#[test]
fn each_program_is_shown_with_its_last_exit_and_its_name_is_text() {
    let portal = Portal::new();
    let _actions = serve(&portal);
    let body = portal.send("portal page session /leonardo/processes", "").body;
    for part in [
        "&#60;script&#62;&#38;&#34;&#39;ä:*",
        "exit code 137 because memory was full",
        "&#60;b&#62;Epoch 1\nOut of memory &#38; gone\n</pre>",
        "Cannot be stopped: it is the door",
        "restarting: stopping",
        "data-command=\"Stop notebook\" data-confirm>",
        "; 3 restarts",
        "<details id=\"base-programs\"><summary>",
        "Your programs",
        "Programs of the base image",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    assert!(!body.contains("<script>&") && !body.contains("of the next start"), "{body}");
    assert!(!body.contains("value=\"stop\" data-command=\"Stop caddy\""), "{body}");
}

#[test]
fn a_missing_process_control_is_named_and_the_page_stays_up() {
    let portal = Portal::new();
    let page = portal.send("portal page session /leonardo/processes", "");
    assert_eq!(page.status, 200);
    assert!(
        page.body
            .contains("the program processcontrol does not run; run: supervisorctl start processcontrol")
    );
    let words = "portal own session POST host=gpu.lan:1111 origin=http://gpu.lan:1111 content-type=application/json /leonardo/processes/act";
    let answer = portal.send(words, r#"{"name":"a","action":"start"}"#);
    let answer: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{}", answer.body));
    assert_eq!((&answer["ok"], &answer["finished"]), (&json!(false), &json!(true)));
}

#[test]
fn the_self_test_is_run_by_its_button_and_shows_faults_with_remedies_first() {
    let portal = Portal::new();
    let run = "portal own session POST origin=http://gpu.lan:1111 host=gpu.lan:1111 /leonardo/selftest";
    let alone = portal.send(run, "");
    assert!(
        alone.status == 200 && alone.body.contains("supervisorctl start processcontrol</p>"),
        "{}",
        alone.body
    );
    serve(&portal);
    portal.check_pages(
        "portal page /leonardo/selftest                    => 302 to /leonardo/login
         portal page session /leonardo/selftest            => 200 <Self-test> (logout)
         page session /leonardo/selftest                   => 403 Open this page on the portal's own port.",
    );
    let result = portal.send(run, "").body;
    let place = |text: &str| result.find(text).unwrap_or_else(|| panic!("{text} is not in {result}"));
    assert!(place("&#60;b&#62;closed</p>") < place("<code>supervisorctl restart caddy</code>"));
    assert!(place("<b>gate</b>") < place("<b>boot</b>"), "the worst first");
    assert!(result.contains("1 passed, 0 warnings, 1 failed, 0 skipped"), "{result}");
    let foreign = portal.send("portal fetch-site session POST /leonardo/selftest", "").status;
    assert!((400..500).contains(&foreign), "{foreign}");
}

//! The real program between its client and a stand-in for supervisord, which can also hang or answer garbage.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use process_control::{Action, RefusalKind, act, list};
use tempfile::TempDir;

/// Behaviour of the stand-in.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Answers,
    /// Accepts a request and never responds.
    Hangs,
    /// Stays in the state `STOPPING` after a stop.
    StopsSlowly,
    Sends(&'static str),
}

struct Shared {
    mode: Mode,
    /// Group and name of the only program, in XML, with its state and its process.
    program: (&'static str, &'static str),
    state: &'static str,
    pid: u32,
    /// Methods of the requests but for lists.
    calls: Vec<String>,
    lists: usize,
    /// Connections that are kept open.
    held: Vec<UnixStream>,
}

struct Fixture {
    directory: TempDir,
    shared: Arc<Mutex<Shared>>,
    program: Child,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.program.kill().unwrap();
        self.program.wait().unwrap();
    }
}

impl Fixture {
    fn start(mode: Mode) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = ("g", "a&lt;b&gt;");
        let shared =
            Shared { mode, program, state: "RUNNING", pid: 7, calls: vec![], lists: 0, held: vec![] };
        let shared = Arc::new(Mutex::new(shared));
        let listener = UnixListener::bind(directory.path().join("supervisord.sock")).unwrap();
        let of_server = Arc::clone(&shared);
        thread::spawn(move || listener.incoming().for_each(|stream| answer(stream.unwrap(), &of_server)));
        let program = Self::spawn(&directory);
        Self { directory, shared, program }
    }

    /// Starts the program and waits until it listens.
    fn spawn(directory: &TempDir) -> Child {
        let path = |name: &str| directory.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_process-control"));
        command.env_clear().args(["--account", "nobody"]);
        command.stderr(fs::File::options().create(true).append(true).open(path("log")).unwrap());
        command.arg("--socket").arg(path("control.sock"));
        command.arg("--supervisord").arg(path("supervisord.sock")).arg("--journal").arg(path("boot.jsonl"));
        let _ = fs::remove_file(path("control.sock"));
        let child = command.spawn().unwrap();
        kit::wait::until(Duration::from_mins(1), "the socket", || {
            UnixStream::connect(path("control.sock")).ok()
        })
        .unwrap();
        child
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    fn act(&self, action: Action, name: &str) -> Result<String, RefusalKind> {
        let result = act(&self.socket(), action, name, "a test");
        result.map(|outcome| outcome.message).map_err(|refusal| refusal.kind)
    }

    fn calls(&self) -> Vec<String> {
        self.shared.lock().unwrap().calls.clone()
    }
}

/// Answers one request as supervisord does.
fn answer(mut stream: UnixStream, shared: &Mutex<Shared>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"</methodCall>") {
        // The program is killed in one of the tests.
        let count = stream.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            return;
        }
        request.extend_from_slice(&buffer[..count]);
    }
    let request = String::from_utf8(request).unwrap();
    let mut shared = shared.lock().unwrap();
    match shared.mode {
        Mode::Hangs => return shared.held.push(stream),
        Mode::Sends(text) => return drop(stream.write_all(text.as_bytes())),
        Mode::Answers | Mode::StopsSlowly => {}
    }
    let method = request.split_once("<methodName>").unwrap().1.split_once('<').unwrap().0.to_owned();
    let value = match method.as_str() {
        "supervisor.getAllProcessInfo" => {
            shared.lists += 1;
            let members = [
                ("name", format!("<string>{}</string>", shared.program.1)),
                ("group", format!("<string>{}</string>", shared.program.0)),
                ("statename", format!("<string>{}</string>", shared.state)),
                ("pid", format!("<int>{}</int>", if shared.state == "STOPPED" { 0 } else { shared.pid })),
                ("start", "<int>100</int>".to_owned()),
                ("now", "<int>160</int>".to_owned()),
                ("stdout_logfile", "<string></string>".to_owned()),
                ("stderr_logfile", "<string></string>".to_owned()),
            ];
            let members = members.map(|(name, value)| {
                format!("<member>\n<name>{name}</name>\n<value>{value}</value>\n</member>\n")
            });
            format!("<array><data>\n<value><struct>\n{}</struct></value>\n</data></array>", members.concat())
        }
        _ => {
            let name = request.split_once("<string>").unwrap().1.split_once("</string>").unwrap().0;
            shared.calls.push(format!("{method} {name}"));
            shared.state = match (method.as_str(), shared.mode) {
                ("supervisor.stopProcess", Mode::StopsSlowly) => "STOPPING",
                ("supervisor.stopProcess", _) => "STOPPED",
                _ => "RUNNING",
            };
            shared.pid += 1;
            "<boolean>1</boolean>".to_owned()
        }
    };
    let body = format!(
        "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value>{value}</value>\n</param>\n</params>\n\
         </methodResponse>\n"
    );
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

#[test]
fn a_program_is_listed_and_changed_by_its_full_name() {
    let fixture = Fixture::start(Mode::Answers);
    let programs = list(&fixture.socket()).unwrap();
    let [program] = programs.as_slice() else { panic!("{programs:?}") };
    assert_eq!((program.name.as_str(), program.pid, program.uptime), ("g:a<b>", Some(7), Some(60)));
    assert_eq!(fixture.act(Action::Restart, "g:a<b>").unwrap(), "g:a<b> is running with pid 9");
    assert_eq!(fixture.act(Action::Stop, "g:*").unwrap(), "g:a<b> is stopped");
    assert_eq!(fixture.act(Action::Start, "a<b>"), Err(RefusalKind::Unknown));
    let call = |method: &str| format!("supervisor.{method}Process g:a&lt;b&gt;");
    assert_eq!(fixture.calls(), ["stop", "start", "stop"].map(call));
    assert!(fixture.log().contains("restart of \"g:a<b>\" for \"a test\""), "{}", fixture.log());
}

#[test]
fn a_supervisord_that_answers_garbage_or_nothing_is_named_and_the_program_stays_up() {
    let fixture = Fixture::start(Mode::Answers);
    let wait_for_reason = |mode, reason: &str| {
        fixture.shared.lock().unwrap().mode = mode;
        // A list that was fetched a moment ago is used again.
        let refused = || list(&fixture.socket()).err().filter(|refusal| refusal.message == reason);
        kit::wait::until(Duration::from_mins(1), reason, refused).unwrap();
        fixture.shared.lock().unwrap().mode = Mode::Answers;
        kit::wait::until(Duration::from_mins(1), "a list", || list(&fixture.socket()).ok()).unwrap();
    };
    for garbage in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<x></y>",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<x>",
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    ] {
        wait_for_reason(Mode::Sends(garbage), "supervisord sent an invalid response");
    }
    wait_for_reason(Mode::Hangs, "supervisord does not respond within 5 seconds");
    fs::remove_file(fixture.directory.path().join("supervisord.sock")).unwrap();
    let gone = kit::wait::until(Duration::from_mins(1), "another reason", || {
        list(&fixture.socket()).err().filter(|refusal| refusal.message.contains("has no socket"))
    });
    assert_eq!(gone.unwrap().kind, RefusalKind::Unavailable);
}

#[test]
fn many_lists_cost_supervisord_few_and_many_refusals_fill_no_log() {
    let fixture = Fixture::start(Mode::Answers);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| drop(list(&fixture.socket()))));
        }
    });
    let lists = fixture.shared.lock().unwrap().lists;
    assert!(lists < 100, "{lists} of 400 lists reached supervisord");
    let refusals = || fixture.log().matches("was refused").count();
    (0..200).for_each(|_| assert!(fixture.act(Action::Start, "no such").is_err()));
    assert!(refusals() <= 30, "{} lines", refusals());
}

#[test]
fn one_action_at_a_time_changes_a_program_and_a_killed_restart_does_not_leave_the_door_shut() {
    let mut fixture = Fixture::start(Mode::StopsSlowly);
    fixture.shared.lock().unwrap().program = ("caddy", "caddy");
    // A list that was fetched a moment ago is used again.
    kit::wait::until(Duration::from_mins(1), "caddy", || {
        (list(&fixture.socket()).unwrap()[0].name == "caddy").then_some(())
    })
    .unwrap();
    let socket = fixture.socket();
    let restarting = thread::spawn(move || act(&socket, Action::Restart, "caddy", "a test").is_ok());
    kit::wait::until(Duration::from_mins(1), "the stop", || {
        (fixture.shared.lock().unwrap().state == "STOPPING").then_some(())
    })
    .unwrap();
    assert_eq!(fixture.act(Action::Restart, "caddy"), Err(RefusalKind::Conflict));
    fixture.program.kill().unwrap();
    fixture.program.wait().unwrap();
    assert!(!restarting.join().unwrap());
    fixture.program = Fixture::spawn(&fixture.directory);
    // The next one waits for the stop, too.
    let lists = || fixture.shared.lock().unwrap().lists;
    let before = lists();
    kit::wait::until(Duration::from_mins(1), "a look", || (lists() > before).then_some(())).unwrap();
    {
        let mut shared = fixture.shared.lock().unwrap();
        (shared.mode, shared.state) = (Mode::Answers, "STOPPED");
    }
    kit::wait::until(Duration::from_mins(1), "the start", || {
        (fixture.shared.lock().unwrap().state == "RUNNING").then_some(())
    })
    .unwrap();
    assert_eq!(fixture.calls().last().unwrap(), "supervisor.startProcess caddy:caddy");
}

#[test]
fn slow_and_silent_clients_do_not_keep_others_out() {
    let fixture = Fixture::start(Mode::Answers);
    let silent: Vec<UnixStream> = (0..10).map(|_| UnixStream::connect(fixture.socket()).unwrap()).collect();
    assert!(list(&fixture.socket()).is_ok());
    // Beyond the limit, others wait until these are closed after their time.
    let too_many: Vec<UnixStream> = (0..10).map(|_| UnixStream::connect(fixture.socket()).unwrap()).collect();
    assert!(list(&fixture.socket()).is_ok());
    let threads = fs::read_dir(format!("/proc/{}/task", fixture.program.id())).unwrap().count();
    assert!(threads <= 17, "{threads} threads");
    drop((silent, too_many));
}

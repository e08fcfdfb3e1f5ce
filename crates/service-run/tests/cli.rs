//! The real binary, with a registry of its own.

#![allow(clippy::unwrap_used)]

mod fixture;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use fixture::{Fixture, SERVER, Service, free_port};
use nix::sys::signal::Signal;
use serde_json::json;

#[test]
fn the_exit_code_is_the_programs_and_a_failure_stays_registered() {
    let fixture = Fixture::new();
    let port = free_port();
    let run = |script: &str| fixture.run(port, &[], &["sh", "-c", script, "{listen}"]);
    let (code, _, _) = run("exit 0");
    assert_eq!((code, fixture.registered(port)), (Some(0), None));
    let (code, stdout, stderr) = run("echo out; exit 3");
    assert_eq!((code, stdout.as_str()), (Some(3), "out\n"));
    let listen = fixture.registered(port).unwrap()["listen_port"].clone();
    let expected =
        format!("service-run: ComfyUI: starting on 127.0.0.1:{listen}\nservice-run: ComfyUI: exit code 3\n");
    assert_eq!(stderr, expected);
    let mut found = fixture.registered(port).unwrap();
    let pid = found["pid"].take();
    let since = found["status"]["since"].take();
    assert!(pid.as_u64().unwrap() > 1 && since.as_u64().unwrap() > 1_700_000_000);
    let expected = json!({"service_name": "ComfyUI", "listen_port": listen, "proxy_port": port, "proxy_secure": true,
        "service_url": "/", "pid": null, "status": {"phase": "failed", "since": null, "cause": "exit code 3"}});
    assert_eq!(found, expected);
    let (code, _, _) = run("kill -9 $$");
    assert_eq!(code, Some(137));
    assert_eq!(fixture.cause(port), "killed by SIGKILL, often because memory was full");
    let plain = fixture.path("plain");
    fs::write(&plain, "#!/bin/sh\n").unwrap();
    for (program, code, reason) in [
        ("no-such-program", 127, "No such file or directory"),
        (plain.to_str().unwrap(), 126, "Permission denied"),
    ] {
        let (exit, _, stderr) = fixture.run(port, &[], &[program, "{listen}"]);
        let cause = format!("cannot run \"{program}\": {reason}");
        assert_eq!((exit, fixture.cause(port)), (Some(code), cause.clone()));
        assert_eq!(stderr, format!("service-run: error: {cause}\n"));
    }
}

#[test]
fn mistakes_in_the_command_line_are_named_and_nothing_is_registered() {
    let fixture = Fixture::new();
    let program = ["true", "{listen}"];
    for (options, command, message) in [
        (
            &["--name", "x", "--port", "8188"][..],
            &["true"][..],
            "the command does not contain {listen}\nhint: the program has",
        ),
        (&["--name", "x", "--port", "0"], &program, "invalid value '0' for '--port <PORT>'"),
        (&["--name", "x", "--port", "65536"], &program, "65536 is not in 1..=65535"),
        (&["--name", "x", "--port", "abc"], &program, "invalid value 'abc'"),
        (&["--name", "x", "--port", "1111"], &program, "port 1111 is reserved"),
        (&["--name", "x", "--port", "53682"], &program, "port 53682 is reserved"),
        (&["--name", "", "--port", "8188"], &program, "service_name is empty"),
        (&["--name", "x", "--port", "8188", "--url", "//evil"], &program, "service_url is not a path"),
        (&["--name", "x", "--port", "8188", "--health", "health"], &program, "begins with a slash"),
        (
            &["--name", "x", "--port", "8188", "--after", "never"],
            &program,
            "possible values: provisioning, preflight",
        ),
        (
            &["--name", "x", "--port", "8188", "--listen-port", "8188"],
            &program,
            "listen_port and proxy_port are the same",
        ),
        (
            &["--name", "x", "--port", "8188", "--listen-port", "1", "--per-gpu"],
            &program,
            "cannot be used with",
        ),
        (&["--name", "x", "--port", "8188"], &[], "<COMMAND>..."),
    ] {
        let output = fixture.command(&[fixture::own_account(), options].concat(), command).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && stderr.contains(message), "{options:?}: {stderr}");
    }
    assert_eq!(fixture.registry_files(), Vec::<String>::new());
}

#[test]
fn the_registration_shows_the_phases_and_is_removed_by_a_stop() {
    let mut fixture = Fixture::new();
    fixture.stand_in_for_boot(
        "while ! [ -e \"$TMPDIR/ended\" ]; do sleep 0.05; done; echo \"$*\" >\"$TMPDIR/asked\"",
    );
    let port = free_port();
    let options = ["--after", "sync", "--health", "/health", "--url", "/ui", "--open"];
    let service = fixture.start(port, &options, &["python3", "-uc", SERVER, "{listen}"]);
    fixture.wait_for_phase(port, "waiting");
    let waiting = fixture.registered(port).unwrap();
    assert_eq!(
        [&waiting["status"]["cause"], &waiting["proxy_secure"], &waiting["service_url"]],
        [&json!("sync"), &json!(false), &json!("/ui")]
    );
    fs::write(fixture.path("ended"), "").unwrap();
    fixture.wait_for_phase(port, "starting");
    assert_eq!(fs::read_to_string(fixture.path("asked")).unwrap(), "wait sync\n");
    fs::write(fixture.path("healthy"), "").unwrap();
    fixture.wait_for_phase(port, "running");
    let listen = fixture.registered(port).unwrap()["listen_port"].as_u64().unwrap();
    let environment = fixture::get(u16::try_from(listen).unwrap(), "/environment");
    assert!(environment.contains(&format!("LEONARDO_SERVICE={port}\n")), "{environment}");
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGINT, Signal::SIGQUIT] {
        service.signal(signal);
        fixture.wait_for("the forwarded signal", || {
            fs::read_to_string(fixture.path("signals")).is_ok_and(|text| text.contains(signal.as_str()))
        });
    }
    service.signal(Signal::SIGTERM);
    let (status, _, _) = service.end();
    assert_eq!(
        (status.code(), fixture.registered(port)),
        (Some(5), None),
        "the program's exit code after SIGTERM"
    );
}

#[test]
fn a_stop_during_the_wait_ends_it_and_a_stage_that_failed_does_not_matter() {
    let mut fixture = Fixture::new();
    let port = free_port();
    fixture.stand_in_for_boot("exec sleep infinity");
    let service = fixture.start(port, &["--after", "ready"], &["false", "{listen}"]);
    fixture.wait_for_phase(port, "waiting");
    service.signal(Signal::SIGHUP);
    let (status, _, _) = service.end();
    assert_eq!((status.code(), fixture.registered(port)), (Some(129), None));
    fixture.stand_in_for_boot("exit 1");
    let output = fixture
        .command_at(port, &["--after", "ready"], &["sh", "-c", "exit 9", "{listen}"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(9));
}

#[test]
fn a_kill_ends_the_program_and_what_it_left_on_its_port_is_ended_by_the_next_start() {
    let fixture = Fixture::new();
    let port = free_port();
    // The shell does not become the server, so the server outlives it.
    let command = ["sh", "-c", "python3 -uc \"$1\" \"$2\"; exit 1", "sh", SERVER, "{listen}"];
    let service = fixture.start(port, &[], &command);
    fixture.wait_for_phase(port, "running");
    let registered = fixture.registered(port).unwrap();
    let shell = service.child();
    service.signal(Signal::SIGKILL);
    let (status, _, _) = service.end();
    assert_eq!(status.signal(), Some(9));
    fixture.wait_for("the program's end", || {
        !kit::process::Process::new(shell).stat().is_some_and(|stat| stat.is_alive)
    });
    assert_eq!(fixture.registered(port).unwrap(), registered, "nothing is left that could change it");
    let next = fixture.start(port, &[], &command);
    fixture.wait_for("the next start", || {
        fixture.registered(port).is_some_and(|now| now["pid"] != registered["pid"])
    });
    fixture.wait_for_phase(port, "running");
    assert_eq!(fixture.registered(port).unwrap()["listen_port"], registered["listen_port"]);
    next.signal(Signal::SIGTERM);
    let (_, _, stderr) = next.end();
    let listen = &registered["listen_port"];
    assert!(
        stderr.contains("stopped python") && stderr.contains(&format!("left on port {listen}\n")),
        "{stderr}"
    );
}

#[test]
fn a_port_of_another_program_is_left_alone() {
    let fixture = Fixture::new();
    let port = free_port();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let held = listener.local_addr().unwrap().port().to_string();
    let (code, _, stderr) = fixture.run(port, &["--listen-port", &held], &["true"]);
    let cause = fixture.cause(port);
    assert!(cause.starts_with(&format!("port {held} is held by ")), "{cause}");
    assert_eq!((code, stderr), (Some(1), format!("service-run: error: {cause}\n")));
    drop(listener);
    assert_eq!(fixture.run(port, &["--listen-port", &held], &["true"]).0, Some(0));
}

#[test]
fn of_two_services_at_one_port_the_second_is_refused() {
    let fixture = Fixture::new();
    let port = free_port();
    let command = ["sleep", "infinity", "--", "{listen}"];
    let first = fixture.start(port, &[], &command);
    fixture.wait_for("the first", || fixture.registered(port).is_some());
    let (code, _, stderr) = fixture.run(port, &[], &command);
    let pid = &fixture.registered(port).unwrap()["pid"];
    let message = format!(
        "service-run: port {port} is already registered for \"ComfyUI\" (process {pid})\nhint: give one of them another \
         --port\n"
    );
    assert_eq!((code, stderr), (Some(1), message));
    first.signal(Signal::SIGTERM);
    first.end();
    let mut all: Vec<_> = (0..6).map(|_| fixture.start(port, &[], &command)).collect();
    fixture.wait_for("five refusals", || {
        all.iter_mut().map(Service::has_ended).filter(|ended| *ended).count() == 5
    });
    let index = all.iter_mut().position(|one| !one.has_ended()).unwrap();
    let winner = &all[index];
    assert_eq!(fixture.registered(port).unwrap()["pid"], winner.id());
    winner.signal(Signal::SIGTERM);
    all.into_iter().for_each(|one| drop(one.end()));
}

#[test]
fn a_program_that_others_can_reach_without_the_login_is_mentioned_in_the_log() {
    let fixture = Fixture::new();
    for (address, is_mentioned) in [("0.0.0.0", true), ("127.0.0.1", false)] {
        let port = free_port();
        let program = ["python3", "-m", "http.server", "--bind", address, "{listen}"];
        let service = fixture.start(port, &[], &program);
        fixture.wait_for_phase(port, "running");
        service.signal(Signal::SIGTERM);
        let (_, _, stderr) = service.end();
        assert_eq!(stderr.contains("of every address, without the login"), is_mentioned, "{stderr}");
    }
}

#[test]
fn a_path_that_never_answers_keeps_the_service_at_starting_and_a_stop_ends_it() {
    let fixture = Fixture::new();
    let port = free_port();
    let script = "import signal, socket, sys; server = socket.create_server(('127.0.0.1', int(sys.argv[1]))); \
        client = server.accept()[0]; client.recv(9); print('asked'); signal.pause()";
    let program = ["python3", "-uc", script, "{listen}"];
    let service = fixture.start(port, &["--health", "/health"], &program);
    fixture.wait_for("a request", || service.stdout() == "asked\n");
    assert_eq!(fixture.registered(port).unwrap()["status"]["phase"], "starting");
    service.signal(Signal::SIGTERM);
    let (status, _, stderr) = service.end();
    assert_eq!((status.code(), fixture.registered(port)), (Some(143), None), "{stderr}");
    assert!(!stderr.contains("answers after"), "{stderr}");
}

#[test]
fn a_service_without_a_login_never_leads_to_the_program_of_another() {
    let fixture = Fixture::new();
    let [first, second, listen] = [free_port(), free_port(), free_port()];
    let on_port = listen.to_string();
    let service = fixture.start(first, &["--listen-port", &on_port], &["sleep", "infinity"]);
    fixture.wait_for_phase(first, "starting");
    let neighbour = || fixture.run(second, &["--listen-port", &on_port, "--open"], &["false"]);
    let (code, _, stderr) = neighbour();
    let message = format!(
        "service-run: port {listen} on 127.0.0.1 is already registered for \"ComfyUI\" (process {})\nhint: give one of \
         them another --listen-port\n",
        service.id()
    );
    assert_eq!((code, stderr, fixture.registered(second)), (Some(1), message, None));
    service.signal(Signal::SIGKILL);
    service.end();
    assert_eq!(neighbour().0, Some(1));
    assert_eq!((fixture.registered(first), fixture.cause(second).as_str()), (None, "exit code 1"));
}

#[test]
fn the_program_gets_the_stored_variables_and_the_account() {
    let fixture = Fixture::new();
    let port = free_port();
    fs::write(fixture.path("store"), "export GREETING='stored'\nexport HF_TOKEN='hf_secret'\n").unwrap();
    for path in ["", "registry", "store"] {
        fs::set_permissions(fixture.path(path), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let script = "echo $GREETING $HF_TOKEN $LEONARDO_SERVICE $(id -un) $(id -G) $HOME $USER $LOGNAME $SHELL";
    let mut command = fixture.command(
        &["--name", "x", "--port", &port.to_string(), "--after", "none", "--user", "nobody"],
        &["sh", "-c", script, "{listen}"],
    );
    let output = command.env("GREETING", "given").output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let expected = format!("stored hf_secret {port} nobody 65534 /nonexistent nobody nobody /bin/bash\n");
    assert_eq!(stdout, expected, "{stderr}");
    assert!(!stderr.contains("hf_secret"), "{stderr}");
    fs::write(fixture.path("store"), "broken").unwrap();
    let (code, _, stderr) = fixture.run(port, &[], &["true", "{listen}"]);
    assert!(code == Some(0) && stderr.contains("runs without the stored variables"), "{stderr}");
}

#[test]
fn each_gpu_has_an_instance_and_one_that_ends_is_started_again() {
    let fixture = Fixture::new();
    let port = free_port();
    let uuids: Vec<String> = (0..8).map(|gpu| fixture.add_gpu(gpu)).collect();
    let script = "echo \"$1 $2 $CUDA_VISIBLE_DEVICES\"; exec python3 -uc \"$3\" \"$1\"";
    let command = ["sh", "-c", script, "sh", "{listen}", "{instance}", SERVER];
    let service = fixture.start(port, &["--per-gpu"], &command);
    fixture.wait_for("eight instances", || fixture.phases(port) == ["running"; 8]);
    let registered = fixture.registered(port).unwrap();
    let instances = registered["instances"].as_array().unwrap();
    let labels: Vec<_> = instances.iter().map(|instance| instance["label"].as_str().unwrap()).collect();
    assert_eq!(labels, uuids);
    assert_eq!(registered["listen_port"], instances[0]["listen_port"]);
    let pids = |fixture: &Fixture| fixture::listeners(&fixture.registered(port).unwrap());
    let before = pids(&fixture);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(before[3]), Signal::SIGKILL).unwrap();
    fixture.wait_for("another process", || {
        fixture.phases(port) == ["running"; 8] && !pids(&fixture).contains(&before[3])
    });
    let after = pids(&fixture);
    let changed: Vec<usize> = (0..8).filter(|&index| after[index] != before[index]).collect();
    assert_eq!(changed, [3], "{before:?} {after:?}");
    service.signal(Signal::SIGTERM);
    let (status, stdout, stderr) = service.end();
    assert_eq!((status.code(), fixture.registered(port)), (Some(5), None), "{stderr}");
    for (index, (uuid, instance)) in uuids.iter().zip(instances).enumerate() {
        let line = format!("{uuid} | {} {index} {uuid}\n", instance["listen_port"]);
        assert_eq!(stdout.matches(&line).count(), if index == 3 { 2 } else { 1 }, "{line} {stdout}");
    }
    let killed = format!("{}: killed by SIGKILL, often because memory was full\n", uuids[3]);
    assert_eq!(stderr.matches(&killed).count(), 1, "{stderr}");
}

#[test]
fn services_that_start_in_the_same_instant_never_share_a_port() {
    let fixture = Fixture::new();
    (0..8).for_each(|gpu| drop(fixture.add_gpu(gpu)));
    // Eight instances want the eight ports that follow, and so do the neighbours.
    let public = 21_000..21_006;
    let start = |port| fixture.start(port, &["--per-gpu"], &["sleep", "infinity", "--", "{listen}"]);
    let services: Vec<_> = public.clone().map(start).collect();
    let listen_ports = |port| {
        let registered = fixture.registered(port).unwrap_or_default();
        let instances = registered["instances"].as_array().cloned().unwrap_or_default();
        instances.iter().map(|instance| instance["listen_port"].as_u64().unwrap()).collect::<Vec<u64>>()
    };
    fixture.wait_for("all instances", || public.clone().all(|port| listen_ports(port).len() == 8));
    let all: std::collections::BTreeSet<u64> = public.clone().flat_map(listen_ports).collect();
    assert_eq!(all.len(), 48, "{all:?}");
    services.iter().for_each(|service| service.signal(Signal::SIGTERM));
    services.into_iter().for_each(|service| drop(service.end()));
    assert_eq!(fixture.registry_files(), Vec::<String>::new());
}

#[test]
fn without_a_gpu_one_instance_runs_as_without_per_gpu() {
    let fixture = Fixture::new();
    let port = free_port();
    let (code, stdout, stderr) = fixture.run(
        port,
        &["--per-gpu"],
        &["sh", "-c", "echo \"$1\"; exit 3", "sh", "{instance}", "{listen}"],
    );
    assert_eq!((code, stdout.as_str()), (Some(3), "0\n"));
    let registered = fixture.registered(port).unwrap();
    assert_eq!((&registered["instances"], fixture.cause(port).as_str()), (&json!(null), "exit code 3"));
    let expected = format!(
        "service-run: warning: no GPU is visible in this container, so one instance runs without a GPU\n\
         service-run: ComfyUI: starting on 127.0.0.1:{}\nservice-run: ComfyUI: exit code 3\n",
        registered["listen_port"]
    );
    assert_eq!(stderr, expected);
}

#[test]
fn gpus_that_cannot_be_used_are_a_reason_and_no_instance() {
    let fixture = Fixture::new();
    let port = free_port();
    fixture.add_gpu(0);
    let mut command = fixture.command_at(port, &["--per-gpu"], &["true", "{listen}"]);
    let output = command.env("CUDA_VISIBLE_DEVICES", "gpu0").stdout(Stdio::null()).output().unwrap();
    let cause = "CUDA_VISIBLE_DEVICES=gpu0 names no GPU";
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr), (Some(1), format!("service-run: {cause}\n")));
    assert_eq!(fixture.cause(port), cause);
}

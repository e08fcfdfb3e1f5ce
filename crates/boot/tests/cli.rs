//! The real binary, with journals of its own.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use journal::{Event, Journal, Stage, StageResult, Timeline};

struct Boot {
    dir: tempfile::TempDir,
}

impl Boot {
    fn new(events: &[Event]) -> Self {
        let boot = Self { dir: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() };
        events.iter().for_each(|event| boot.journal().append(event.clone()).unwrap());
        boot
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn journal(&self) -> Journal {
        Journal::new(&self.path("boot.jsonl"))
    }

    fn command(&self, words: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_boot")), words)
    }

    fn command_of(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", env!("PATH"))
            .arg("--journal")
            .arg(self.path("boot.jsonl"))
            .args(words);
        command
    }

    fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.command(words).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }
}

fn begun() -> Event {
    Event::BootStarted { pid: 1 }
}

fn started(stage: Stage) -> Event {
    Event::StageStarted { stage }
}

fn ended(stage: Stage, result: StageResult) -> Event {
    let cause = (result == StageResult::Failed).then(|| "exit code 3".to_owned());
    Event::StageEnded { stage, result, cause, hint: None }
}

#[test]
fn how_a_stage_ended_is_the_exit_code() {
    let boot = Boot::new(&[
        begun(),
        started(Stage::Sync),
        ended(Stage::Sync, StageResult::Done),
        started(Stage::Provisioning),
        ended(Stage::Provisioning, StageResult::Failed),
    ]);
    let silent = String::new;
    assert_eq!(boot.run(&["wait", "sync"]), (Some(0), silent(), silent()));
    assert_eq!(
        boot.run(&["wait", "provisioning"]),
        (Some(1), silent(), "boot: error: provisioning failed: exit code 3\n".to_owned())
    );
    let late = boot.run(&["wait", "ready", "--timeout", "1s"]);
    assert_eq!((late.0, late.1), (Some(124), silent()));
    assert!(late.2.ends_with("boot: error: timed out waiting for ready\n"), "{}", late.2);
    assert_eq!(
        boot.run(&["wait", "sync", "--timeout", "210000000000000d"]).0,
        Some(0),
        "longer than any clock"
    );
    assert_eq!(boot.run(&["wait", "coffee"]).0, Some(2));
    assert_eq!(boot.run(&["wait", "sync", "--timeout", "soon"]).0, Some(2));
}

#[test]
fn a_wait_ends_with_a_stage_that_ends_later() {
    let boot = Boot::new(&[begun(), started(Stage::Sync)]);
    let mut waiting =
        boot.command(&["wait", "sync", "--timeout", "5m"]).stderr(Stdio::null()).spawn().unwrap();
    assert!(waiting.try_wait().unwrap().is_none());
    boot.journal().append(ended(Stage::Sync, StageResult::Skipped)).unwrap();
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn an_end_of_an_earlier_run_is_no_end() {
    let boot = Boot::new(&[begun(), started(Stage::Sync), ended(Stage::Sync, StageResult::Done), begun()]);
    assert_eq!(boot.run(&["wait", "sync", "--timeout", "1s"]).0, Some(124));
}

#[test]
fn a_command_is_begun_when_the_stage_has_ended_even_badly() {
    let boot =
        Boot::new(&[begun(), started(Stage::Provisioning), ended(Stage::Provisioning, StageResult::Failed)]);
    let (code, out, _) =
        boot.run(&["wait", "provisioning", "--", "sh", "-c", "echo \"$1\"; exit 7", "sh", "a b"]);
    assert_eq!((code, out.as_str()), (Some(7), "a b\n"));
    assert_eq!(boot.run(&["wait", "provisioning", "--", "/nonexistent"]).0, Some(127));
}

#[test]
fn the_report_and_the_banner_are_for_people_and_programs() {
    let boot = Boot::new(&[
        begun(),
        started(Stage::Provisioning),
        ended(Stage::Provisioning, StageResult::Failed),
        started(Stage::Ready),
        ended(Stage::Ready, StageResult::Done),
    ]);
    let (code, text, _) = boot.run(&["report"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("FAILED") && text.ends_with("provisioning failed: exit code 3\n"), "{text}");
    let (_, json, _) = boot.run(&["report", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&report["phase"], &report["stages"][0]["result"]), (&"ready".into(), &"failed".into()));
    assert_eq!(boot.run(&["banner"]).1, "  provisioning failed: exit code 3\n  More: boot report\n\n");
    assert_eq!(
        Boot::new(&[]).run(&["report"]).1,
        "The services are starting; late boot has not started yet.\n\n"
    );
}

#[test]
fn a_program_that_is_down_comes_before_all_else_that_is_wrong() {
    let boot = Boot::new(&[
        Event::Problem { setting: "WEB_X".into(), message: "is a typo".into() },
        begun(),
        started(Stage::Ready),
        ended(Stage::Ready, StageResult::Done),
    ]);
    let down = r#"{"caddy":{"state":"STOPPED","at":1.0,"failures":0,"end":"","log":""}}"#;
    fs::write(boot.path("programs.json"), down).unwrap();
    let caddy = "caddy: the program was stopped; to start it, run: supervisorctl start caddy";
    assert_eq!(boot.run(&["banner"]).1, format!("  {caddy}\n  WEB_X: is a typo\n  More: boot report\n\n"));
    let (_, text, _) = boot.run(&["report"]);
    assert!(text.ends_with(&format!("\n{caddy}\n\nWEB_X: is a typo\n")), "{text}");
    let (_, json, _) = boot.run(&["report", "--json"]);
    assert!(json.contains(r#""problems":[{"setting":"caddy","#), "{json}");
}

#[test]
fn a_tunnel_that_cannot_be_opened_is_in_the_report_and_not_at_each_login() {
    let boot = Boot::new(&[begun(), started(Stage::Ready), ended(Stage::Ready, StageResult::Done)]);
    let tunnel = r#"{"port":1111,"state":"waiting","url":null,"cause":"no_dns","detail":null,"retry_at":9}"#;
    let status = format!(r#"{{"is_opening":false,"cause":null,"detail":null,"tunnels":[{tunnel}]}}"#);
    fs::write(boot.path("quicktunnel.json"), status).unwrap();
    let (_, text, _) = boot.run(&["report"]);
    let problem = "tunnel to port 1111: the container cannot resolve api.trycloudflare.com; check its DNS: docker run \
                   --dns 1.1.1.1\n";
    assert!(text.ends_with(&format!("\n\n{problem}")), "{text}");
    assert_eq!(boot.run(&["banner"]).1, "");
}

#[test]
fn the_health_check_obeys_no_file_of_a_home_that_others_write() {
    let boot = Boot::new(&[]);
    let written = boot.path("written");
    fs::write(boot.path(".curlrc"), format!("trace = {}\n", written.display())).unwrap();
    let (home, none) = (boot.path(""), boot.path("none"));
    for names in [["CURL_HOME", "HOME"], ["HOME", "XDG_CONFIG_HOME"]] {
        let mut command = boot.command(&["health"]);
        let Output { stdout, .. } = command.env(names[1], &none).env(names[0], &home).output().unwrap();
        assert!(stdout.starts_with(b"the portal "), "curl has run");
        assert!(!written.exists(), "{names:?}");
    }
}

#[test]
fn a_second_run_at_the_same_time_changes_nothing() {
    let boot = Boot::new(&[]);
    let lock = File::create(boot.path("boot.lock")).unwrap();
    lock.lock().unwrap();
    let (code, out, err) = boot.run(&["run"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.ends_with("hint: late boot is already running; run: boot report\n"), "{err}");
    assert!(boot.journal().read().unwrap().is_empty());
}

/// Tools that do nothing, but for this `provision`.
fn with_tools(boot: &Boot, provision: &str) -> Command {
    with_scripts(boot, &[("provision", provision)])
}

/// Tools beside `boot` that do nothing, but for these; those of the same names that `PATH` finds fail.
fn with_scripts(boot: &Boot, scripts: &[(&str, &str)]) -> Command {
    let tools = boot.path("tools");
    fs::create_dir_all(&tools).unwrap();
    for name in ["workspace-sync", "fix-perms", "supervisorctl", "provision"] {
        let text = scripts.iter().find(|script| script.0 == name).map_or("", |script| script.1);
        let tool = tools.join(name);
        fs::write(&tool, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (directory, file) in [("hooks", "preflight.sh"), ("conf.d", "added.conf")] {
        fs::create_dir_all(boot.path(directory)).unwrap();
        fs::write(boot.path(directory).join(file), "").unwrap();
    }
    let (foreign, own) = (boot.path("foreign"), tools.join("boot"));
    if !own.exists() {
        fs::hard_link(env!("CARGO_BIN_EXE_boot"), &own).unwrap();
        fs::create_dir(&foreign).unwrap();
        for name in ["workspace-sync", "fix-perms", "supervisorctl", "provision"] {
            std::os::unix::fs::symlink("/bin/false", foreign.join(name)).unwrap();
        }
    }
    let mut command = boot.command_of(&own, &["run"]);
    for (option, name) in [
        ("--logs", ""),
        ("--markers", ""),
        ("--hooks", "hooks"),
        ("--store", "environment.sh"),
        ("--record", "container"),
        ("--programs", "conf.d"),
        ("--shown", "programs"),
    ] {
        command.arg(option).arg(boot.path(name));
    }
    // Like supervisord, in a process group of its own.
    command.env("PATH", format!("{}:{}", foreign.display(), env!("PATH"))).process_group(0);
    command
}

/// Runs late boot, and stops it once a stage has created the file `begun`.
fn stop_once_begun(boot: &Boot, command: &mut Command) {
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    kit::wait::until(Duration::from_secs(20), "the beginning", || boot.path("begun").exists().then_some(()))
        .unwrap();
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "supervisord does not restart it");
}

#[test]
fn a_stop_is_forwarded_and_awaited_and_nothing_further_starts() {
    let boot = Boot::new(&[]);
    let provision = format!(
        "trap 'echo {{\\\"outcome\\\":\\\"failed\\\",\\\"cause\\\":\\\"it was stopped\\\"}}; exit 1' TERM\nuntil [ ! \
         -e {} ]; do sleep 0.01; done\n: > {}\nwhile :; do sleep 0.01; done",
        boot.path("workspace_sync").display(),
        boot.path("begun").display()
    );
    for marker in ["workspace_sync", "container_config"] {
        fs::write(boot.path(marker), "").unwrap();
    }
    stop_once_begun(&boot, &mut with_tools(&boot, &provision));
    let seen = Timeline::from_entries(&boot.journal().read().unwrap());
    let provisioning = seen.stage_run(Stage::Provisioning).unwrap();
    assert_eq!(
        (provisioning.result, provisioning.cause.as_deref()),
        (Some(StageResult::Failed), Some("it was stopped"))
    );
    assert_eq!((seen.stage_run(Stage::Programs), seen.stage_run(Stage::Ready)), (None, None));
    assert!(seen.stopped && seen.stage_run(Stage::Permissions).is_some_and(|course| course.ended.is_some()));
    let report = boot.run(&["report"]).1;
    assert!(report.starts_with("Late boot was stopped; to resume it"), "{report}");
    assert!(!boot.path("workspace_sync").exists(), "that stage came to its own end");
    assert!(boot.path("container_config").exists(), "this one was cut short");
    let (code, out, err) = boot.run(&["wait", "provisioning", "--timeout", "1s", "--", "echo", "begun"]);
    assert_eq!((code, out.as_str()), (Some(124), ""), "{err}");
    assert_eq!(boot.run(&["wait", "sync"]).0, Some(0));
}

/// Script of a tool that creates the file `begun` and runs until the file `released` exists.
fn blocked_until_released(boot: &Boot) -> String {
    let dir = boot.dir.path().display();
    format!(": > {dir}/begun\nuntil [ -e {dir}/released ]; do sleep 0.01; done\n")
}

/// The same for `workspace-sync run`; other subcommands return at once.
fn held_sync(boot: &Boot) -> String {
    format!(
        "[ \"$1\" = run ] || exit 0\necho $$ > {}\n{}",
        boot.path("pid").display(),
        blocked_until_released(boot)
    )
}

#[test]
fn everything_is_ready_while_sync_is_at_work_and_its_end_is_an_end_of_its_own() {
    let boot = Boot::new(&[]);
    for marker in ["workspace_sync", "container_config"] {
        fs::write(boot.path(marker), "").unwrap();
    }
    let mut command = with_scripts(&boot, &[("workspace-sync", &held_sync(&boot))]);
    let running = command.env("WORKSPACE_SYNC", "true").stderr(Stdio::piped()).spawn().unwrap();
    for stage in ["ready", "permissions"] {
        assert_eq!(boot.run(&["wait", stage, "--timeout", "1m"]).0, Some(0), "{stage}");
    }
    let markers = ["workspace_sync", "container_config"].map(|marker| boot.path(marker).exists());
    assert_eq!(markers, [true, false]);
    assert_eq!(boot.run(&["run"]).0, Some(1), "it is still at work");
    let report: serde_json::Value = serde_json::from_str(&boot.run(&["report", "--json"]).1).unwrap();
    assert_eq!((&report["phase"], &report["at_work"]), (&"ready".into(), &true.into()));
    let text = boot.run(&["report"]).1;
    assert!(text.starts_with("Ready, ") && text.contains("Sync is still running."), "{text}");
    assert_eq!(boot.run(&["wait", "sync", "--timeout", "0s"]).0, Some(124));
    fs::write(boot.path("released"), "").unwrap();
    assert_eq!(boot.run(&["wait", "sync"]).0, Some(0));
    assert!(!boot.path("workspace_sync").exists());
    let output = String::from_utf8(running.wait_with_output().unwrap().stderr).unwrap();
    assert!(output.contains("boot: permissions finished in "), "{output}");
    // This machine has neither a script's report nor supervisord.
    assert!(output.contains("boot: problems: 2, shown by: docker exec "), "{output}");
    assert!(output.contains(" after the start; sync continues in the background\n"), "{output}");
}

#[test]
fn permissions_end_while_the_script_runs() {
    let boot = Boot::new(&[]);
    let mut running =
        with_tools(&boot, &blocked_until_released(&boot)).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(boot.run(&["wait", "permissions", "--timeout", "1m"]).0, Some(0));
    assert_eq!(boot.run(&["wait", "sync", "--timeout", "1m"]).0, Some(0));
    assert_eq!(boot.run(&["wait", "provisioning", "--timeout", "0s"]).0, Some(124));
    fs::write(boot.path("released"), "").unwrap();
    running.wait().unwrap();
}

#[test]
fn trees_are_recorded_before_permissions_change_and_new_copies_get_theirs_before_sync_has_ended() {
    let boot = Boot::new(&[]);
    fs::write(boot.path("workspace_sync"), "").unwrap();
    let words = boot.path("words");
    let note = format!(
        "echo \"${{0##*/}} $* $(ls {} 2> /dev/null | wc -l)\" >> {}",
        boot.path("workspace_sync").display(),
        words.display()
    );
    let report = r#"{"tree":"app","outcome":"copied","in_use":"workspace","copy":"/w/app","outdated":false}"#;
    let sync = format!("{note}\n[ \"$1\" = snapshot ] || echo '{report}'");
    let mut command = with_scripts(&boot, &[("workspace-sync", &sync), ("fix-perms", &note)]);
    command.stderr(Stdio::null()).status().unwrap();
    assert_eq!(boot.run(&["wait", "sync"]).0, Some(0));
    let output = fs::read_to_string(&words).unwrap();
    let mut lines: Vec<&str> = output.lines().collect();
    lines[1..3].sort_unstable();
    assert_eq!(
        lines,
        [
            "workspace-sync snapshot 1",
            "fix-perms  1",
            "workspace-sync run --json 1",
            "fix-perms --only workspace 1"
        ]
    );
    let failing = format!("{note}\n[ \"$1\" != --only ]");
    let mut command = with_scripts(&boot, &[("workspace-sync", &sync), ("fix-perms", &failing)]);
    command.stderr(Stdio::null()).status().unwrap();
    let failed = boot.run(&["wait", "sync"]);
    assert_eq!(failed.2, "boot: error: sync failed: fix-perms failed with exit code 1\n");
    let mut command = with_scripts(&boot, &[("workspace-sync", "[ \"$1\" != snapshot ]")]);
    command.stderr(Stdio::null()).status().unwrap();
    let unrecorded = "cannot record the image's trees: workspace-sync failed with exit code 1";
    assert_eq!(boot.run(&["wait", "sync"]).2, format!("boot: error: sync failed: {unrecorded}\n"));
}

#[test]
fn a_run_after_a_killed_one_does_not_meet_its_tools() {
    let boot = Boot::new(&[]);
    let mut command = with_scripts(&boot, &[("workspace-sync", &held_sync(&boot))]);
    let mut running = command.stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(boot.run(&["wait", "ready", "--timeout", "1m"]).0, Some(0));
    let wait = |what, path: PathBuf| {
        kit::wait::until(Duration::from_secs(20), what, || path.exists().then_some(())).unwrap();
    };
    wait("the tool", boot.path("begun"));
    let tool = Pid::from_raw(fs::read_to_string(boot.path("pid")).unwrap().trim().parse().unwrap());
    running.kill().unwrap();
    running.wait().unwrap();
    kit::wait::until(Duration::from_secs(20), "the end of the tool", || kill(tool, None).err()).unwrap();
    let killed = boot.run(&["report"]).1;
    assert!(killed.contains("\nsync                      killed\n"), "{killed}");
    fs::write(boot.path("released"), "").unwrap();
    command.status().unwrap();
    assert_eq!(boot.run(&["wait", "sync"]).0, Some(0));
    let seen = Timeline::from_entries(&boot.journal().read().unwrap());
    assert_eq!((seen.interrupted, seen.is_finished()), (1, true), "it had not come to its end");
}

#[test]
fn a_stop_after_ready_reaches_sync_and_its_marker_stays() {
    let boot = Boot::new(&[]);
    fs::write(boot.path("workspace_sync"), "").unwrap();
    let mut command = with_scripts(&boot, &[("workspace-sync", &held_sync(&boot))]);
    let mut running = command.stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(boot.run(&["wait", "ready", "--timeout", "1m"]).0, Some(0));
    kit::wait::until(Duration::from_secs(20), "the tool", || boot.path("begun").exists().then_some(()))
        .unwrap();
    kill(Pid::from_raw(running.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(1), "supervisord does not restart it");
    assert!(boot.path("workspace_sync").exists());
    let (code, _, err) = boot.run(&["wait", "sync", "--timeout", "0s"]);
    assert!(code == Some(124) && err.contains("to resume it, run: supervisorctl start boot"), "{err}");
    assert_eq!(boot.run(&["wait", "ready"]).0, Some(0));
}

#[test]
fn hooks_that_a_stop_left_out_are_not_done() {
    let boot = Boot::new(&[]);
    let mut command = with_tools(&boot, "");
    let hook =
        format!("trap 'exit 0' TERM\n: > {}\nwhile :; do sleep 0.01; done\n", boot.path("begun").display());
    fs::create_dir(boot.path("hooks/preflight.d")).unwrap();
    fs::write(boot.path("hooks/preflight.d/1.sh"), hook).unwrap();
    stop_once_begun(&boot, &mut command);
    let seen = Timeline::from_entries(&boot.journal().read().unwrap());
    let preflight = seen.stage_run(Stage::Preflight).unwrap();
    assert_eq!(
        (preflight.result, preflight.cause.as_deref()),
        (Some(StageResult::Failed), Some("stopped before preflight.sh ran"))
    );
    assert_eq!(preflight.hint.as_deref(), Some("run: supervisorctl restart boot"));
}

#[test]
fn runs_that_follow_a_killed_one_are_one_attempt_for_the_script_and_later_ones_another() {
    let boot = Boot::new(&[begun(), begun()]);
    let words = boot.path("words");
    let provision = format!("echo \"$*\" >> {}\necho '{{\"outcome\":\"none\"}}'", words.display());
    for _ in 0..2 {
        with_tools(&boot, &provision).stderr(Stdio::null()).status().unwrap();
    }
    let entries = boot.journal().read().unwrap();
    let mut began = entries.iter().filter(|entry| matches!(entry.event, Event::BootStarted { .. }));
    let (first, last) = (began.next().unwrap().at, began.next_back().unwrap().at);
    let journal = boot.path("boot.jsonl").display().to_string();
    let with = |attempt: f64| format!("run --wait --json --journal {journal} --attempt {attempt}\n");
    assert_eq!(fs::read_to_string(words).unwrap(), with(first) + &with(last));
}

#[test]
fn hooks_and_the_script_have_what_is_stored_and_the_containers_own_wins() {
    let boot = Boot::new(&[]);
    let seen = boot.path("seen");
    let show = format!("echo \"$STORED $GIVEN $EXPORTED\" >> {}", seen.display());
    let mut command = with_tools(&boot, &show);
    fs::write(boot.path("environment.sh"), "export STORED='a  b'\nexport GIVEN='stored'\n").unwrap();
    fs::write(boot.path("hooks/preflight.sh"), format!("export EXPORTED=\"$STORED!\"\n{show}\n")).unwrap();
    command.env("GIVEN", "given").stderr(Stdio::null()).status().unwrap();
    let both = "a  b given a  b!\n".repeat(2);
    assert_eq!(fs::read_to_string(seen).unwrap(), both);
}

#[test]
fn a_run_that_is_always_killed_is_not_begun_for_ever() {
    let boot = Boot::new(&vec![begun(); 5]);
    fs::write(boot.path("workspace_sync"), "").unwrap();
    let markers = boot.dir.path().to_str().unwrap();
    assert_eq!(boot.run(&["run", "--markers", markers]).0, Some(1));
    let seen = Timeline::from_entries(&boot.journal().read().unwrap());
    assert_eq!(seen.stages.iter().map(|course| course.stage).collect::<Vec<_>>(), [Stage::Ready]);
    assert_eq!(seen.stages[0].cause.as_deref(), Some("late boot was killed 5 times and is not restarted"));
    assert!(boot.path("workspace_sync").exists(), "the stage has not ended");
    let report = boot.run(&["report"]).1;
    assert!(report.starts_with("Late boot was abandoned; the container is not ready.\n"), "{report}");
    let cause = "late boot was killed 5 times and is not restarted";
    assert_eq!(
        boot.run(&["wait", "sync"]),
        (Some(1), String::new(), format!("boot: error: sync failed: {cause}\n"))
    );
}

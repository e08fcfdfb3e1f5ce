//! Scripts that behave, and scripts that do not.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use journal::{Event, Journal, Stage, StageResult, Timeline};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use provision::ReportOutcome::{Failed, Locked, None as Nothing, Ran, Unchanged};

use crate::machine::{Machine, Said, lives, said, until};

fn run(script: &str) -> (Machine, Said) {
    let machine = Machine::new();
    machine.mount(script);
    let said = machine.run();
    (machine, said)
}

/// The script fails with this cause, and with this last line if it prints any.
#[track_caller]
fn fails(script: &str, cause: &str, last: Option<&str>) -> (Machine, Said) {
    let (machine, said) = run(script);
    assert_eq!((said.report.cause.as_deref(), said.report.said.as_deref()), (Some(cause), last));
    assert_eq!((said.report.outcome, said.code), (Failed, Some(1)));
    let last = last.map(|last| format!("; it said last: {last}")).unwrap_or_default();
    assert_eq!(machine.log()[machine.log().len() - 2], format!("provision: failed: {cause}{last}"));
    assert_eq!(machine.status()["state"], "failed; it runs again with the next start");
    assert_eq!(machine.status()["cause"], cause);
    (machine, said)
}

fn number(text: &str) -> i32 {
    text.trim().parse().unwrap_or_else(|_| panic!("{text:?}"))
}

#[test]
fn nothing_asked_for_is_nothing_done() {
    let machine = Machine::new();
    let said = machine.run();
    assert_eq!((said.report.outcome, said.code, said.stderr.as_str()), (Nothing, Some(0), ""));
    assert!(!machine.path("provisioning.log").exists() && !machine.path("state/lock").exists());
    let status = machine.status();
    assert_eq!((status["asked for"].as_str(), status["state"].as_str()), ("nothing", "has not run"));
}

#[test]
fn a_script_runs_as_the_user_in_a_login_shell_with_the_stored_environment() {
    let mut machine = Machine::new();
    machine.set("GIVEN", "given").set("USER_PASSWORD", "hidden").set("SUPERVISOR_ENABLED", "1");
    fs::write(machine.path("environment.sh"), "export STORED='a \"b\"'\nexport GIVEN='stored'\n").unwrap();
    machine.mount(
        "echo $(id -un) $USER $LOGNAME $HOME\necho $STORED $GIVEN [$USER_PASSWORD$SUPERVISOR_ENABLED]\npwd\nshopt -q login_shell && echo login\n",
    );
    let said = machine.run();
    assert_eq!((said.report.outcome, said.code, said.report.exit_code), (Ran, Some(0), Some(0)));
    let home = "nobody nobody nobody /nonexistent".to_owned();
    let workspace = machine.path("work").display().to_string();
    assert_eq!(machine.output(), [home, "a \"b\" given []".into(), workspace, "login".into()]);
    assert_eq!(machine.notes(), ["running"]);
    let steps: Vec<String> =
        machine.log().into_iter().filter(|line| line.starts_with("provision: ")).collect();
    let (script, digest) = (machine.path("provisioning.sh"), said.report.digest.unwrap());
    assert_eq!(
        steps,
        [
            format!("provision: {}: 131 bytes, sha256 {digest}", script.display()),
            "provision: running, for the first time".into(),
            "provision: ended well after 0 s (exit status: 0)".into(),
        ]
    );
    let kept = fs::metadata(machine.path("state/script.sh")).unwrap();
    assert_eq!((kept.uid(), kept.permissions().mode() & 0o7777), (0, 0o550), "the script may hold secrets");
    let status = machine.status();
    assert_eq!((status["state"].as_str(), status["sha256"].as_str()), ("ended well", digest.as_str()));
    assert_eq!(status["exit code"], "0");
}

#[test]
fn a_script_has_the_groups_of_its_account_and_none_of_ours() {
    let machine = Machine::new();
    machine.mount("id -G");
    let tool = machine.command(&["run", "--json"]);
    let mut command = Command::new("setpriv");
    command.args(["--groups", "0,27,44"]).arg(tool.get_program()).args(tool.get_args());
    assert_eq!(command.env_clear().envs(&machine.env).status().unwrap().code(), Some(0));
    assert_eq!(machine.output(), ["65534"]);
}

#[test]
fn people_get_a_line_and_the_reason_with_its_hint() {
    let machine = Machine::new();
    machine.mount("exit 0");
    let good = machine.command(&["run"]).output().unwrap();
    let script = machine.path("provisioning.sh").display().to_string();
    assert_eq!(String::from_utf8(good.stdout).unwrap(), format!("{script} ran for 0 s\n"));
    machine.mount("exit 3");
    let bad = machine.command(&["run"]).output().unwrap();
    assert_eq!((bad.status.code(), bad.stdout.as_slice()), (Some(1), &b""[..]));
    let log = machine.path("provisioning.log").display().to_string();
    let end = format!(
        "provision: {script} failed: it ended with exit code 3\nhint: read {log}; to run it again: supervisorctl start boot\n"
    );
    let stderr = String::from_utf8(bad.stderr).unwrap();
    assert!(stderr.ends_with(&end), "{stderr}");
}

#[test]
fn where_standard_error_is_the_log_nothing_is_in_it_twice() {
    let machine = Machine::new();
    machine.mount("exit 3");
    let log = fs::File::options().create(true).append(true).open(machine.path("provisioning.log")).unwrap();
    let output = machine.command(&["run", "--json"]).stderr(log).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let lines = machine.log();
    let failed = lines.iter().filter(|line| line.contains("failed: it ended with exit code 3")).count();
    assert_eq!(failed, 1, "{lines:?}");
}

#[test]
fn other_interpreters_are_honoured_and_false_is_bash() {
    let (machine, said) = run("#!/usr/bin/env python3\nimport os\nprint('python', os.environ['USER'])\n");
    assert_eq!((said.report.outcome, machine.output()), (Ran, vec!["python nobody".to_owned()]));
    let (machine, said) = run("#!/bin/false\necho ${BASH_VERSION:+bash}\n");
    assert_eq!((said.report.outcome, machine.output()), (Ran, vec!["bash".to_owned()]));
    let (_, said) = run("#!/no/such/interpreter\n");
    let cause = said.report.cause.unwrap();
    assert!(cause.contains("it ended with exit code 12"), "{cause}");
}

#[test]
fn an_end_that_is_no_good_one_is_told_with_the_last_line() {
    let said =
        fails("echo working; echo 'no space' >&2; exit 3", "it ended with exit code 3", Some("no space")).1;
    assert_eq!((said.report.exit_code, said.report.signal), (Some(3), None));
    let oom = "it ended with exit code 137: a program was killed (signal 9), often because memory was full";
    fails("exit 137", oom, None);
    let said = fails("kill -9 $$", "it was killed (signal 9), often because memory was full", None).1;
    assert_eq!((said.report.exit_code, said.report.signal), (None, Some(9)));
    fails(
        "sh -c 'kill -9 $PPID; sleep 100'",
        "it was killed (signal 9), often because memory was full",
        None,
    );
}

#[test]
fn a_failed_script_runs_again_and_a_good_one_only_by_force() {
    let machine = Machine::new();
    machine.mount("echo x >> $WORKSPACE/ran; test $(wc -l < $WORKSPACE/ran) -gt 1");
    let outcomes: Vec<_> = (0..3).map(|_| machine.run().report.outcome).collect();
    assert_eq!(outcomes, [Failed, Ran, Unchanged]);
    assert!(machine.log().contains(&"provision: running, because it failed the last time".to_owned()));
    assert_eq!(machine.run_with(&["--force"]).report.outcome, Ran);
    assert_eq!(machine.read("work/ran"), "x\n".repeat(3));
}

#[test]
fn with_a_damaged_record_only_force_runs_a_script() {
    let machine = Machine::new();
    machine.mount("echo x >> $WORKSPACE/ran");
    assert_eq!(machine.run().report.outcome, Ran);
    fs::write(machine.path("state/state.json"), "{\"source\":").unwrap();
    let said = machine.run();
    let record = machine.path("state/state.json").display().to_string();
    let cause = format!(
        "cannot understand {record}: EOF while parsing a value at line 1 column 10; a script may have ended well before, so nothing is run"
    );
    assert_eq!((said.report.outcome, said.report.cause), (Failed, Some(cause)));
    let hint = "to run it all the same: sudo provision run --force";
    assert_eq!((said.report.hint.as_deref(), machine.read("work/ran").as_str()), (Some(hint), "x\n"));
    assert_eq!(machine.run_with(&["--force"]).report.outcome, Ran);
    assert_eq!((machine.run().report.outcome, machine.read("work/ran").as_str()), (Unchanged, "x\nx\n"));
}

#[test]
fn a_pipe_or_a_directory_in_the_place_of_a_script_is_named_and_not_waited_for() {
    let machine = Machine::new();
    let place = machine.path("provisioning.sh");
    let hint = "mount a plain file; a directory there means that the file was missing on the host";
    let cause = format!("cannot read {:?}: it is not a file", place.display().to_string());
    for make in ["mkdir", "mkfifo"] {
        assert!(Command::new(make).arg(&place).status().unwrap().success());
        let said = machine.run();
        assert_eq!((said.report.outcome, said.report.cause.as_deref()), (Failed, Some(cause.as_str())));
        assert_eq!(said.report.hint.as_deref(), Some(hint));
        let _ = fs::remove_dir(&place);
    }
}

#[test]
fn the_lock_on_the_workspace_is_honoured() {
    let machine = Machine::new();
    machine.mount("echo ran > $WORKSPACE/ran");
    fs::write(machine.path("work/.update_lock"), "").unwrap();
    let said = machine.run_with(&["--force"]);
    assert_eq!((said.report.outcome, said.code, machine.read("work/ran").as_str()), (Locked, Some(0), ""));
    let lock = machine.path("work/.update_lock").display().to_string();
    assert_eq!(said.report.cause, Some(format!("{lock} is there")));
    assert_eq!(machine.log(), [format!("provision: not run, because {lock} is there")]);
}

#[test]
fn a_script_has_no_terminal_to_wait_for() {
    let (machine, said) =
        run("read -r line || echo no input; tty; (: < /dev/tty) 2> /dev/null || echo no terminal");
    assert_eq!(said.report.outcome, Ran);
    assert_eq!(machine.output(), ["no input", "not a tty", "no terminal"]);
}

#[test]
fn a_program_that_is_left_behind_is_ended_and_named_with_the_way_out() {
    let (machine, said) =
        run("sleep 1000 & echo $! > $WORKSPACE/pid; until grep -q sleep /proc/$!/comm; do :; done");
    assert_eq!(said.report.outcome, Ran);
    let left = number(&machine.read("work/pid"));
    assert!(!lives(left));
    let advice = format!(
        "provision: warning: still running at the script's end, and ended with it: sleep ({left}); what shall stay is started with setsid, or better as a program of supervisord"
    );
    assert!(machine.log().contains(&advice), "{:?}", machine.log());
}

#[test]
fn a_program_that_prints_for_ever_is_ended_like_any_other() {
    let machine = Machine::new();
    machine.mount("(trap '' TERM; exec yes flood) & echo $! > $WORKSPACE/pid; sleep 0.1");
    let said = machine.run_with(&["--log-limit", "1000000"]);
    assert_eq!(said.report.outcome, Ran);
    assert!(!lives(number(&machine.read("work/pid"))));
}

#[test]
fn a_program_that_does_not_want_to_end_is_killed() {
    let script = "(trap '' TERM; echo $BASHPID > $WORKSPACE/pid; while :; do sleep 0.01; done) & until test -s $WORKSPACE/pid; do sleep 0.01; done";
    let (machine, said) = run(script);
    assert_eq!(said.report.outcome, Ran);
    assert!(!lives(number(&machine.read("work/pid"))));
    assert!(
        machine
            .log()
            .iter()
            .any(|line| line.starts_with("provision: did not end by itself and was killed: "))
    );
}

#[test]
fn a_program_of_its_own_session_stays_and_can_go_on_printing() {
    let script = "setsid sh -c 'echo $$ > $WORKSPACE/pid; until test -e $WORKSPACE/go; do sleep 0.01; done; for i in 1 2 3; do echo still here; done; echo alive > $WORKSPACE/alive; sleep 1000' & until test -s $WORKSPACE/pid; do sleep 0.01; done";
    let (machine, said) = run(script);
    assert_eq!(said.report.outcome, Ran);
    let stays = number(&machine.read("work/pid"));
    assert!(lives(stays));
    let line = format!("provision: stays in a session of its own: sh ({stays})");
    assert!(machine.log().iter().any(|found| found.starts_with(&line)), "{:?}", machine.log());
    fs::write(machine.path("work/go"), "").unwrap();
    until("a daemon that prints without a reader", || machine.read("work/alive") == "alive\n");
    assert!(lives(stays));
    assert_eq!(machine.run().report.outcome, Unchanged, "the lock is free");
    killpg(Pid::from_raw(stays), Signal::SIGKILL).unwrap();
}

#[test]
fn a_script_that_never_ends_is_ended_at_its_limit() {
    let mut machine = Machine::new();
    machine.set("PROVISIONING_TIMEOUT", "3s");
    machine.mount("echo $$ > $WORKSPACE/pid; echo waiting; sleep 1000");
    let said = machine.run();
    let cause = "it ran longer than PROVISIONING_TIMEOUT, 3 s, and was ended";
    assert_eq!((said.report.outcome, said.report.cause.as_deref()), (Failed, Some(cause)));
    assert_eq!(said.report.said.as_deref(), Some("waiting"));
    assert!(!lives(number(&machine.read("work/pid"))));
    assert_eq!(machine.status()["cause"], cause);
    machine.mount("exit 0");
    machine.set("PROVISIONING_TIMEOUT", "210000000000000d");
    assert_eq!(machine.run().report.outcome, Ran, "longer than any clock");
    machine.set("PROVISIONING_TIMEOUT", "soon");
    machine.mount("exit 0 ");
    assert_eq!(machine.run().report.outcome, Ran);
    let warning = "provision: warning: PROVISIONING_TIMEOUT is \"soon\", and not a time such as 90s, 30m or 2h; the script may take as long as it likes";
    assert!(machine.log().contains(&warning.to_owned()));
}

#[test]
fn two_at_once_are_one() {
    let machine = Machine::new();
    machine.mount("echo ran >> $WORKSPACE/ran; until test -e $WORKSPACE/go; do sleep 0.01; done");
    let mut first = machine.command(&["run", "--json"]);
    let first = first.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    until("the script", || machine.read("work/ran") == "ran\n");
    assert_eq!(machine.status()["state"], "running");
    let second = machine.run();
    let cause = format!("the script runs already, in process {}", first.id());
    assert_eq!((second.report.outcome, second.code, second.report.cause), (Failed, Some(1), Some(cause)));
    let mut patient = machine.command(&["run", "--wait", "--json"]);
    let patient = patient.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let opened =
        |descriptor: fs::DirEntry| fs::read_link(descriptor.path()).is_ok_and(|file| file.ends_with("lock"));
    let descriptors = format!("/proc/{}/fd", patient.id());
    until("the wait", || fs::read_dir(&descriptors).unwrap().flatten().any(opened));
    fs::write(machine.path("work/go"), "").unwrap();
    assert!(first.wait_with_output().unwrap().status.success());
    assert_eq!(said(&patient.wait_with_output().unwrap()).report.outcome, Unchanged);
    assert_eq!(machine.read("work/ran"), "ran\n");
    assert_eq!(machine.status()["state"], "ended well");
}

#[test]
fn secrets_are_masked_wherever_they_come_from() {
    let mut machine = Machine::new();
    machine.set("HF_TOKEN", "hf_s3cr3t/+value");
    fs::write(machine.path("environment.sh"), "export A_PASSWORD='stored s3cr3t'\n").unwrap();
    machine.mount(
        "printf 'hf_s3cr3t/+va'; sleep 0.2; printf 'lue\\n'\necho \"a=$A_PASSWORD\"\necho -n \"user:$HF_TOKEN\" | base64\necho hf_s3cr3t%2F%2Bvalue\necho last $A_PASSWORD >&2; sleep 0.3; exit 1\n",
    );
    let said = machine.run();
    assert_eq!(said.report.said.as_deref(), Some("last ********"));
    let output = machine.output();
    assert_eq!((output[0].as_str(), output[1].as_str()), ("********", "a=********"));
    assert!(output[2].contains("********"), "{output:?}");
    assert_eq!((output[3].as_str(), output[4].as_str()), ("********", "last ********"));
    let everything =
        ["boot.jsonl", "boot.confided.json", "state/state.json"].map(|name| machine.read(name)).concat();
    assert!(!everything.contains("s3cr3t") && !said.stderr.contains("s3cr3t"), "{everything}");
    let command_lines = machine.read("provisioning.log");
    assert!(!command_lines.contains("s3cr3t"));
}

#[test]
fn no_secret_is_in_the_arguments_of_any_process() {
    let mut machine = Machine::new();
    machine.set("HF_TOKEN", "hf_s3cr3t_value");
    machine.mount("cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\\0' ' ' | grep -c 'hf_s3cr3t_[v]alue'; true");
    assert_eq!(machine.run().report.outcome, Ran);
    assert_eq!(machine.output(), ["0"]);
}

#[test]
fn whatever_is_printed_becomes_lines() {
    let (machine, said) = run(
        r"printf 'bad \xff\xfe nul \0 bell \a\n\033[31mred\033[0m\n 10%%\r 50%%\r100%%\n\nno end'; echo err >&2; printf 'last'",
    );
    assert_eq!(said.report.outcome, Ran);
    let bytes = fs::read(machine.path("provisioning.log")).unwrap();
    let lines: Vec<String> = bytes
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.get(21..))
        .map(|line| line.escape_ascii().to_string())
        .filter(|line| !line.starts_with("provision: "))
        .collect();
    assert_eq!(lines, [r"bad \xff\xfe nul \\x00 bell \\x07", "red", "100%", "", "no enderr", "last"]);
}

#[test]
fn a_flood_is_kept_at_both_ends_and_counted_and_needs_no_memory() {
    let machine = Machine::new();
    machine.mount("echo first; seq -f '%.0f a line that is not remarkable' 2000000; echo last");
    let mut command = machine.command(&["run", "--json", "--log-limit", "1000000"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    until("the end of a flood", || {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.map_or(peak, |line| number(line.trim().trim_end_matches(" kB")).max(peak));
        line.is_none()
    });
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!((1_000..20_000).contains(&peak), "{peak} kB");
    let (head, tail) = (machine.read("provisioning.log.2"), machine.read("provisioning.log"));
    assert!(head.contains("Z first\n") && tail.contains("Z last\n"));
    assert!(tail.contains(" of output are dropped, from between "), "{}", &tail[..200]);
    for name in ["provisioning.log", "provisioning.log.1", "provisioning.log.2"] {
        assert!(fs::metadata(machine.path(name)).unwrap().len() < 2_000_000, "{name}");
    }
}

#[test]
fn the_last_line_is_confided_while_the_script_runs_and_everybody_reads_our_words_only() {
    let machine = Machine::new();
    machine.mount("echo step 1; until test -e $WORKSPACE/go; do sleep 0.01; done; echo step 2; exit 3");
    let mut command = machine.command(&["run", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    until("the first step", || machine.confided().as_deref() == Some("step 1"));
    fs::write(machine.path("work/go"), "").unwrap();
    let said = said(&child.wait_with_output().unwrap());
    assert_eq!((said.report.outcome, said.report.said.as_deref()), (Failed, Some("step 2")));
    assert_eq!(machine.notes(), ["running"]);
    let confided = fs::metadata(machine.path("boot.confided.json")).unwrap();
    assert_eq!(confided.permissions().mode() & 0o7777, 0o640);
    for entry in ["boot.jsonl", "state/state.json", "provisioning.log", "state/script.sh"] {
        let for_all = fs::metadata(machine.path(entry)).unwrap().permissions().mode() & 0o004 != 0;
        assert!(!for_all || !machine.read(entry).contains("step"), "{entry}");
    }
}

#[test]
fn a_run_by_hand_corrects_what_late_boot_has_said_and_does_not_anticipate_it() {
    let machine = Machine::new();
    let journal = Journal::at(&machine.path("boot.jsonl"));
    let told = || {
        let course = Timeline::of(&journal.read().unwrap()).course(Stage::Provisioning).cloned().unwrap();
        (course.result, course.cause)
    };
    let stage = Stage::Provisioning;
    for event in [Event::BootStarted { pid: 1 }, Event::StageStarted { stage }] {
        journal.append(event).unwrap();
    }
    machine.mount("test -e $WORKSPACE/good || { echo no such model; exit 3; }");
    assert_eq!(machine.run().report.outcome, Failed);
    assert_eq!(told(), (None, None), "late boot is waiting, and says it itself");
    let cause = Some("at boot".to_owned());
    journal.append(Event::StageEnded { stage, result: StageResult::Failed, cause, hint: None }).unwrap();
    assert_eq!(machine.run().report.outcome, Failed);
    let cause = "it ended with exit code 3; it said last: no such model";
    assert_eq!(told(), (Some(StageResult::Failed), Some(cause.to_owned())));
    fs::write(machine.path("work/good"), "").unwrap();
    assert_eq!(machine.run().report.outcome, Ran);
    assert_eq!(told(), (Some(StageResult::Done), None));
    assert_eq!(machine.run().report.outcome, Unchanged);
    assert_eq!(told(), (Some(StageResult::Done), None), "nothing has changed since");
}

#[test]
fn only_root_can_run_a_script_and_everybody_can_ask() {
    let machine = Machine::new();
    machine.mount("echo x > $WORKSPACE/ran; until test -e $WORKSPACE/go; do sleep 0.01; done");
    let program = machine.path("provision");
    // By another process: while this one writes a program, a child of another test may keep it open and busy.
    let copied = Command::new("cp").arg(machine.command(&[]).get_program()).arg(&program).status();
    assert!(copied.unwrap().success());
    let as_nobody = |task: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(&program).args(machine.command(task).get_args()).env_clear().envs(&machine.env);
        command.output().unwrap()
    };
    let state = || String::from_utf8(as_nobody(&["status"]).stdout).unwrap();
    let refused = as_nobody(&["run"]);
    assert_eq!(refused.status.code(), Some(1));
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(stderr.ends_with("hint: type: sudo provision run\n"), "{stderr}");
    let child = machine.command(&["run", "--json"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    until("the script", || machine.read("work/ran") == "x\n");
    let words =
        "state      cannot tell whether it runs or was cut short; ask as root or as the system user\n";
    assert!(state().contains(words), "{}", state());
    fs::write(machine.path("work/go"), "").unwrap();
    assert_eq!(said(&child.unwrap().wait_with_output().unwrap()).report.outcome, Ran);
    assert!(state().contains("state      ended well\n"), "{}", state());
}

#[test]
fn an_account_that_is_not_there_or_is_roots_is_named() {
    let mut machine = Machine::new();
    machine.mount("exit 0");
    machine.set("USER_NAME", "root");
    assert_eq!(machine.run().report.cause.as_deref(), Some("scripts do not run as \"root\""));
    assert_eq!(machine.status()["state"], "has not run");
}

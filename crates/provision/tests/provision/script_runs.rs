//! Scripts that succeed, and scripts that fail.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use journal::{Event, Journal, Stage, StageResult, Timeline};
use provision::ReportOutcome::{Failed, Locked, None as Nothing, Ran, Unchanged};

use crate::fixture::{Machine, RunOutput, parse_output, until};

pub fn run(script: &str) -> (Machine, RunOutput) {
    let machine = Machine::new();
    machine.mount(script);
    let result = machine.run();
    (machine, result)
}

/// Asserts that the script fails with this cause, and with this last line if it prints any.
#[track_caller]
fn fails(script: &str, cause: &str, last: Option<&str>) -> (Machine, RunOutput) {
    let (machine, result) = run(script);
    assert_eq!((result.report.cause.as_deref(), result.report.last_line.as_deref()), (Some(cause), last));
    assert_eq!((result.report.outcome, result.code), (Failed, Some(1)));
    let last = last.map(|last| format!("; last output: {last}")).unwrap_or_default();
    assert_eq!(machine.log()[machine.log().len() - 2], format!("provision: failed: {cause}{last}"));
    assert_eq!(machine.status()["state"], "failed; it is retried at the next start");
    assert_eq!(machine.status()["cause"], cause);
    (machine, result)
}

pub fn number(text: &str) -> i32 {
    text.trim().parse().unwrap_or_else(|_| panic!("{text:?}"))
}

#[test]
fn nothing_asked_for_is_nothing_done() {
    let machine = Machine::new();
    let result = machine.run();
    assert_eq!((result.report.outcome, result.code, result.stderr.as_str()), (Nothing, Some(0), ""));
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
    let result = machine.run();
    assert_eq!((result.report.outcome, result.code, result.report.exit_code), (Ran, Some(0), Some(0)));
    let home = "nobody nobody nobody /nonexistent".to_owned();
    let workspace = machine.path("work").display().to_string();
    assert_eq!(machine.output(), [home, "a \"b\" given []".into(), workspace, "login".into()]);
    assert_eq!(machine.notes(), ["running"]);
    let steps: Vec<String> =
        machine.log().into_iter().filter(|line| line.starts_with("provision: ")).collect();
    let (script, digest) = (machine.path("provisioning.sh"), result.report.digest.unwrap());
    assert_eq!(
        steps,
        [
            format!("provision: {}: 131 bytes, sha256 {digest}", script.display()),
            "provision: running, for the first time".into(),
            format!(
                "provision: exited successfully after {} s (exit status: 0)",
                result.report.seconds.unwrap()
            ),
        ]
    );
    let kept = fs::metadata(machine.path("state/script.sh")).unwrap();
    assert_eq!((kept.uid(), kept.permissions().mode() & 0o7777), (0, 0o550), "the script may hold secrets");
    let status = machine.status();
    assert_eq!(
        (status["state"].as_str(), status["sha256"].as_str()),
        ("exited successfully", digest.as_str())
    );
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
    let line = String::from_utf8(good.stdout).unwrap();
    let seconds = line.strip_prefix(&format!("{script} ran for ")).and_then(|rest| rest.strip_suffix(" s\n"));
    assert!(seconds.is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{line}");
    machine.mount("exit 3");
    let bad = machine.command(&["run"]).output().unwrap();
    assert_eq!((bad.status.code(), bad.stdout.as_slice()), (Some(1), &b""[..]));
    let log = machine.path("provisioning.log").display().to_string();
    let end = format!(
        "provision: {script} failed: the script failed with exit code 3\nhint: read {log}; to run it again: supervisorctl restart boot\n"
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
    let failed =
        lines.iter().filter(|line| line.contains("failed: the script failed with exit code 3")).count();
    assert_eq!(failed, 1, "{lines:?}");
}

#[test]
fn the_first_line_is_honoured_and_false_is_bash() {
    let (machine, result) = run("#!/usr/bin/env python3\nimport os\nprint('python', os.environ['USER'])\n");
    assert_eq!((result.report.outcome, machine.output()), (Ran, vec!["python nobody".to_owned()]));
    let (machine, result) = run("#!/bin/false\necho ${BASH_VERSION:+bash}\n");
    assert_eq!((result.report.outcome, machine.output()), (Ran, vec!["bash".to_owned()]));
    let (machine, result) = run("#!/no/such/interpreter\necho ran\n");
    let cause = result.report.cause.unwrap();
    assert!(cause.contains("#!/no/such/interpreter: the interpreter cannot be run"), "{cause}");
    assert_eq!(machine.output(), [""; 0]);
    assert!(!machine.log().iter().any(|line| line.contains("running")), "{:?}", machine.log());
}

#[test]
fn a_script_that_is_rejected_after_a_good_run_is_no_success_in_the_status() {
    let (machine, result) = run("echo one");
    assert_eq!((result.report.outcome, machine.status()["state"].as_str()), (Ran, "exited successfully"));
    machine.mount("#!bash\necho two");
    let result = machine.run();
    let status = machine.status();
    assert_eq!(status["state"], "could not be run; it is retried at the next start");
    assert!(status["not run"].ends_with(&format!("Z: {}", result.report.cause.unwrap())), "{status:?}");
    assert_eq!(
        (status["last run"].as_str(), status["exit code"].as_str()),
        (status["asked for"].as_str(), "0")
    );
    fs::remove_file(machine.path("provisioning.sh")).unwrap();
    assert_eq!(machine.status()["state"], "exited successfully", "nothing is asked for any more");
    machine.mount("echo one");
    assert_eq!(
        (machine.run().report.outcome, machine.status()["state"].as_str()),
        (Unchanged, "exited successfully")
    );
    assert!(!machine.path("state/rejected.json").exists());
}

#[test]
fn options_in_the_first_line_count_and_a_failed_command_is_no_success() {
    for first_line in [
        "#!/bin/bash -e",
        "#!/bin/bash \t-eu ",
        "#!/usr/bin/env -S bash -e",
        "#!/bin/sh -e",
        "\u{feff}#!/bin/bash -e\r",
        "\n  \n #!/bin/bash -e",
        "#!/usr/bin/env -S /bin/bash -euo pipefail",
    ] {
        let (machine, result) = run(&format!("{first_line}\necho begun\nfalse\necho not reached\n"));
        assert_eq!((result.report.outcome, result.report.exit_code), (Failed, Some(1)), "{first_line}");
        assert_eq!(machine.output(), ["begun"], "{first_line}");
    }
    let (_, result) = run("#!/bin/bash\nfalse\necho reached\n");
    assert_eq!(result.report.outcome, Ran);
}

#[test]
fn a_failure_is_reported_with_the_last_line() {
    let result = fails(
        "echo working; echo 'no space' >&2; exit 3",
        "the script failed with exit code 3",
        Some("no space"),
    )
    .1;
    assert_eq!((result.report.exit_code, result.report.signal), (Some(3), None));
    let oom = "the script failed with exit code 137: a program was killed (signal 9), often because memory was full";
    fails("exit 137", oom, None);
    let result =
        fails("kill -9 $$", "the script was killed (signal 9), often because memory was full", None).1;
    assert_eq!((result.report.exit_code, result.report.signal), (None, Some(9)));
    fails(
        "sh -c 'kill -9 $PPID; sleep 100'",
        "the script was killed (signal 9), often because memory was full",
        None,
    );
}

#[test]
fn a_failed_script_runs_again_and_a_good_one_only_by_force() {
    let machine = Machine::new();
    machine.mount("echo x >> $WORKSPACE/ran; test $(wc -l < $WORKSPACE/ran) -gt 1");
    let outcomes: Vec<_> = (0..3).map(|_| machine.run().report.outcome).collect();
    assert_eq!(outcomes, [Failed, Ran, Unchanged]);
    assert!(machine.log().contains(&"provision: running, because the last run failed".to_owned()));
    assert_eq!(machine.run_with(&["--force"]).report.outcome, Ran);
    assert_eq!(machine.read("work/ran"), "x\n".repeat(3));
}

#[test]
fn with_a_damaged_record_only_force_runs_a_script() {
    let machine = Machine::new();
    machine.mount("echo x >> $WORKSPACE/ran");
    assert_eq!(machine.run().report.outcome, Ran);
    fs::write(machine.path("state/state.json"), "{\"source\":").unwrap();
    let result = machine.run();
    let record = machine.path("state/state.json").display().to_string();
    let cause = format!(
        "cannot parse {record}: EOF while parsing a value at line 1 column 10; not running the script, because it may already have run successfully"
    );
    assert_eq!((result.report.outcome, result.report.cause), (Failed, Some(cause)));
    let hint = "to run it anyway: sudo provision run --force";
    assert_eq!((result.report.hint.as_deref(), machine.read("work/ran").as_str()), (Some(hint), "x\n"));
    assert_eq!(machine.run_with(&["--force"]).report.outcome, Ran);
    assert_eq!((machine.run().report.outcome, machine.read("work/ran").as_str()), (Unchanged, "x\nx\n"));
}

#[test]
fn a_pipe_or_a_directory_in_the_place_of_a_script_is_named_and_not_waited_for() {
    let machine = Machine::new();
    let place = machine.path("provisioning.sh");
    let hint = "mount a regular file (Docker creates a directory if the file does not exist on the host)";
    for (make, kind) in [("mkdir", "a directory"), ("mkfifo", "a FIFO")] {
        let cause =
            format!("cannot read {:?}: it is {kind}, not a regular file", place.display().to_string());
        assert!(Command::new(make).arg(&place).status().unwrap().success());
        let result = machine.run();
        assert_eq!((result.report.outcome, result.report.cause.as_deref()), (Failed, Some(cause.as_str())));
        assert_eq!(result.report.hint.as_deref(), Some(hint));
        let _ = fs::remove_dir(&place);
    }
}

#[test]
fn the_lock_on_the_workspace_is_honoured() {
    let machine = Machine::new();
    machine.mount("echo ran > $WORKSPACE/ran");
    fs::write(machine.path("work/.update_lock"), "").unwrap();
    let result = machine.run_with(&["--force"]);
    assert_eq!(
        (result.report.outcome, result.code, machine.read("work/ran").as_str()),
        (Locked, Some(0), "")
    );
    let lock = machine.path("work/.update_lock").display().to_string();
    assert_eq!(result.report.cause, Some(format!("{lock} is there")));
    assert_eq!(machine.log(), [format!("provision: not run, because {lock} is there")]);
}

#[test]
fn a_script_has_no_terminal_to_wait_for() {
    let (machine, result) =
        run("read -r line || echo no input; tty; (: < /dev/tty) 2> /dev/null || echo no terminal");
    assert_eq!(result.report.outcome, Ran);
    assert_eq!(machine.output(), ["no input", "not a tty", "no terminal"]);
    let (machine, result) = run("set -e\nread -r answer < /dev/tty\n");
    let (script, report) = (machine.path("state/script.sh").display().to_string(), result.report);
    assert_eq!(
        (report.outcome, report.cause.as_deref()),
        (Failed, Some("the script failed with exit code 1"))
    );
    assert_eq!(report.last_line, Some(format!("{script}: line 2: /dev/tty: No such device or address")));
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
    let cause = format!("the script is already running as process {}", first.id());
    assert_eq!((second.report.outcome, second.code, second.report.cause), (Failed, Some(1), Some(cause)));
    let mut patient = machine.command(&["run", "--wait", "--json"]);
    let patient = patient.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let opened =
        |descriptor: fs::DirEntry| fs::read_link(descriptor.path()).is_ok_and(|file| file.ends_with("lock"));
    let descriptors = format!("/proc/{}/fd", patient.id());
    until("the wait", || fs::read_dir(&descriptors).unwrap().flatten().any(opened));
    fs::write(machine.path("work/go"), "").unwrap();
    assert!(first.wait_with_output().unwrap().status.success());
    assert_eq!(parse_output(&patient.wait_with_output().unwrap()).report.outcome, Unchanged);
    assert_eq!(machine.read("work/ran"), "ran\n");
    assert_eq!(machine.status()["state"], "exited successfully");
}

#[test]
fn a_manual_run_corrects_the_result_of_late_boot_and_does_not_anticipate_it() {
    let machine = Machine::new();
    let journal = Journal::new(&machine.path("boot.jsonl"));
    let told = || {
        let course =
            Timeline::from_entries(&journal.read().unwrap()).stage_run(Stage::Provisioning).cloned().unwrap();
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
    let cause = "the script failed with exit code 3; last output: no such model";
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
    // By another process: if this one wrote the program, a child of another test could keep it open (ETXTBSY).
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
    assert!(stderr.ends_with("hint: run: sudo provision run\n"), "{stderr}");
    let child = machine.command(&["run", "--json"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    until("the script", || machine.read("work/ran") == "x\n");
    let words = "state      cannot tell whether it is running; run this as root or the system user\n";
    assert!(state().contains(words), "{}", state());
    fs::write(machine.path("work/go"), "").unwrap();
    assert_eq!(parse_output(&child.unwrap().wait_with_output().unwrap()).report.outcome, Ran);
    assert!(state().contains("state      exited successfully\n"), "{}", state());
}

#[test]
fn an_account_that_is_not_there_or_is_roots_is_named() {
    let mut machine = Machine::new();
    machine.mount("exit 0");
    machine.set("USER_NAME", "root");
    assert_eq!(machine.run().report.cause.as_deref(), Some("no unprivileged user \"root\" exists"));
    assert_eq!(machine.status()["state"], "could not be run; it is retried at the next start");
}

#[test]
fn a_dry_run_prints_what_a_run_would_do_and_leaves_no_trace() {
    let machine = Machine::new();
    let dry_run = |options: &[&str]| {
        let output = machine.command(&[&["run", "--dry-run"], options].concat()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    assert_eq!(dry_run(&["-q"]), (Some(0), "would not run: no script is configured\n".into(), String::new()));
    machine.mount("echo x >> $WORKSPACE/ran");
    let (code, answer, _) = dry_run(&[]);
    assert_eq!(code, Some(0));
    let script = machine.path("provisioning.sh").display().to_string();
    assert!(answer.starts_with(&format!("would run {script} (sha256 ")), "{answer}");
    assert!(answer.ends_with("): for the first time\n"), "{answer}");
    for untouched in ["work/ran", "provisioning.log", "boot.jsonl", "state/state.json", "state/lock"] {
        assert!(!machine.path(untouched).exists(), "{untouched}");
    }
    assert_eq!(machine.run().report.outcome, Ran);
    assert!(dry_run(&[]).1.ends_with("): it has already run successfully\n"));
    assert!(dry_run(&["--force"]).1.ends_with("): because of --force\n"));
    machine.mount("<html>");
    let (code, answer, error) = dry_run(&["-q"]);
    assert_eq!((code, answer.as_str()), (Some(1), ""));
    assert!(error.starts_with(&format!("provision: {script} is an HTML page, not a script\n")), "{error}");
    assert_eq!(machine.read("work/ran"), "x\n");
}

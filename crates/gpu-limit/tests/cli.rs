//! The real binary: exit code, stdout and stderr.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod machine;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use machine::{Machine, uuid};

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn command(machine: &Machine, env: &[(&str, &str)], args: &[&str]) -> Command {
    let (action, rest) = args.split_at(usize::from(args.first() == Some(&"exec")));
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-limit"));
    command.env_clear().envs(env.iter().copied()).args(action).arg("--root").arg(machine.root()).args(rest);
    command
}

fn run(machine: &Machine, env: &[(&str, &str)], args: &[&str]) -> Ran {
    command(machine, env, args).output().unwrap().into()
}

#[track_caller]
fn check(ran: &Ran, code: i32, stdout: &str, stderr: &str) {
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(code), stdout, stderr));
}

fn two_nvidia() -> Machine {
    let machine = Machine::empty();
    machine.nvidia("0000:0a:00.0", 0, 'a').nvidia("0000:07:00.0", 1, '7');
    machine
}

#[test]
fn the_report_shows_gpus_limit_and_exports() {
    let ran = run(&two_nvidia(), &[("GPU_COUNT", "1")], &[]);
    let (first, second) = (uuid('7'), uuid('a'));
    let expected = format!(
        "nvidia  0000:07:00.0  /dev/nvidia1         {first}  NVIDIA A100-SXM4-80GB\n\
         nvidia  0000:0a:00.0  /dev/nvidia0         {second}  NVIDIA A100-SXM4-80GB\n\
         limit   1\n\
         export  CUDA_DEVICE_ORDER=PCI_BUS_ID\n\
         export  CUDA_VISIBLE_DEVICES={first}\n"
    );
    check(&ran, 0, &expected, "");
}

#[test]
fn a_reservation_of_swarm_is_exported_by_its_full_name() {
    let ran =
        run(&two_nvidia(), &[("DOCKER_RESOURCE_NVIDIA-GPU", "GPU-aaaa")], &["exec", "--", "/usr/bin/env"]);
    let expected = format!("CUDA_DEVICE_ORDER=PCI_BUS_ID\nCUDA_VISIBLE_DEVICES={}\n", uuid('a'));
    let mut lines: Vec<_> = ran.stdout.lines().filter(|line| line.starts_with("CUDA")).collect();
    lines.sort_unstable();
    assert_eq!((ran.code, lines.join("\n") + "\n", ran.stderr.as_str()), (Some(0), expected, ""));
}

#[test]
fn a_machine_without_gpus_is_no_error() {
    check(&run(&Machine::empty(), &[], &[]), 0, "no GPU found\nlimit   none\n", "");
}

#[test]
fn a_bad_count_is_a_warning() {
    for count in ["-1", "many"] {
        let ran = run(&Machine::empty(), &[("GPU_COUNT", count)], &[]);
        let output = format!(
            "gpu-limit: warning: GPU_COUNT: {count:?} is not a number of GPUs (0 or more, or 'all'); no limit is set\n"
        );
        check(&ran, 0, "no GPU found\nlimit   none\n", &output);
    }
}

#[test]
fn the_json_object_is_an_interface() {
    let machine = Machine::empty();
    machine
        .nvidia("0000:0a:00.0", 0, 'a')
        .nvidia("0000:07:00.0", 1, '?')
        .mig(0, 7, 66)
        .amd(1, 128)
        .write("dev/nvidia7", "");
    let ran = run(&machine, &[("GPU_COUNT", "1"), ("CUDA_VISIBLE_DEVICES", "1,0")], &["--json"]);
    let expected = format!(
        concat!(
            r#"{{"gpus":["#,
            r#"{{"vendor":"nvidia","device":"/dev/nvidia1","pci":"0000:07:00.0","model":"NVIDIA A100-SXM4-80GB","#,
            r#""uuid":null,"mig":null}},"#,
            r#"{{"vendor":"nvidia","device":"/dev/nvidia0","pci":"0000:0a:00.0","model":"NVIDIA A100-SXM4-80GB","#,
            r#""uuid":"{}","mig":[{{"gpu_instance":7,"compute_instance":0}}]}},"#,
            r#"{{"vendor":"amd","device":"/dev/dri/renderD128","pci":"0000:01:00.0","model":"gfx90a","#,
            r#""uuid":"GPU-0000000000000001","mig":null}}],"#,
            r#""limit":1,"#,
            r#""variables":{{"CUDA_VISIBLE_DEVICES":"1"}},"#,
            r#""problems":[],"#,
            r#""remarks":["/dev/nvidia7 is not a GPU that the driver knows"]}}"#,
            "\n"
        ),
        uuid('a')
    );
    check(&ran, 0, &expected, "");
}

#[test]
fn the_json_object_of_an_empty_machine_has_the_same_fields_and_the_problems() {
    let ran = run(&Machine::empty(), &[("GPU_COUNT", "x")], &["--json"]);
    let expected = concat!(
        r#"{"gpus":[],"limit":null,"variables":{},"problems":[{"setting":"GPU_COUNT","#,
        r#""message":"\"x\" is not a number of GPUs (0 or more, or 'all'); no limit is set"}],"remarks":[]}"#,
        "\n"
    );
    check(&ran, 0, expected, "");
}

#[test]
fn exec_gives_the_command_the_variables_and_keeps_the_rest() {
    let show = "echo \"$CUDA_VISIBLE_DEVICES|$CUDA_DEVICE_ORDER|$KEPT\"";
    let env = [("GPU_COUNT", "1"), ("KEPT", "a b")];
    let ran = run(&two_nvidia(), &env, &["exec", "--", "/bin/sh", "-c", show]);
    check(&ran, 0, &format!("{}|PCI_BUS_ID|a b\n", uuid('7')), "");
    let show = "echo \"${CUDA_VISIBLE_DEVICES-unset}|$ROCR_VISIBLE_DEVICES\"";
    let ran = run(&two_nvidia(), &[("GPU_COUNT", "0")], &["exec", "--", "/bin/sh", "-c", show]);
    check(&ran, 0, "|-1\n", "");
    let ran = run(&two_nvidia(), &[("GPU_COUNT", "2")], &["exec", "/bin/sh", "-c", show]);
    check(&ran, 0, "unset|\n", "");
}

#[test]
fn exec_warns_of_a_bad_count_and_runs_the_command() {
    let ran = run(&two_nvidia(), &[("GPU_COUNT", "1.5")], &["exec", "--", "/bin/sh", "-c", "echo ran"]);
    let output = "gpu-limit: warning: GPU_COUNT: \"1.5\" is not a number of GPUs (0 or more, or 'all'); no limit is set\n";
    check(&ran, 0, "ran\n", output);
}

#[test]
fn exec_becomes_the_command_so_its_code_and_its_signal_are_its_own() {
    let machine = Machine::empty();
    check(&run(&machine, &[], &["exec", "--", "/bin/sh", "-c", "exit 7"]), 7, "", "");
    let status = command(&machine, &[], &["exec", "--", "/bin/sh", "-c", "kill -TERM $$"]).status().unwrap();
    assert_eq!(status.signal(), Some(15), "a child in between would have turned the signal into a code");
}

#[test]
fn exec_distinguishes_a_missing_command_from_one_that_cannot_run() {
    let machine = Machine::empty();
    let path = machine.root().to_str().unwrap();
    let ran = run(&machine, &[("PATH", path)], &["exec", "--", "nosuch", "secret"]);
    check(&ran, 127, "", "gpu-limit: cannot run \"nosuch\": No such file or directory (os error 2)\n");

    machine.write("plain", "#!/bin/sh\n");
    let plain = machine.root().join("plain");
    std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).unwrap();
    let plain = plain.to_str().unwrap();
    let ran = run(&machine, &[], &["exec", "--", plain]);
    check(&ran, 126, "", &format!("gpu-limit: cannot run {plain:?}: Permission denied (os error 13)\n"));
}

#[test]
fn a_wrong_command_line_is_a_usage_error_on_stderr() {
    for args in [&["exec"][..], &["exec", "--"], &["--jsno"], &["--json", "exec", "--", "true"], &["show"]] {
        let ran = run(&Machine::empty(), &[], args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(ran.stderr.contains("Usage:"), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn help_starts_with_the_description_and_names_the_variable() {
    let ran = run(&Machine::empty(), &[], &["--help"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(ran.stdout.lines().next(), Some(env!("CARGO_PKG_DESCRIPTION")));
    assert!(ran.stdout.contains("GPU_COUNT") && !ran.stdout.contains("--root"), "{}", ran.stdout);
}

#[test]
fn a_reader_that_is_gone_is_no_failure() {
    for args in [&[][..], &["--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(&two_nvidia(), &[], args).stdout(writer).output().unwrap();
        check(&output.into(), 0, "", "");
    }
}

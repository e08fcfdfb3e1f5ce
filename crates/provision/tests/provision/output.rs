//! Output of a script: its form in the log, and its readers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use provision::ReportOutcome::{Failed, Ran};

use crate::fixture::{Machine, parse_output, until};
use crate::script_runs::{number, run};

#[test]
fn secrets_are_masked_wherever_they_come_from() {
    let mut machine = Machine::new();
    machine.set("HF_TOKEN", "hf_s3cr3t/+value");
    fs::write(machine.path("environment.sh"), "export A_PASSWORD='stored s3cr3t'\n").unwrap();
    machine.mount(
        "printf 'hf_s3cr3t/+va'; sleep 0.2; printf 'lue\\n'\necho \"a=$A_PASSWORD\"\necho -n \"user:$HF_TOKEN\" | base64\necho hf_s3cr3t%2F%2Bvalue\necho last $A_PASSWORD >&2; sleep 0.3; exit 1\n",
    );
    let result = machine.run();
    assert_eq!(result.report.last_line.as_deref(), Some("last ********"));
    let output = machine.output();
    assert_eq!((output[0].as_str(), output[1].as_str()), ("********", "a=********"));
    assert!(output[2].contains("********"), "{output:?}");
    assert_eq!((output[3].as_str(), output[4].as_str()), ("********", "last ********"));
    let everything =
        ["boot.jsonl", "boot.confided.json", "state/state.json"].map(|name| machine.read(name)).concat();
    assert!(!everything.contains("s3cr3t") && !result.stderr.contains("s3cr3t"), "{everything}");
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
    let (machine, result) = run(
        r"printf 'bad \xff\xfe nul \0 bell \a\n\033[31mred\033[0m\n 10%%\r 50%%\r100%%\n\nno end'; echo err >&2; printf 'last'",
    );
    assert_eq!(result.report.outcome, Ran);
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
    assert!(tail.contains(" of output, from between "), "{}", &tail[..200]);
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
    until("the first step", || machine.restricted_note().as_deref() == Some("step 1"));
    fs::write(machine.path("work/go"), "").unwrap();
    let result = parse_output(&child.wait_with_output().unwrap());
    assert_eq!((result.report.outcome, result.report.last_line.as_deref()), (Failed, Some("step 2")));
    assert_eq!(machine.notes(), ["running"]);
    let confided = fs::metadata(machine.path("boot.confided.json")).unwrap();
    assert_eq!(confided.permissions().mode() & 0o7777, 0o640);
    for entry in ["boot.jsonl", "state/state.json", "provisioning.log", "state/script.sh"] {
        let for_all = fs::metadata(machine.path(entry)).unwrap().permissions().mode() & 0o004 != 0;
        assert!(!for_all || !machine.read(entry).contains("step"), "{entry}");
    }
}

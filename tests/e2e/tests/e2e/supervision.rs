//! Programs that fail: all are named, and those of the base image come back for as long as the container lives.

use harness::{Container, RunOptions};
use serde_json::Value;

use crate::portal::problems;

/// Lines that supervisord's launcher prints about a program.
fn program(container: &Container, name: &str) -> Value {
    let text = container.exec(&["cat", "/run/leonardo/programs.json"]).text();
    serde_json::from_str::<Value>(&text).expect("states of programs")[name].clone()
}

/// Takes a program's file away, ends what runs of it, and waits until it has failed so often in a row.
#[track_caller]
fn break_program(container: &Container, name: &str, file: &str, failures: u64) {
    container.sh(&format!("mv {file} {file}.away && kill -9 $(supervisorctl pid {name})")).text();
    // Caddy outlives its caddy-run.
    container.sh(&format!("pkill -9 -x {}", file.rsplit('/').next().expect("a name")));
    container
        .wait_until("failures in a row", || program(container, name)["failures"].as_u64() >= Some(failures));
}

#[track_caller]
fn mend_program(container: &Container, name: &str, file: &str) {
    container.sh(&format!("mv {file}.away {file}")).text();
    container.wait_until("it to run again", || program(container, name)["state"] == "RUNNING");
}

#[test]
fn a_caddy_that_cannot_start_makes_the_engine_call_the_container_unhealthy_until_it_is_back() {
    let run = RunOptions::new().option("--health-interval=1s").option("--health-start-period=0s");
    let container = run.option("--health-retries=2").start_and_wait();
    let is = |status: &str| container.health().0 == status;
    container.wait_until("the engine to see it healthy", || is("healthy"));
    assert_eq!(container.health().1.trim(), "the portal answers");
    // Upstream gives up after the fourth.
    break_program(&container, "caddy", "/opt/caddy/bin/caddy", 5);
    // While it is starting once more, its past is in other words.
    let down = "caddy: the program is down after ";
    container.wait_until("the engine to see it unhealthy", || {
        let (status, printed) = container.health();
        status == "unhealthy"
            && printed.contains("the portal does not answer: curl: ")
            && printed.contains(down)
    });
    for words in ["report", "banner"] {
        container.wait_until(words, || {
            let said = container.exec(&["boot", words]).text();
            said.contains(down) && said.contains("/var/log/supervisor/caddy.log")
        });
    }
    mend_program(&container, "caddy", "/opt/caddy/bin/caddy");
    container.wait_for_portal();
    container.wait_until("the engine to see it healthy again", || is("healthy"));
}

#[test]
fn another_program_that_is_down_is_named_and_does_not_shut_the_door() {
    let container = RunOptions::new().option("--health-interval=1s").start_and_wait();
    break_program(&container, "storagemonitor", "/opt/leonardo/bin/storage-monitor", 2);
    let named = "storagemonitor: the program is down after ";
    container.wait_until("the health check to name it", || container.health().1.contains(named));
    assert_eq!(container.health().0, "healthy");
    let [_, _, token] = container.login();
    let web = container.web(1111).with("Authorization", &format!("Bearer {token}"));
    let shown = problems(&web);
    let reason = "(can't find command '/opt/leonardo/bin/storage-monitor')";
    assert!(shown.iter().any(|line| line.starts_with(named) && line.contains(reason)), "{shown:#?}");
    mend_program(&container, "storagemonitor", "/opt/leonardo/bin/storage-monitor");
}

#[test]
fn a_program_that_lives_a_little_longer_than_it_must_is_started_with_pauses_too_and_can_be_stopped() {
    let container = RunOptions::new().start_and_wait();
    container.wait_until_ready();
    container.write(
        "/etc/supervisor/conf.d/brief.conf",
        "[program:brief]\ncommand=sleep 1.2\nstartsecs=1\nautorestart=true\nstartretries=1000000\n",
    );
    container.exec(&["supervisorctl", "update"]).text();
    let brief = || program(&container, "brief");
    container
        .wait_until("a pause", || brief()["failures"].as_u64() >= Some(3) && brief()["state"] == "BACKOFF");
    assert_eq!(brief()["end"], "exit code 0");
    assert_eq!(container.exec(&["supervisorctl", "stop", "brief"]).text(), "brief: stopped");
    assert_eq!((&brief()["state"], &brief()["failures"]), (&"STOPPED".into(), &0.into()));
}

const PROGRAMS: &str = "\
[program:nofile]
command=/opt/none/here
[program:quit]
command=/bin/false
[program:crash]
command=/bin/sh -c 'sleep 1.2; exit 3'
[program:pair]
command=/bin/false
process_name=%(program_name)s_%(process_num)d
numprocs=2
[program:off]
command=/bin/false
autostart=false
[program:once]
command=/bin/sh -c 'echo to stdout; echo to stderr >&2; exit 1'
startsecs=0
autorestart=false
[eventlistener:ear]
command=/bin/sh -c 'echo to stderr >&2; sleep 1000'
events=SUPERVISOR_STATE_CHANGE
";

/// The names that the health check gives, which do not change its answer.
fn named(container: &Container) -> Vec<String> {
    let said = container.exec(&["boot", "health"]).text();
    let names = said.lines().filter_map(|line| Some(line.split_once(": the program ")?.0.to_owned()));
    names.collect()
}

#[test]
fn programs_of_an_extended_image_that_fail_are_named_until_they_run_or_are_gone() {
    let file = "/etc/supervisor/conf.d/mine.conf";
    let container = RunOptions::new().start_and_wait();
    container.wait_until_ready();
    container.write(file, PROGRAMS);
    container.exec(&["supervisorctl", "update"]).text();
    let given_up = |name: &str| program(&container, name)["state"] == "FATAL";
    container
        .wait_until("supervisord to give up", || ["nofile", "quit", "pair:pair_1"].into_iter().all(given_up));
    container.wait_until("ends in a row", || program(&container, "crash")["failures"].as_u64() >= Some(2));
    assert_eq!(named(&container), ["crash", "nofile", "pair:pair_0", "pair:pair_1", "quit"]);
    let nofile = "nofile: the program is down after 4 starts in a row (can't find command '/opt/none/here'); supervisord no longer \
                  restarts it; run: supervisorctl start nofile";
    let quit = "quit: the program is down after 4 starts in a row (exit code 1); supervisord no longer restarts it; \
                its log is /var/log/supervisor/quit.log; run: supervisorctl start quit";
    for words in ["report", "health"] {
        let said = container.exec(&["boot", words]).text();
        assert!(said.contains(nofile) && said.contains(quit), "{said}");
    }
    // Of more than three, it names the first ones.
    let banner = container.exec(&["boot", "banner"]).text();
    assert!(banner.contains(nofile), "{banner}");
    container.sh("mkdir /opt/none; ln -s /bin/cat /opt/none/here; supervisorctl start nofile").text();
    assert!(!named(&container).contains(&"nofile".to_owned()));
    assert_eq!(
        container.exec(&["supervisorctl", "update"]).text(),
        "",
        "no change is seen where there is none"
    );
    container.sh(&format!("rm {file}; supervisorctl update")).text();
    assert_eq!(named(&container), [""; 0]);
}

#[test]
fn a_program_without_a_log_file_has_one_of_its_name_in_every_container() {
    let container = RunOptions::new().start_and_wait();
    container.wait_until_ready();
    container.write("/etc/supervisor/conf.d/mine.conf", PROGRAMS);
    container.exec(&["supervisorctl", "update"]).text();
    for line in ["once | to stdout\n", "once | to stderr\n", "ear-stderr | to stderr\n"] {
        container.wait_until(line, || container.logs().contains(line));
    }
    let shown = || container.exec(&["logtail", "once", "--no-follow"]).text();
    container.wait_until("both streams in its log", || {
        shown().contains("once | to stdout\n") && shown().contains("once | to stderr")
    });
    assert_eq!(container.sh("ls /var/log/supervisor | grep -e ---supervisor-").failure(1), "");
}

#[test]
fn the_log_of_a_start_has_no_noise() {
    let container = RunOptions::new().start_and_wait();
    container.wait_until_ready();
    let shown = || container.logs();
    container.wait_until("the log", || shown().contains("service-portal: listening"));
    let logs = shown();
    for noise in ["CRIT", "Included extra file", "RPC interface", "not formatted", "entered RUNNING state"] {
        assert!(!logs.contains(noise), "{noise}: {logs}");
    }
}

use super::*;

fn exited(pid: i32, code: i32) -> Event {
    Event::Ended { pid, status: ExitStatus::from_raw(code << 8) }
}

fn killed(pid: i32, signal: Signal) -> Event {
    Event::Ended { pid, status: ExitStatus::from_raw(signal as i32) }
}

/// Returns instances whose processes have the numbers 100, 101, …, started at second 1,000.
fn started(instances: usize, keeps_running: bool) -> Lifecycle {
    let mut lifecycle = Lifecycle::new(instances, keeps_running, 1_000);
    for (instance, pid) in (0..instances).zip(100..) {
        assert_eq!(lifecycle.decide(Event::Started { instance, pid }, 1_000), [Action::Publish]);
    }
    lifecycle
}

fn of(phase: Phase, since: u64, cause: &str) -> Status {
    Status { phase, since, cause: (!cause.is_empty()).then(|| cause.to_owned()) }
}

#[test]
fn a_service_of_one_program_ends_with_it() {
    let usable = Event::Usable { pid: 100 };
    let term = Event::Signal(Signal::SIGTERM);
    let forwarded = |signal| vec![Action::Send(100, signal)];
    let unregistered = |exit| vec![Action::Unregister, Action::Exit(exit)];
    let failed = |exit| vec![Action::Publish, Action::Exit(exit)];
    let done = || (exited(100, 0), unregistered(Exit::Done));
    for (events, state) in [
        (vec![(usable.clone(), vec![Action::Publish]), done()], of(Phase::Failed, 1_001, "exit code 0")),
        (vec![(exited(100, 3), failed(Exit::Code(3)))], of(Phase::Failed, 1_000, "exit code 3")),
        (
            vec![(killed(100, Signal::SIGKILL), failed(Exit::Code(137)))],
            of(Phase::Failed, 1_000, "killed by SIGKILL, often because memory was full"),
        ),
        (
            vec![(killed(100, Signal::SIGSEGV), failed(Exit::Code(139)))],
            of(Phase::Failed, 1_000, "killed by SIGSEGV"),
        ),
        (
            vec![(term.clone(), forwarded(Signal::SIGTERM)), (exited(100, 3), unregistered(Exit::Code(3)))],
            of(Phase::Failed, 1_001, "exit code 3"),
        ),
        (
            vec![
                (Event::Signal(Signal::SIGHUP), forwarded(Signal::SIGHUP)),
                (usable.clone(), vec![Action::Publish]),
                (exited(7, 1), vec![]),
                (Event::Usable { pid: 7 }, vec![]),
            ],
            of(Phase::Running, 1_001, ""),
        ),
    ] {
        let mut lifecycle = started(1, false);
        for ((event, actions), now) in events.into_iter().zip(1_000..) {
            assert_eq!(lifecycle.decide(event.clone(), now), actions, "{event:?}");
        }
        assert_eq!(lifecycle.status(), state);
    }
    let mut lifecycle = Lifecycle::new(1, false, 5);
    let missing = Event::CannotRun { instance: 0, exit: Exit::Code(127), cause: "cannot run \"x\"".into() };
    assert_eq!(lifecycle.decide(missing, 6), failed(Exit::Code(127)));
    assert_eq!(lifecycle.status(), of(Phase::Failed, 6, "cannot run \"x\""));
}

#[test]
fn an_instance_that_ends_is_started_again_after_growing_pauses_and_the_others_go_on() {
    let mut lifecycle = started(3, true);
    lifecycle.decide(Event::Usable { pid: 101 }, 1_001);
    lifecycle.decide(Event::Usable { pid: 102 }, 1_001);
    let mut pid = 100;
    let mut now = 1_002;
    let mut fail = |lifecycle: &mut Lifecycle, after: u64| {
        now += after;
        let actions = lifecycle.decide(exited(pid, 0), now);
        let [Action::Publish, Action::RetryAfter(0, pause)] = actions[..] else { panic!("{actions:?}") };
        now += pause.as_secs();
        assert_eq!(lifecycle.decide(Event::Retry { instance: 0 }, now), [Action::Start(0)]);
        pid += 1_000;
        lifecycle.decide(Event::Started { instance: 0, pid }, now);
        pause.as_secs()
    };
    let pauses: Vec<u64> = (0..33).map(|_| fail(&mut lifecycle, 1)).collect();
    assert_eq!(pauses, (0..=30).chain([30, 30]).collect::<Vec<_>>());
    assert_eq!([fail(&mut lifecycle, 60), fail(&mut lifecycle, 59)], [0, 1]);
    let phases: Vec<_> = lifecycle.instances.iter().map(|instance| instance.status.phase).collect();
    assert_eq!(phases, [Phase::Starting, Phase::Running, Phase::Running]);
    assert_eq!(lifecycle.status(), of(Phase::Running, 1_001, ""));
}

#[test]
fn a_stop_waits_for_every_instance_and_starts_none() {
    let mut lifecycle = started(3, true);
    lifecycle.decide(exited(101, 1), 1_002);
    let term = Event::Signal(Signal::SIGTERM);
    let sent = [100, 102].map(|pid| Action::Send(pid, Signal::SIGTERM));
    assert_eq!(lifecycle.decide(term.clone(), 1_003), sent);
    assert_eq!(lifecycle.decide(Event::Retry { instance: 1 }, 1_004), []);
    assert_eq!(lifecycle.decide(exited(100, 0), 1_005), []);
    let end = [Action::Unregister, Action::Exit(Exit::Code(143))];
    assert_eq!(lifecycle.decide(killed(102, Signal::SIGTERM), 1_006), end);
    let mut down = started(1, true);
    down.decide(exited(100, 1), 1_002);
    assert_eq!(down.decide(Event::Signal(Signal::SIGUSR1), 1_003), []);
    assert_eq!(down.decide(term, 1_003), end, "nothing runs that could pass on its code");
}

#[test]
fn the_service_is_as_well_as_its_best_instance() {
    let mut lifecycle = started(2, true);
    assert_eq!(lifecycle.status(), of(Phase::Starting, 1_000, ""));
    lifecycle.decide(exited(100, 1), 1_001);
    assert_eq!(lifecycle.status(), of(Phase::Starting, 1_000, ""));
    lifecycle.decide(Event::Usable { pid: 101 }, 1_002);
    assert_eq!(lifecycle.status(), of(Phase::Running, 1_002, ""));
    lifecycle.decide(exited(101, 2), 1_003);
    assert_eq!(lifecycle.status(), of(Phase::Failed, 1_001, "exit code 1"));
}

#[test]
fn a_cause_fits_into_the_registry() {
    let cut = status(Phase::Failed, 0, Some(&format!("a\n{}", "é".repeat(200)))).cause.unwrap();
    assert_eq!((cut.len(), &cut[..2]), (200, "a "));
}

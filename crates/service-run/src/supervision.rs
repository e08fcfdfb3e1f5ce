//! Brings about what the lifecycle decides.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use kit::{Exit, unix_time};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use ports::Instance;

use crate::lifecycle::{self, Action, Event, Lifecycle, cause};
use crate::listen_port;
use crate::program::{Process, Program};
use crate::registration::Registration;

/// Time for the last output of programs that have ended.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// Starts the programs and stays with them; returns the exit code for this process.
///
/// Programs with a label are instances of their own, which are started again when they end.
pub fn run(
    programs: &[Program],
    registration: &mut Registration,
    sender: &Sender<Event>,
    events: &Receiver<Event>,
) -> Exit {
    let per_gpu = programs.iter().any(|program| program.is_labelled);
    let (output, outputs_end) = mpsc::channel();
    let mut lifecycle = Lifecycle::new(programs.len(), per_gpu, unix_time::now());
    let mut processes: BTreeMap<i32, (usize, Process)> = BTreeMap::new();
    let mut retries = Vec::new();
    let mut actions: VecDeque<Action> = (0..programs.len()).map(Action::Start).collect();
    loop {
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Start(instance) => {
                    let event = match start(
                        &programs[instance],
                        instance,
                        registration.proxy_port(),
                        sender,
                        &output,
                    ) {
                        Ok((pid, process)) => {
                            processes.insert(pid, (instance, process));
                            Event::Started { instance, pid }
                        }
                        Err((exit, cause)) => {
                            log::error!("{cause}");
                            Event::CannotRun { instance, exit, cause }
                        }
                    };
                    actions.extend(lifecycle.decide(event, unix_time::now()));
                }
                Action::Send(pid, signal) => {
                    // It may have ended meanwhile.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
                Action::RetryAfter(instance, pause) => retries.push((Instant::now() + pause, instance)),
                Action::Publish => {
                    let shown = if per_gpu { instances(programs, &lifecycle) } else { Vec::new() };
                    registration.publish(lifecycle.status(), shown);
                }
                Action::Unregister => registration.remove(),
                Action::Exit(exit) => {
                    drop(output);
                    // A process that a program has left behind may keep its output open.
                    let _ = outputs_end.recv_timeout(LAST_OUTPUT);
                    return exit;
                }
            }
        }
        // The senders live as long as this function.
        let Some(event) = next_event(events, &mut retries) else { return Exit::No };
        if let Event::Ended { pid, status } = &event
            && let Some((instance, process)) = processes.remove(pid)
        {
            log::info!("{}: {}", programs[instance].label, cause(*status));
            process.reap();
        }
        actions.extend(lifecycle.decide(event, unix_time::now()));
    }
}

/// Returns the next event, which may be the end of the first pause.
fn next_event(events: &Receiver<Event>, retries: &mut Vec<(Instant, usize)>) -> Option<Event> {
    let Some((due, instance)) = retries.iter().min().copied() else { return events.recv().ok() };
    match events.recv_timeout(due.saturating_duration_since(Instant::now())) {
        Err(RecvTimeoutError::Timeout) => {
            retries.retain(|(_, other)| *other != instance);
            Some(Event::Retry { instance })
        }
        event => event.ok(),
    }
}

/// Returns the instances for the registry.
fn instances(programs: &[Program], lifecycle: &Lifecycle) -> Vec<Instance> {
    let instance = |(program, instance): (&Program, &lifecycle::Instance)| Instance {
        listen_port: program.listen_port,
        label: program.label.clone(),
        status: instance.status.clone(),
    };
    programs.iter().zip(&lifecycle.instances).map(instance).collect()
}

/// Starts the program of an instance; an error is the exit code for it and the reason.
fn start(
    program: &Program,
    instance: usize,
    proxy_port: u16,
    events: &Sender<Event>,
    output: &Sender<()>,
) -> Result<(i32, Process), (Exit, String)> {
    listen_port::free(program.listen_port, proxy_port).map_err(|error| (Exit::No, format!("{error:#}")))?;
    program.refusal().map_or(Ok(()), Err)?;
    program.start(instance, events, output).map_err(|error| (Exit::Code(126), format!("{error:#}")))
}

//! The supervised loop: hears, gathers, makes right, and tells.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::changes::Changes;
use crate::findings::Tally;
use crate::heard::Heard;
use crate::monitor::{Monitor, clock};
use crate::pace::{self, Events};
use crate::report::brief;
use crate::status::Status;
use crate::watch::Watch;

/// Changes that come within this are one.
const SHORT: Duration = Duration::from_millis(1);
/// Nobody waits longer than that for a link because others are made.
const LONG: Duration = Duration::from_millis(250);
/// New watches find new directories, these need watches; what is still new after so many is made faster than we look.
const ROUNDS: usize = 16;
/// So many new directories are looked at in one pass.
const TOGETHER: usize = 1_024;

/// Runs until it is asked to stop.
pub fn follow(mut monitor: Monitor) -> Result<()> {
    let mut watch = Watch::start(&monitor.places().mappings, monitor.stop())?;
    let mut told = Told::default();
    let mut heard = Heard::everything();
    let mut due = Instant::now();
    let mut scan_began = 0;
    while !heard.stop {
        let began = Instant::now();
        if heard.everything {
            watch.renew();
        }
        // What is asked for after this is done after this.
        let now = clock()?;
        let new_mapping = monitor.read_mapping(heard.asked);
        let elsewhere = monitor.is_elsewhere(&heard.changes) && monitor.targets_changed();
        let all = new_mapping || elsewhere || heard.everything || heard.asked || began >= due;
        let mut tally = if all {
            scan_began = now;
            monitor.all(None)
        } else {
            monitor.some(&heard.changes)
        };
        tally.add(settle(&mut monitor, &mut watch, &heard.changes));
        let events = if watch.refusal.is_some() { Events::None } else { monitor.events() };
        let pause = pace::pause(events, monitor.cost);
        if all {
            due = Instant::now() + pause;
        }
        told.tell(&monitor, &watch, &tally, events, pause, scan_began);
        heard = watch.wait(due, began.elapsed().clamp(SHORT, LONG));
    }
    Ok(())
}

/// Watches what is there now, and looks again at what was not watched when it was looked at.
fn settle(monitor: &mut Monitor, watch: &mut Watch, changes: &Changes) -> Tally {
    let mut tally = Tally::default();
    let none = Changes::default();
    for round in 0..ROUNDS {
        let new = watch.keep(monitor.take_watches(), if round == 0 { changes } else { &none });
        if new.is_empty() {
            break;
        }
        // In parts: there may be tens of thousands.
        for part in new.chunks(TOGETHER) {
            tally.add(monitor.catch_up(part));
        }
    }
    tally
}

/// What was told already: each thing is told once.
#[derive(Debug, Default)]
struct Told {
    status: Option<Status>,
    sentences: BTreeSet<String>,
}

impl Told {
    fn tell(
        &mut self,
        monitor: &Monitor,
        watch: &Watch,
        tally: &Tally,
        events: Events,
        pause: Duration,
        scan_began: u64,
    ) {
        if !tally.is_idle() {
            log::info!("linked {}, removed {}", tally.linked, tally.removed);
        }
        let mut status = monitor.status();
        status.problems.extend(watch.refusal.clone());
        events.name().clone_into(&mut status.events);
        status.rescan_seconds = pause.as_secs();
        status.scan_milliseconds = u64::try_from(monitor.cost.as_millis()).unwrap_or(u64::MAX);
        status.scan_began = scan_began;
        // As many as the state has room for; a mistake in the mapping was told when it was found.
        let known = monitor.mistake().map(brief);
        let problems = status.problems.iter().filter(|problem| Some(*problem) != known.as_ref());
        let more = (status.conflicts > status.conflict_list.len())
            .then(|| "more names are taken than are told: storage-monitor status".to_owned());
        let now: BTreeSet<String> = problems.chain(&status.conflict_list).cloned().chain(more).collect();
        for new in now.difference(&self.sentences) {
            log::warn!("{new}");
        }
        self.sentences = now;
        if self.status.as_ref() != Some(&status) {
            match status.write(&monitor.places().status) {
                Ok(()) => self.status = Some(status),
                Err(error) => log::warn!("{error:#}"),
            }
        }
    }
}

//! Asks for the GPUs on a thread of its own: often while someone watches, otherwise once a minute.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::amd;
use crate::gpu::Gpu;
use crate::kernel_files::KernelFiles;
use crate::nvidia_smi::NvidiaSmi;

/// Interval while no one watches. A run of `nvidia-smi` takes some hundred milliseconds of CPU time.
pub const IDLE_INTERVAL: Duration = Duration::from_mins(1);
/// Age at which figures count as unknown.
const MAX_AGE: Duration = Duration::from_secs(90);

/// Latest figures.
#[derive(Debug, Clone, Default)]
struct Reading {
    gpus: Vec<Gpu>,
    problems: Vec<String>,
    at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Exchange {
    is_wanted: bool,
    is_closed: bool,
    reading: Reading,
}

/// Thread that asks for the GPUs.
#[derive(Debug)]
pub struct GpuWatch {
    shared: Arc<(Mutex<Exchange>, Condvar)>,
    asked: Option<Instant>,
}

impl GpuWatch {
    /// Starts the thread.
    pub fn new(files: KernelFiles) -> io::Result<Self> {
        let mut smi = NvidiaSmi::find(&files);
        if let Some(Err(problem)) = &smi {
            log::warn!("{problem}");
        }
        Self::with(move || read(&files, &mut smi))
    }

    fn with(mut read: impl FnMut() -> (Vec<Gpu>, Vec<String>) + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new((Mutex::new(Exchange::default()), Condvar::new()));
        let watch = Self { shared: shared.clone(), asked: None };
        thread::Builder::new().name("gpus".into()).spawn(move || {
            loop {
                let exchange = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                let waiting = |exchange: &mut Exchange| !exchange.is_wanted && !exchange.is_closed;
                let mut exchange =
                    shared.1.wait_while(exchange, waiting).unwrap_or_else(PoisonError::into_inner);
                if exchange.is_closed {
                    return;
                }
                exchange.is_wanted = false;
                drop(exchange);
                let (gpus, problems) = read();
                let mut exchange = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                if problems != exchange.reading.problems {
                    problems.iter().for_each(|problem| log::warn!("{problem}"));
                }
                exchange.reading = Reading { gpus, problems, at: Some(Instant::now()) };
            }
        })?;
        Ok(watch)
    }

    /// Asks if it is time to.
    pub fn ask(&mut self, is_watched: bool, now: Instant) {
        if self.asked.is_none_or(|asked| is_watched || now.saturating_duration_since(asked) >= IDLE_INTERVAL)
        {
            self.asked = Some(now);
            self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).is_wanted = true;
            self.shared.1.notify_all();
        }
    }

    /// Returns the GPUs, and sentences about what cannot be read. Old figures are forgotten, and the GPUs stay.
    pub fn read(&self, now: Instant) -> (Vec<Gpu>, Vec<String>) {
        let reading = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).reading.clone();
        let is_old = reading.at.is_some_and(|at| now.saturating_duration_since(at) > MAX_AGE);
        if is_old {
            (reading.gpus.into_iter().map(forget).collect(), reading.problems)
        } else {
            (reading.gpus, reading.problems)
        }
    }
}

impl Drop for GpuWatch {
    fn drop(&mut self) {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.shared.1.notify_all();
    }
}

fn forget(gpu: Gpu) -> Gpu {
    Gpu { memory_used: None, load: None, temperature: None, power: None, processes: Vec::new(), ..gpu }
}

fn read(files: &KernelFiles, smi: &mut Option<Result<NvidiaSmi, String>>) -> (Vec<Gpu>, Vec<String>) {
    let (mut gpus, mut problems) = (Vec::new(), Vec::new());
    match smi {
        Some(Ok(smi)) => match smi.gpus() {
            Ok(found) => gpus = found,
            Err(error) => problems.push(format!("{error:#}")),
        },
        Some(Err(problem)) => problems.push(problem.clone()),
        None => {}
    }
    gpus.extend(amd::gpus(files));
    (gpus, problems)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn it_runs_often_only_while_someone_watches() {
        let (count, counted) = mpsc::channel();
        let mut watch = GpuWatch::with(move || {
            count.send(()).unwrap();
            (Vec::new(), vec!["no driver".into()])
        })
        .unwrap();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (is_watched, second, is_run) in [
            (false, 0, true),
            (false, 5, false),
            (false, 59, false),
            (false, 60, true),
            (true, 65, true),
            (true, 70, true),
            (false, 75, false),
            (false, 130, true),
        ] {
            watch.ask(is_watched, at(second));
            let limit = Duration::from_secs(if is_run { 600 } else { 0 });
            assert_eq!(counted.recv_timeout(limit).is_ok(), is_run, "{second}");
        }
    }
}

//! The last hour, in arrays of a fixed size.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::gpu::Gpu;
use crate::sample::Sample;

/// Number of points: one hour at one sample in 5 seconds.
pub const CAPACITY: usize = 720;
/// GPUs with a history; the others have only present figures.
const MAX_GPUS: usize = 16;

/// Names of the series that every container has.
const NAMES: [&str; 11] = [
    "cpu",
    "memory",
    "swap",
    "received",
    "sent",
    "read",
    "written",
    "cpu_pressure",
    "memory_pressure",
    "io_pressure",
    "workspace",
];
/// Names of the series of a GPU.
const GPU_NAMES: [&str; 3] = ["load", "memory", "power"];

/// Values over time; NaN where there is none.
type Series = [f32; CAPACITY];

/// One hour of samples. The points have times of a clock that is never set.
#[derive(Debug)]
pub struct History {
    /// Number of points that were ever added.
    count: u64,
    /// Seconds since the start.
    times: [u32; CAPACITY],
    series: Box<[Series]>,
    gpus: Vec<[Series; GPU_NAMES.len()]>,
}

impl Default for History {
    fn default() -> Self {
        let series = vec![[f32::NAN; CAPACITY]; NAMES.len()].into_boxed_slice();
        Self { count: 0, times: [0; CAPACITY], series, gpus: Vec::new() }
    }
}

impl History {
    /// Adds a sample that was taken this many seconds after the start; the oldest one is replaced.
    pub fn push(&mut self, seconds: u32, sample: &Sample) {
        let index = slot(self.count);
        let pressure = |resource: Option<crate::Pressure>| resource.map(|pressure| pressure.some.avg10);
        let memory = |bytes: Option<u64>| bytes.map(|bytes| crate::kernel_files::scale(bytes, 1.0));
        let workspace = sample.file_systems.first().and_then(|first| first.usage()?.used_ratio());
        let values = [
            sample.cpu.used_cores,
            memory(sample.memory.used),
            memory(sample.memory.swap_used),
            sample.network.received_rate,
            sample.network.sent_rate,
            sample.io.read_rate,
            sample.io.written_rate,
            pressure(sample.pressure.cpu),
            pressure(sample.pressure.memory),
            pressure(sample.pressure.io),
            workspace.map(|ratio| ratio * 100.0),
        ];
        self.times[index] = seconds;
        for (series, value) in self.series.iter_mut().zip(values) {
            series[index] = narrow(value);
        }
        while self.gpus.len() < sample.gpus.len().min(MAX_GPUS) {
            self.gpus.push([[f32::NAN; CAPACITY]; GPU_NAMES.len()]);
        }
        for (number, gpu) in self.gpus.iter_mut().enumerate() {
            let measured = sample.gpus.get(number);
            let values =
                measured.map_or([None; 3], |measured| [measured.load, share(measured), measured.power]);
            for (series, value) in gpu.iter_mut().zip(values) {
                series[index] = narrow(value);
            }
        }
        self.count += 1;
    }

    /// Sums up a series of the container, such as `cpu`; `None` if it has no value.
    #[must_use]
    pub fn summary(&self, name: &str) -> Option<Summary> {
        let index = NAMES.iter().position(|known| *known == name)?;
        self.summarize(&self.series[index])
    }

    /// Sums up a series of a GPU: `load`, `memory` (in percent) or `power`.
    #[must_use]
    pub fn gpu_summary(&self, gpu: usize, name: &str) -> Option<Summary> {
        let index = GPU_NAMES.iter().position(|known| *known == name)?;
        self.summarize(self.gpus.get(gpu)?.get(index)?)
    }

    fn summarize(&self, series: &Series) -> Option<Summary> {
        let kept = (self.first()..self.count).map(|number| series[slot(number)]);
        let (mut count, mut sum, mut maximum) = (0.0, 0.0, f64::NEG_INFINITY);
        for value in kept.map(f64::from).filter(|value| !value.is_nan()) {
            (count, sum, maximum) = (count + 1.0, sum + value, maximum.max(value));
        }
        (count > 0.0).then(|| Summary { average: sum / count, maximum })
    }

    /// Returns the seconds between the oldest and the latest point.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        let at = |number: u64| self.times[slot(number)];
        if self.count == 0 { 0 } else { at(self.count - 1).saturating_sub(at(self.first())) }
    }

    /// Returns the number of the oldest point that is kept.
    fn first(&self) -> u64 {
        self.count.saturating_sub(u64::try_from(CAPACITY).unwrap_or(0))
    }

    /// Returns the points after the first `count` ones, as far as they are kept.
    #[must_use]
    pub fn since(&self, count: u64) -> Points {
        // A number from another start of the portal may be larger.
        let first = if count > self.count { 0 } else { count }.max(self.first());
        let slots = || (first..self.count).map(slot);
        let values = |series: &Series| slots().map(|slot| rounded(series[slot])).collect();
        let by_name = |names: &[&'static str], series: &[Series]| {
            let reported = |(_, series): &(_, &Series)| series.iter().any(|value| !value.is_nan());
            let series = names.iter().copied().zip(series).filter(reported);
            series.map(|(name, series)| (name, values(series))).collect()
        };
        Points {
            first,
            next: self.count,
            seconds: slots().map(|slot| self.times[slot]).collect(),
            series: by_name(&NAMES, &self.series),
            gpus: self.gpus.iter().map(|gpu| by_name(&GPU_NAMES, gpu)).collect(),
        }
    }
}

/// A series in two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Average of its values.
    pub average: f64,
    /// Largest value.
    pub maximum: f64,
}

/// Values by the name of their series; a series without a single value is left out, because this machine does not report it.
type Values = BTreeMap<&'static str, Vec<Option<f32>>>;

/// Points of the history.
#[derive(Debug, Serialize)]
pub struct Points {
    /// Number of the first one.
    pub first: u64,
    /// Argument for the next call.
    pub next: u64,
    /// Their times.
    pub seconds: Vec<u32>,
    /// Values of the container.
    pub series: Values,
    /// Values of each GPU.
    pub gpus: Vec<Values>,
}

/// Rounds a value to the digits that a chart needs; `None` if there is none.
fn rounded(value: f32) -> Option<f32> {
    let digits = if value.abs() < 1000.0 { 100.0 } else { 1.0 };
    (!value.is_nan()).then(|| (value * digits).round() / digits)
}

/// Returns the part of a GPU's memory that is used, in percent.
fn share(gpu: &Gpu) -> Option<f64> {
    use crate::kernel_files::scale;
    let whole = gpu.memory.filter(|bytes| *bytes > 0)?;
    Some(100.0 * scale(gpu.memory_used?, scale(whole, 1.0)))
}

/// Returns the place of the point with this number.
fn slot(number: u64) -> usize {
    usize::try_from(number % u64::try_from(CAPACITY).unwrap_or(1)).unwrap_or(0)
}

#[expect(clippy::cast_possible_truncation, reason = "a chart needs seven digits at most")]
fn narrow(value: Option<f64>) -> f32 {
    value.map_or(f32::NAN, |value| value as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Vendor;
    use crate::sample::tests::sample;

    fn gpu(load: f64) -> Gpu {
        Gpu {
            id: "0".into(),
            vendor: Vendor::Nvidia,
            model: String::new(),
            uuid: None,
            memory: None,
            memory_used: None,
            load: Some(load),
            temperature: None,
            power: None,
            power_limit: None,
            is_divided: false,
            processes: Vec::new(),
        }
    }

    #[test]
    fn an_hour_with_16_gpus_needs_less_than_300_kb() {
        let mut history = History::default();
        let gpus = vec![gpu(1.0); 64];
        history.push(0, &Sample { gpus, ..sample() });
        let bytes = size_of::<History>()
            + size_of_val(&*history.series)
            + history.gpus.capacity() * size_of::<[Series; GPU_NAMES.len()]>();
        assert!(bytes <= 300_000, "{bytes}");
        assert_eq!(history.gpus.len(), 16);
    }

    #[test]
    fn points_are_returned_once_and_the_oldest_are_replaced() {
        let mut history = History::default();
        let push = |history: &mut History, second: u32| {
            let mut taken = sample();
            taken.cpu.used_cores = (second != 2).then(|| f64::from(second) / 8.0);
            taken.memory.used = Some(123_456_789);
            history.push(second * 5, &taken);
        };
        (0..4).for_each(|second| push(&mut history, second));
        let json = |history: &History, count| serde_json::to_string(&history.since(count)).unwrap();
        let expected = r#"{"first":1,"next":4,"seconds":[5,10,15],"series":{"cpu":[0.13,null,0.38],"memory":[123456790.0,123456790.0,123456790.0]},"gpus":[]}"#;
        assert_eq!(json(&history, 1), expected);
        let none = r#"{"first":4,"next":4,"seconds":[],"series":{"cpu":[],"memory":[]},"gpus":[]}"#;
        assert_eq!(json(&history, 4), none);
        assert!(json(&history, 99).starts_with(r#"{"first":0,"next":4,"#), "a number of an earlier portal");
        (4..1000).for_each(|second| push(&mut history, second));
        let all: serde_json::Value = serde_json::from_str(&json(&history, 0)).unwrap();
        assert_eq!((&all["first"], &all["next"]), (&280.into(), &1000.into()));
        assert_eq!(all["seconds"].as_array().unwrap().len(), CAPACITY);
        assert_eq!((&all["seconds"][0], &all["seconds"][719]), (&1400.into(), &4995.into()));
    }

    #[test]
    fn a_series_is_summed_up_without_its_gaps() {
        let mut history = History::default();
        assert_eq!((history.summary("cpu"), history.seconds()), (None, 0));
        for (second, used) in [(5, Some(0.5)), (10, None), (15, Some(1.5))] {
            let mut taken = sample();
            taken.cpu.used_cores = used;
            history.push(second, &taken);
        }
        assert_eq!(history.summary("cpu"), Some(Summary { average: 1.0, maximum: 1.5 }));
        assert_eq!(
            (history.summary("swap"), history.gpu_summary(0, "load"), history.seconds()),
            (None, None, 10)
        );
    }

    #[test]
    fn a_gpu_that_appears_or_disappears_leaves_gaps() {
        let mut history = History::default();
        for loads in [&[][..], &[7.0], &[]] {
            history.push(0, &Sample { gpus: loads.iter().map(|load| gpu(*load)).collect(), ..sample() });
        }
        let value = serde_json::to_value(history.since(0)).unwrap();
        assert_eq!(value["gpus"], serde_json::json!([{ "load": [null, 7.0, null] }]));
    }
}

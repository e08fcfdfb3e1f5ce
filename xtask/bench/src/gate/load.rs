//! Load test with `wrk`.
use std::fmt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xtask::engine::packages;

/// The public tool that sends the load, and its package.
pub const TOOL: (&str, &str) = ("wrk", "wrk");

/// Result of a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Responses per second.
    pub rate: f64,
    /// Median latency.
    pub median: Duration,
    /// 99th percentile of the latency.
    pub p99: Duration,
}

/// Sends load over `connections` connections; fails on a response other than 2xx and 3xx, or a lost connection.
pub fn send(url: &str, header: Option<&str>, connections: u32, duration: Duration) -> Result<Load> {
    let program = packages::find(TOOL.0).context("wrk is not installed")?;
    let run = |seconds: u64| {
        let mut wrk = Command::new(&program);
        wrk.args(["--threads", "1", "--latency", "--connections", &connections.to_string()]);
        wrk.args(["--duration", &format!("{seconds}s")]);
        wrk.args(header.map(|header| format!("--header={header}"))).arg(url);
        kit::cmd::stdout(&mut wrk)
    };
    // The first second opens connections and warms everything up.
    run(1)?;
    let text = run(duration.as_secs().max(1))?;
    parse(&text).with_context(|| format!("cannot parse the output of wrk for {url}:\n{text}"))
}

/// Returns the load with the median rate; of an even number, the slower of the two in the middle.
pub fn median(mut loads: Vec<Load>) -> Option<Load> {
    loads.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    loads.get(loads.len().saturating_sub(1) / 2).copied()
}

fn parse(text: &str) -> Result<Load> {
    if let Some(bad) = text
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("Socket errors") || line.starts_with("Non-2xx"))
    {
        bail!("{bad}");
    }
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(name));
        found.map(str::trim).with_context(|| format!("no line {name}"))
    };
    Ok(Load {
        rate: value("Requests/sec:")?.parse().context("not a rate")?,
        median: time(value("50%")?)?,
        p99: time(value("99%")?)?,
    })
}

/// A time as wrk writes it, such as `431.00us`.
fn time(text: &str) -> Result<Duration> {
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).context("a time without a unit")?;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        unit => bail!("a time in {unit}"),
    };
    Ok(Duration::try_from_secs_f64(number.parse::<f64>()? * seconds)?)
}

impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            formatter,
            "{:>7.0}/s  median {:>6.2} ms  p99 {:>6.2} ms",
            self.rate,
            milliseconds(self.median),
            milliseconds(self.p99)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "Running 5s test @ http://h/\n  1 threads and 16 connections\n  Latency Distribution\n     50%  431.00us\n     75%    1.02ms\n     90%    2.00ms\n     99%    3.50ms\n  100 requests in 5.00s, 1MB read\nRequests/sec:   4321.09\nTransfer/sec:  1MB\n";

    #[test]
    fn rate_and_latencies_are_read_as_wrk_writes_them() {
        let load = parse(OUTPUT).unwrap();
        assert_eq!(
            load,
            Load { rate: 4321.09, median: Duration::from_micros(431), p99: Duration::from_micros(3500) }
        );
        assert_eq!(load.to_string(), "   4321/s  median   0.43 ms  p99   3.50 ms");
    }

    #[test]
    fn the_load_of_the_middle_rate_is_shown() {
        let load = |rate| Load { rate, median: Duration::ZERO, p99: Duration::ZERO };
        assert_eq!(median([3.0, 1.0, 2.0].map(load).to_vec()), Some(load(2.0)));
        assert_eq!(median([2.0, 1.0].map(load).to_vec()), Some(load(1.0)));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_load_with_errors_is_no_figure() {
        let text = format!("{OUTPUT}  Non-2xx or 3xx responses: 7\n");
        assert_eq!(parse(&text).unwrap_err().to_string(), "Non-2xx or 3xx responses: 7");
    }
}

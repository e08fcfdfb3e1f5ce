//! The log page in a real Chromium, through the gate: delay of a new line, a flood, a large log, and what viewers cost the
//! portal and the gate.

mod container;
mod page;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::engine::{Engine, packages};
use xtask::{e2e, image};

use crate::samples::Samples;
use container::{Container, remove};

/// Timeout of what must appear on the page.
const DEADLINE: Duration = Duration::from_mins(2);

/// Delay of new lines, a flood, a large log, memory and the gate with viewers
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Lines that are written one by one
    #[arg(long, default_value_t = 200)]
    lines: usize,
    /// Duration of the flood, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Lines of the flood in a second
    #[arg(long, default_value_t = 200_000)]
    rate: u64,
    /// Size of the large log, in gigabytes; the container's disk must hold it
    #[arg(long, default_value_t = 10)]
    gigabytes: u64,
    /// Viewers of a busy log
    #[arg(long, default_value_t = 5)]
    viewers: usize,
    /// Measure this variant instead of the machine's default
    #[arg(long)]
    variant: Option<String>,
    /// Measure an image that exists
    #[arg(long, value_name = "NAME", conflicts_with = "variant")]
    image: Option<String>,
}

/// Measures and prints one line for each result.
pub fn run(args: &Args, engine: &Engine) -> Result<()> {
    packages::install(e2e::BROWSER)?;
    let image = match &args.image {
        Some(image) => image.clone(),
        None => image::build(engine, args.variant.as_deref())?.image,
    };
    let measured = Container::start(engine, &image).and_then(|container| {
        delays(&container, args.lines)?;
        flood(&container, args)?;
        viewers(&container, args)?;
        large_log(&container, args)
    });
    remove(engine)?;
    measured
}

/// From a line's `write` to the frame that shows it.
fn delays(container: &Container<'_>, lines: usize) -> Result<()> {
    container.create_log("delays")?;
    let browser = container.browser("delays");
    browser.run(page::RECORD_DELAYS);
    container.write_log(&["delays", "slowly", &lines.to_string()])?;
    kit::wait::until(DEADLINE, "every line on the page", || {
        let recorded = browser.run("return delays.length").as_u64();
        recorded.is_some_and(|recorded| recorded >= lines as u64).then_some(())
    })?;
    let delays = samples(&browser.run("return delays"), "delay of a new line")?;
    report(&format!("new line on screen: {}", milliseconds(&delays)))
}

fn flood(container: &Container<'_>, args: &Args) -> Result<()> {
    container.create_log("flood")?;
    let browser = container.browser("flood");
    browser.run(page::RECORD_FLOOD);
    let (seconds, rate) = (args.seconds.to_string(), args.rate.to_string());
    let mut writer = container.start_writing(&["flood", "flood", &rate, &seconds])?;
    let mut heap: f64 = 0.0;
    let ended = loop {
        heap = heap.max(browser.metric("JSHeapUsedSize"));
        match writer.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_secs(2)),
        }
    };
    ensure!(ended.success(), "the writer of the flood failed ({ended})");
    let frames = samples(&browser.run("recording = false; return frames"), "frame")?;
    kit::wait::until(DEADLINE, "the last line on the page", || {
        (browser.run("return shown.has('the end')") == json!(true)).then_some(())
    })?;
    let written: u64 = container.sh("wc -l < /var/log/supervisor/flood.log")?.trim().parse()?;
    let counted = browser.run("return [shown.size, document.getElementById('skipped').textContent]");
    report(&format!(
        "flood of {} lines/s for {} s: frames {}",
        args.rate,
        args.seconds,
        milliseconds(&frames)
    ))?;
    report(&format!("  {written} lines on disk; shown, and the page's words: {counted}"))?;
    report(&format!("  heap of the tab at most {:.0} MB, {} nodes", heap / 1e6, browser.metric("Nodes")))
}

/// The portal's memory, and the gate, while several visitors view a busy log and one searches.
fn viewers(container: &Container<'_>, args: &Args) -> Result<()> {
    let idle = container.gate_delays()?;
    let before = container.portal_memory()?;
    let views: Vec<_> = (0..args.viewers).map(|_| container.view("flood")).collect::<Result<_>>()?;
    let rate = (args.rate / 10).to_string();
    let mut writer = container.start_writing(&["flood", "flood", &rate, "20"])?;
    let busy = container.gate_delays()?;
    let mut most = 0;
    while writer.try_wait()?.is_none() {
        most = most.max(container.portal_memory()?);
        std::thread::sleep(Duration::from_millis(500));
    }
    let search = container.start_search("flood", "no line has this")?;
    let searching = container.gate_delays()?;
    most = most.max(container.portal_memory()?);
    drop((search, views));
    report(&format!(
        "portal's PSS: {before} kB, with {} viewers of {rate} lines/s at most {most} kB",
        args.viewers
    ))?;
    for (when, delays) in [("idle", idle), ("with viewers", busy), ("with viewers and a search", searching)] {
        report(&format!("/gate/verify {when}: {}", milliseconds(&delays)))?;
    }
    Ok(())
}

fn large_log(container: &Container<'_>, args: &Args) -> Result<()> {
    // It would copy the whole log to the container's output first.
    container.sh("supervisorctl stop logtail; rm -f /var/log/supervisor/flood.log*")?;
    container.write_log(&["large", "large", &args.gigabytes.to_string()])?;
    let visitor = container.visitor()?;
    let read = |request: Value| {
        let script = visitor.with("content-type", "application/json");
        script.send("POST", "/leonardo/logs/history", &request.to_string())
    };
    let mut first = Vec::new();
    let mut jumps = Vec::new();
    for index in 0..20_u32 {
        let began = Instant::now();
        let page = visitor.get("/leonardo/logs?s=large");
        let lines = read(json!({"services": ["large"]}));
        first.push(began.elapsed());
        ensure!(page.status == 200 && lines.body.contains("INFO request"), "no page of the large log");
        // The log has lines of one day, in no particular place of which each jump ends.
        let time = 1_790_000_000 + (index * 7_919 + 13) * 61 % 86_400;
        let began = Instant::now();
        let page = read(json!({"services": ["large"], "time": time}));
        jumps.push(began.elapsed());
        let page: Value = serde_json::from_str(&page.body).context("no page around a time")?;
        let marked = page["rows"].as_array().map_or(0, Vec::len);
        ensure!(marked > 100, "{marked} rows around {time}");
    }
    for (what, measured) in [("first screen", first), ("jump to a time", jumps)] {
        let samples = Samples::new(measured).context("nothing was measured")?;
        report(&format!("{} GB log, {what}: {}", args.gigabytes, milliseconds(&samples)))?;
    }
    Ok(())
}

/// Milliseconds that a page has recorded.
fn samples(recorded: &Value, what: &str) -> Result<Samples> {
    let times = recorded.as_array().into_iter().flatten().filter_map(Value::as_f64);
    let times = times.map(|milliseconds| Duration::from_secs_f64(milliseconds.max(0.0) / 1e3));
    Samples::new(times.collect()).with_context(|| format!("the page has recorded no {what}"))
}

fn milliseconds(samples: &Samples) -> String {
    let [median, p99, max] =
        [samples.median(), samples.p99(), samples.max()].map(|time| time.as_secs_f64() * 1e3);
    format!("p50 {median:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
}

fn report(line: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

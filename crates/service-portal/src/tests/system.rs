//! The system page, its history, the metrics, and warnings on every page.

use std::fs;
use std::path::Path;

use system_metrics::Paths;

use super::fixture::Portal;

const ACCESS: &str = "
    portal page session /leonardo/system               => 200 <System> (logout)
    portal page /leonardo/system                       => 302 to /leonardo/login
    page session /leonardo/system                      => 403 Open this page on the portal's own port.
    page guest /leonardo/system                        => 403 Open this page on the portal's own port.
    portal program session /leonardo/system/history?after=x => 400
    program session /leonardo/system/history           => 403 Open this page on the portal's own port.
    portal program /leonardo/system/history            => 401 Bearer+Basic
    portal program /leonardo/metrics                   => 401 Bearer+Basic
    page session /leonardo/metrics                     => 403 The API is available on the portal's own port only.
";

#[test]
fn figures_are_for_the_owner() {
    Portal::new().check_pages(ACCESS);
}

/// Starts measuring a container of 512 MB and half a core.
pub fn measure(portal: &Portal) {
    let root = portal.directory.path().join("root");
    let cgroup = "sys/fs/cgroup";
    for (path, content) in [
        ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
        (
            "proc/meminfo",
            "MemTotal: 24684092 kB\nMemAvailable: 23962016 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
        ),
        ("sys/devices/system/cpu/online", "0-1\n"),
        (&format!("{cgroup}/cgroup.events"), ""),
        (&format!("{cgroup}/cpu.max"), "50000 100000\n"),
        (&format!("{cgroup}/cpu.stat"), "usage_usec 396545\n"),
        (&format!("{cgroup}/memory.current"), "500000000\n"),
        (&format!("{cgroup}/memory.max"), "512000000\n"),
        (&format!("{cgroup}/memory.stat"), "file 1000000\ninactive_file 1000000\nactive_file 0\n"),
        (&format!("{cgroup}/memory.events"), "oom_kill 1\n"),
        (&format!("{cgroup}/cpu.pressure"), "some avg10=0.40 avg60=0.27 avg300=0.06 total=252741\n"),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let file_systems = vec!["/proc".into(), "/nonexistent".into()];
    portal.state.system().start(&Paths { root, file_systems }).unwrap();
}

fn get(portal: &Portal, path: &str) -> String {
    let answer = portal.send(&format!("GET portal program bearer {path}"), "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[test]
fn the_page_has_its_figures_without_a_script() {
    let portal = Portal::new();
    measure(&portal);
    let page = get(&portal, "/leonardo/system");
    for text in [
        "475.9 MiB of 488.3 MiB",
        "Limited by the container&#39;s CPU quota; the machine has 2 cores.",
        "Killed for lack of memory since the start: 1.",
        "<code>/nonexistent</code>",
        "No such file or directory",
        "aria-label=\"Memory over the last hour. used: average 475.9 MiB, maximum 475.9 MiB.\"",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
    let history: serde_json::Value =
        serde_json::from_str(&get(&portal, "/leonardo/system/history?after=0")).unwrap();
    assert_eq!((&history["next"], &history["series"]["memory"][0]), (&1.into(), &499_000_000.0.into()));
}

#[test]
fn a_danger_is_a_warning_on_every_page() {
    let portal = Portal::new();
    measure(&portal);
    let state: serde_json::Value = serde_json::from_str(&get(&portal, "/leonardo/state.json")).unwrap();
    let problems: Vec<_> = state["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (&problem["source"], &problem["severity"]))
        .collect();
    let (memory, path, warning) = ("memory".into(), "/nonexistent".into(), "warning".into());
    assert_eq!(problems, [(&memory, &warning), (&path, &warning)]);
}

/// Name, labels and value.
type Metric<'line> = (&'line str, Vec<(String, String)>, f64);

/// Splits a line of the text format into name, labels and value, as Prometheus reads it.
fn parse(line: &str) -> Option<Metric<'_>> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"")?;
            let mut text = String::new();
            let mut characters = behind.char_indices();
            let end = loop {
                match characters.next()? {
                    (_, '\\') => text.push(match characters.next()?.1 {
                        'n' => '\n',
                        other => other,
                    }),
                    (at, '"') => break at,
                    (_, other) => text.push(other),
                }
            };
            labels.push((label.to_owned(), text));
            rest = &behind[end + 1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}')?;
    }
    Some((name, labels, rest.strip_prefix(' ')?.parse().ok()?))
}

#[test]
fn metrics_can_be_parsed_and_name_services_and_stages() {
    let portal = Portal::new();
    measure(&portal);
    portal.register("A \"quoted\\name\"", 9000, true);
    let text = get(&portal, "/leonardo/metrics");
    let mut typed = "";
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            typed = rest.split(' ').next().unwrap();
        } else if !line.starts_with("# HELP ") {
            let (name, labels, value) = parse(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(name, typed, "each metric has a type");
            found.push((name, labels, value));
        }
    }
    let value = |name: &str, label: &str| {
        let is_wanted =
            |labels: &[(String, String)]| label.is_empty() || labels.iter().any(|(_, text)| text == label);
        found
            .iter()
            .find(|(found, labels, _)| *found == name && is_wanted(labels))
            .map(|(_, _, value)| *value)
    };
    assert_eq!(value("leonardo_memory_limit_bytes", ""), Some(512_000_000.0));
    assert_eq!(value("leonardo_oom_kills_total", ""), Some(1.0));
    assert_eq!(value("leonardo_service_up", "A \"quoted\\name\""), Some(0.0));
    assert_eq!((value("leonardo_ready", ""), value("leonardo_sessions", "")), (Some(0.0), Some(3.0)));
    assert_eq!(
        (value("leonardo_problems", "warning"), value("leonardo_problems", "error")),
        (Some(2.0), Some(0.0))
    );
}

#[test]
fn vendored_files_are_those_of_the_readme() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/vendor");
    let readme = fs::read_to_string(directory.join("README.md")).unwrap();
    for entry in fs::read_dir(&directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "README.md" || name == "uPlot.LICENSE" {
            continue;
        }
        let digest = kit::hex::sha256(&fs::read(directory.join(&name)).unwrap());
        let is_listed =
            readme.lines().any(|line| line.contains(&format!("`{name}`")) && line.contains(&digest));
        assert!(is_listed, "{name} has the SHA-256 {digest}");
    }
}

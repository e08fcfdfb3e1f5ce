//! Tunnels of a booted container, with the stand-in for cloudflared.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use harness::{Container, RunOptions};
use serde_json::Value;

use crate::portal::{problems, register};

/// `{"a":"account","s":"c2VjcmV0","t":"5b1c4b6e-4b0b-4d0e-9c5b-0d6b1c1f0a11"}`
pub const TOKEN: &str =
    "eyJhIjoiYWNjb3VudCIsInMiOiJjMlZqY21WMCIsInQiOiI1YjFjNGI2ZS00YjBiLTRkMGUtOWM1Yi0wZDZiMWMxZjBhMTEifQ==";

/// A directory with the stand-in and its mode, for one container.
pub struct StandIn {
    directory: tempfile::TempDir,
}

impl StandIn {
    pub fn new(mode: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let own = Self { directory };
        fs::copy(cloudflared_stand_in::build(), own.path("cloudflared")).expect("a copy");
        // The stand-in's files are beside its binary, and the account writes there.
        fs::set_permissions(own.directory.path(), fs::Permissions::from_mode(0o777)).expect("a mode");
        let wrapper = own.path("wrapper");
        fs::write(&wrapper, "#!/bin/sh\nexec /stand-in/cloudflared \"$@\"\n").expect("a file");
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("a mode");
        own.set_mode(mode);
        own
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn set_mode(&self, mode: &str) {
        fs::write(self.path("mode"), mode).expect("a file");
    }

    /// Command lines of all starts, without their process ids.
    fn starts(&self) -> Vec<String> {
        let starts = fs::read_to_string(self.path("starts.log")).unwrap_or_default();
        starts.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect()
    }

    pub fn run(&self) -> RunOptions {
        RunOptions::new()
            .mount(self.directory.path(), "/stand-in", "")
            .mount(&self.path("wrapper"), "/usr/local/bin/cloudflared", "ro")
            .env("CF_QUICK_TUNNELS", "true")
    }

    /// The same, with all waits of tunnel-run shorter by this factor.
    fn run_faster(&self, divisor: u32) -> RunOptions {
        let conf = include_str!("../../../../images/base/rootfs/etc/supervisor/base.d/quicktunnel.conf");
        let faster = format!("tunnel-run --time-divisor {divisor} quick\n");
        fs::write(self.path("quicktunnel.conf"), conf.replace("tunnel-run quick\n", &faster))
            .expect("a file");
        self.run().mount(&self.path("quicktunnel.conf"), "/etc/supervisor/base.d/quicktunnel.conf", "ro")
    }
}

/// The tunnels of one program, as `PORT STATE`, and their addresses.
fn tunnels(container: &Container, program: &str) -> Vec<(String, Option<String>)> {
    let text = container.sh(&format!("cat /run/leonardo/{program}.json 2> /dev/null; true")).text();
    let status: Value = serde_json::from_str(&text).unwrap_or_default();
    let list = status["tunnels"].as_array().cloned().unwrap_or_default();
    let one = |tunnel: &Value| {
        let state = format!("{} {}", tunnel["port"], tunnel["state"].as_str().unwrap_or_default());
        (state, tunnel["url"].as_str().map(str::to_owned))
    };
    list.iter().map(one).collect()
}

pub fn states(container: &Container, program: &str) -> Vec<String> {
    tunnels(container, program).into_iter().map(|(state, _)| state).collect()
}

/// The address of an open tunnel to a port.
#[track_caller]
fn url(container: &Container, program: &str, port: u16) -> String {
    let open = format!("{port} open");
    let found = tunnels(container, program).into_iter().find(|(state, _)| *state == open);
    found.and_then(|(_, url)| url).expect("an open tunnel")
}

#[test]
fn the_portal_and_every_service_with_a_login_get_a_tunnel_to_their_gate() {
    let stand_in = StandIn::new("");
    let container = stand_in.run().start_and_wait();
    register(&container, "Echo", 18080, 8080, "true");
    register(&container, "Open", 18081, 8081, "false");
    let wanted = ["1111 open", "8080 open", "8081 off"];
    container.wait_until("the tunnels", || states(&container, "quicktunnel") == wanted);
    let first = url(&container, "quicktunnel", 8080);
    assert!(container.logs().contains(&format!("tunnel to Echo (port 8080): {first}")));
    assert_eq!(container.exec(&["cfqt-url", "8080"]).text(), first);
    assert_eq!(container.exec(&["cfqt-url.sh", "-p", "8080", "-l", "/lab"]).text(), format!("{first}/lab"));
    let open = container.exec(&["cfqt-url", "8081"]);
    assert!(
        open.failure(1).starts_with("cfqt-url: no quick tunnel to port 8081: the service has no login\n")
    );
    let [_, _, token] = container.login();
    let web = container.web(1111).with("authorization", &format!("Bearer {token}"));
    let state: Value = serde_json::from_str(&web.get("/leonardo/state.json").body).expect("JSON");
    assert_eq!(state["services"][0]["tunnel"]["url"], format!("{first}/"));
    assert!(!state["problems"].to_string().contains("tunnel"), "{state}");
    let page = web.browser().get("/").body;
    assert!(page.contains(&format!("href=\"{first}/\"")), "{page}");

    let targets: Vec<String> = stand_in
        .starts()
        .iter()
        .filter_map(|start| Some(start.split_once("--url ")?.1.split(' ').next()?.to_owned()))
        .collect();
    assert_eq!(targets, ["http://127.0.0.1:1111", "http://127.0.0.1:8080"]);

    // A restart of a service keeps its address.
    container.sh("rm /run/http_ports/8080").text();
    container.wait_until("Caddy to close the port", || container.sh("ss -ltnH | grep :8080").code == Some(1));
    register(&container, "Echo", 18080, 8080, "true");
    // It is the third, so the second has been seen without 8080.
    register(&container, "Third", 18082, 8082, "true");
    container
        .wait_until("the third tunnel", || states(&container, "quicktunnel").contains(&"8082 open".into()));
    assert_eq!(url(&container, "quicktunnel", 8080), first);

    // A program that holds the public port of a service asks for no login.
    container.background(&["python3", "-m", "http.server", "--bind", "0.0.0.0", "8083"]);
    container.wait_until("the program", || container.sh("ss -ltnH | grep :8083").code == Some(0));
    register(&container, "Held", 18083, 8083, "true");
    container.wait_until("it to be listed", || tunnels(&container, "quicktunnel").len() == 5);
    let held = container.exec(&["cfqt-url", "8083"]);
    assert!(held.failure(1).contains("another program"), "{held:?}");

    // The process is confined.
    let script = "for pid in $(pgrep -x cloudflared); do \
        sed -nE 's/^([UG]id|Groups|Cap...|NoNewPrivs):\\s*//p' /proc/$pid/status | xargs; done | sort -u";
    let id = container.sh("echo $(id -u cloudflared; id -g cloudflared)").text();
    let (uid, gid) = id.split_once(' ').expect("two numbers");
    let [uid, gid] = [uid, gid].map(|number| [number; 4].join(" "));
    let confined = container.sh(script).text();
    let expected =
        format!("{uid} {gid} {}{} 1", id.split(' ').nth(1).unwrap(), " 0000000000000000".repeat(5));
    assert_eq!(confined, expected);
    // Only its own account may look; dash adds PWD.
    let environment = "cat $(pgrep -x cloudflared | sed 's,.*,/proc/&/environ,') | tr '\\0' '\\n' | grep -v ^PWD= | sort -u";
    let own = container.exec(&["su", "cloudflared", "-s", "/bin/bash", "-c", environment]);
    assert_eq!(own.text(), "HOME=/run/cloudflared");
}

/// A request as cloudflared passes it on: from loopback, with the tunnel's name and the visitor's address; head and body.
fn visit(container: &Container, port: u16, origin: &str, more: &str, path: &str) -> String {
    let host = origin.trim_start_matches("https://");
    let common = "curl -s -i --http1.1 -H 'Accept: text/html' -H 'Sec-Fetch-Mode: navigate' -H 'X-Forwarded-Proto: https' \
        -H 'X-Forwarded-For: 203.0.113.7'";
    container.sh(&format!("{common} -H 'Host: {host}' {more} 'http://127.0.0.1:{port}{path}'")).text()
}

fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let values = answer.lines().filter_map(|line| line.split_once(": "));
    values.clone().find(|(found, _)| found.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
}

#[test]
fn a_visitor_through_a_tunnel_logs_in_at_the_portals_and_comes_back_over_https() {
    let stand_in = StandIn::new("");
    let container = stand_in.run_faster(10).env("WEB_PASSWORD", "right").start_and_wait();
    container.background(&["python3", "-m", "http.server", "--bind", "127.0.0.1", "18080"]);
    register(&container, "Echo", 18080, 8080, "true");
    container.wait_until("the tunnels", || states(&container, "quicktunnel") == ["1111 open", "8080 open"]);
    let [portal, echo] = [1111, 8080].map(|port| url(&container, "quicktunnel", port));

    let stranger = visit(&container, 8080, &echo, "", "/x?y=1");
    assert!(header(&stranger, "location").starts_with("/leonardo/login?next="), "{stranger}");
    let form = visit(&container, 8080, &echo, "", header(&stranger, "location"));
    let there = format!("href=\"{portal}/leonardo/login?port=8080&#38;next=");
    assert!(form.contains(&there), "{there} in {form}");
    let fields = "--data-urlencode username=user --data-urlencode password=right -d port=8080 \
        --data-urlencode next=/x";
    let logged_in =
        visit(&container, 1111, &portal, &format!("-H 'Origin: {portal}' {fields}"), "/leonardo/login");
    let cookie = header(&logged_in, "set-cookie");
    assert!(cookie.contains("; Secure"), "{logged_in}");
    let arrive = header(&logged_in, "location").strip_prefix(&echo).expect("the service's tunnel");
    let arrived = visit(&container, 8080, &echo, "", arrive);
    let session = header(&arrived, "set-cookie").split(';').next().expect("a pair");
    let page = visit(&container, 8080, &echo, &format!("-H 'Cookie: {session}'"), "/");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("Directory listing"), "{page}");
}

#[test]
fn a_port_that_another_program_holds_has_no_tunnel() {
    let stand_in = StandIn::new("");
    let container = stand_in.run_faster(10).start_and_wait();
    // As a program does that listens on its public port itself: Caddy leaves it out, and nothing asks for a login.
    container.background(&["python3", "-m", "http.server", "--bind", "0.0.0.0", "8080"]);
    container.wait_until("the program", || container.sh("ss -ltnH | grep :8080").code == Some(0));
    register(&container, "Echo", 18080, 8080, "true");
    container.wait_until("the tunnels", || states(&container, "quicktunnel") == ["1111 open", "8080 off"]);
    assert!(stand_in.starts().iter().all(|start| !start.ends_with(":8080")), "{:?}", stand_in.starts());
    let reason = "tunnel to Echo (port 8080): another program listens on the port";
    assert!(container.logs().contains(reason), "{}", container.logs());
}

#[test]
fn a_refusal_is_explained_everywhere_and_ends_by_itself() {
    let stand_in = StandIn::new("speed=20\n429\n");
    let container = stand_in.run_faster(20).start_and_wait();
    container.wait_until_ready();
    let message = "Cloudflare accepts no more new quick tunnels from this address for now (429)";
    let remedy = "it is tried again; others may share the address; CF_TUNNEL_TOKEN has no such limit";
    container.wait_until("the reason in the log", || {
        container.logs().contains(&format!("tunnel to the portal (port 1111): {message}; next attempt in "))
    });
    let problem = format!("tunnel to port 1111: {message}; {remedy}");
    let report = || container.exec(&["boot", "report"]).text();
    let shown = || {
        let [_, _, token] = container.login();
        problems(&container.web(1111).with("authorization", &format!("Bearer {token}")))
    };
    assert!(report().contains(&problem), "{}", report());
    assert!(shown().contains(&problem), "{:#?}", shown());
    let answer = container.exec(&["cfqt-url"]);
    let refused = answer.failure(1);
    assert!(refused.starts_with(&format!("cfqt-url: no quick tunnel to port 1111: {message}")), "{refused}");
    assert!(refused.ends_with(&format!("\nhint: {remedy}\n")), "{refused}");
    assert!(!container.exec(&["boot", "banner"]).text().contains("Cloudflare"));
    stand_in.set_mode("speed=20\n");
    container.wait_until("the tunnel", || states(&container, "quicktunnel") == ["1111 open"]);
    assert_eq!(container.exec(&["cfqt-url"]).text(), url(&container, "quicktunnel", 1111));
    assert!(!report().contains("Cloudflare") && !shown().concat().contains("Cloudflare"));
}

#[test]
fn the_token_is_seen_by_cloudflared_alone() {
    let stand_in = StandIn::new("");
    let ingress = r#"{"version":7,"config":{"ingress":[
        {"hostname":"portal.example.com","service":"http://localhost:1111"},
        {"hostname":"echo.example.com","service":"http://localhost:8080"},
        {"hostname":"raw.example.com","service":"http://localhost:18080"},
        {"service":"http_status:404"}]}}"#;
    fs::write(stand_in.path("config.json"), ingress).expect("a file");
    let container =
        stand_in.run().env("CF_TUNNEL_TOKEN", TOKEN).env("CF_QUICK_TUNNELS", "false").start_and_wait();
    register(&container, "Echo", 18080, 8080, "true");
    container.wait_until_ready();
    let wanted = ["1111 open", "8080 open", "8080 off"];
    container.wait_until("the tunnels", || states(&container, "cloudflared") == wanted);
    assert_eq!(url(&container, "cloudflared", 8080), "https://echo.example.com");
    assert_eq!(container.exec(&["cfnt-url", "8080"]).text(), "https://echo.example.com");
    let portal = container.exec(&["portal-link"]).text();
    assert!(portal.contains("https://portal.example.com/leonardo/enter?code="), "{portal}");
    let raw = "tunnel to port 8080: https://raw.example.com leads to port 18080, which has no login; point it to \
        http://localhost:8080 in Cloudflare's dashboard";
    let report = container.exec(&["boot", "report"]).text();
    assert!(report.contains(raw), "{report}");
    assert_eq!(states(&container, "quicktunnel"), [""; 0], "quick tunnels are off");
    // The first half is enough. Root may not look at the environment of another account's process.
    container.write("/dev/shm/token", &TOKEN[..40]);
    let files = "grep -raIlFf /dev/shm/token /etc /opt /root /home /var /run /workspace /stand-in; true";
    assert_eq!(container.sh(files).text(), "/run/cloudflared/token");
    let processes = "grep -alFf /dev/shm/token /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2> /dev/null; true";
    for account in ["root", "portal", "caddy", "cloudflared"] {
        let words = ["env", "-u", "CF_TUNNEL_TOKEN", "su", account, "-s", "/bin/bash", "-c", processes];
        assert_eq!(container.exec(&words).text(), "", "{account}");
    }
    assert!(!container.logs().contains(&TOKEN[..40]));
    let mode = container.sh("stat -c '%a %U:%G' /run/cloudflared /run/cloudflared/token").text();
    assert_eq!(mode, "750 root:cloudflared\n640 root:cloudflared");
}

#[test]
fn a_container_stops_at_once_although_cloudflared_ignores_the_signal() {
    let stand_in = StandIn::new("ignore-term\n");
    let container = stand_in.run_faster(10).start_and_wait();
    container.wait_until("the tunnel", || states(&container, "quicktunnel") == ["1111 open"]);
    assert_eq!(container.stop(), 0);
    let logs = container.logs();
    assert!(!logs.contains("SIGKILL"), "supervisord waits for nothing: {logs}");
}

#[test]
fn with_https_a_tunnel_speaks_it_too() {
    let stand_in = StandIn::new("");
    let container = stand_in.run_faster(10).env("WEB_ENABLE_HTTPS", "true").start();
    container.wait_until("the tunnel", || states(&container, "quicktunnel") == ["1111 open"]);
    let [start] = &stand_in.starts()[..] else { panic!("{:?}", stand_in.starts()) };
    assert!(start.contains("--url https://127.0.0.1:1111") && start.contains("--no-tls-verify"), "{start}");
}

#[test]
fn an_image_without_cloudflared_says_so_once_and_opens_tunnels_when_it_is_added() {
    let stand_in = StandIn::new("");
    let removed = "rm -f /opt/leonardo/bin/cloudflared; exec init.sh";
    let container = RunOptions::new()
        .mount(stand_in.directory.path(), "/stand-in", "")
        .env("CF_QUICK_TUNNELS", "true")
        .command(&["bash", "-c", removed])
        .start_and_wait();
    container.wait_until_ready();
    let line = "quicktunnel | tunnel-run: ";
    let note = "cloudflared is not in this image";
    container.wait_until("the note", || container.logs().contains(note));
    let report = container.exec(&["boot", "report"]).text();
    assert!(!report.contains(note), "{report}");
    let [_, _, token] = container.login();
    let web = container.web(1111).browser().with("authorization", &format!("Bearer {token}"));
    let sentence = format!("No tunnels: {note}; run cloudflared in the container to see how to add it");
    assert!(web.get("/").body.contains(&sentence));
    container.sh("install -m 755 /stand-in/wrapper /opt/leonardo/bin/cloudflared").text();
    container.wait_until("the tunnel", || states(&container, "quicktunnel") == ["1111 open"]);
    let lines: Vec<String> =
        container.logs().lines().filter(|text| text.starts_with(line)).map(str::to_owned).collect();
    assert_eq!(lines.iter().filter(|text| text.contains(note)).count(), 1, "{lines:?}");
}

//! Services that `service-run` puts behind the login.

use std::io::Read;

use harness::{Container, HttpClient, Image, Output, RunOptions};
use serde_json::{Value, json};

use crate::balanced_services::wait_for_upstreams;
use crate::proxy::{authorized, open};

/// Responds with its number, process and GPU; `/hold` does so in an event stream that ends after `/tmp/go` exists.
const SERVER: &str = r#"
import http.server, os, sys, time
class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{sys.argv[2]} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}".ljust(80).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if self.path == "/hold" else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        while self.path == "/hold" and not os.path.exists("/tmp/go"):
            time.sleep(0.01)
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Server).serve_forever()
"#;

/// Instructions for an image with these files and eight GPUs in `/opt/machine`.
fn with_files(files: &[(&str, &str)]) -> Image {
    let copies: String =
        files.iter().map(|(path, content)| format!("COPY <<'END' {path}\n{content}\nEND\n")).collect();
    let gpus = r#"RUN for gpu in 0 1 2 3 4 5 6 7; do \
        information=/opt/machine/proc/driver/nvidia/gpus/0000:0$gpu:00.0/information && \
        mkdir -p "$(dirname "$information")" /opt/machine/dev && touch /opt/machine/dev/nvidia$gpu && \
        printf 'Model: Test\nGPU UUID: GPU-%s0000000-0000-0000-0000-000000000000\nDevice Minor: %s\n' \
            $gpu $gpu > "$information" || exit 1; done"#;
    Image::extended(&(copies + gpus))
}

/// The service on a port, as the portal's page has it.
fn shown(container: &Container, port: u16) -> Value {
    let state = authorized(container, 1111).get("/leonardo/state.json").body;
    let state: Value = serde_json::from_str(&state).unwrap_or_default();
    let services = state["services"].as_array().cloned().unwrap_or_default();
    services.into_iter().find(|service| service["port"] == port).unwrap_or_default()
}

fn wait_for_state(container: &Container, port: u16, state: &str) {
    container.wait_until(state, || shown(container, port)["state"] == state);
}

fn registered(container: &Container, port: u16) -> Value {
    let text = container.sh(&format!("cat /run/http_ports/{port}")).text();
    serde_json::from_str(&text).expect("a registration")
}

#[test]
fn eight_gpus_are_one_address_and_a_killed_instance_is_replaced_alone() {
    let program = "[program:model]\n\
        command=service-run --name Model --port 8080 --health /health --per-gpu --root /opt/machine -- \
        python3 /opt/server.py {listen} {instance}\n";
    let image = with_files(&[("/etc/supervisor/conf.d/model.conf", program), ("/opt/server.py", SERVER)]);
    let container = RunOptions::new().image(&image).publish(8080).start_and_wait();
    let phases = || -> Vec<Value> {
        let instances = shown(&container, 8080)["instances"].as_array().cloned().unwrap_or_default();
        instances.iter().map(|instance| instance["state"].clone()).collect()
    };
    container.wait_until("eight instances", || phases() == ["running"; 8]);
    container.wait_for(8080);
    wait_for_upstreams(&container, &(18_080..18_088).collect::<Vec<_>>());
    let labels: Vec<String> =
        (0..8).map(|gpu| format!("GPU-{gpu}0000000-0000-0000-0000-000000000000")).collect();
    let service = shown(&container, 8080);
    let found: Vec<&str> =
        (0..8).map(|gpu| service["instances"][gpu]["label"].as_str().expect("a label")).collect();
    assert_eq!(found, labels);

    let (heads, held): (Vec<String>, Vec<_>) = (0..8).map(|_| open(&container, "/hold", "")).unzip();
    container.sh("touch /tmp/go").text();
    let mut visitors: Vec<(String, HttpClient)> = Vec::new();
    for (head, mut stream) in heads.iter().zip(held) {
        let mut body = [0; 80];
        stream.read_exact(&mut body).expect("a body");
        let cookie =
            head.lines().find_map(|line| line.strip_prefix("Set-Cookie: instance_8080=")).expect("a cookie");
        let cookie = format!("instance_8080={}", cookie.split(';').next().expect("a value"));
        let visitor = authorized(&container, 8080).with("cookie", &cookie);
        visitors.push((String::from_utf8_lossy(&body).into_owned(), visitor));
    }
    visitors.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (index, (body, visitor)) in visitors.iter().enumerate() {
        let words: Vec<&str> = body.split_whitespace().collect();
        assert_eq!(
            [words[0], words[2]],
            [&index.to_string(), labels[index].as_str()],
            "each has one of eight requests"
        );
        (0..20).for_each(|_| assert_eq!(visitor.get("/").body, *body, "a visitor stays"));
    }

    let killed = visitors[3].0.split_whitespace().nth(1).expect("a process").to_owned();
    let before = registered(&container, 8080);
    container.sh(&format!("kill -9 {killed}")).text();
    for (index, (body, visitor)) in visitors.iter().enumerate() {
        let response = visitor.get("/");
        assert_eq!((response.status, response.body == *body), (200, index != 3), "{response:?}");
    }
    container.wait_until("another instance", || {
        let instance = &registered(&container, 8080)["instances"][3];
        instance["status"]["phase"] == "running" && instance["status"] != before["instances"][3]["status"]
    });
    container.wait_until("its visitors", || {
        let body = authorized(&container, 8080).get("/").body;
        body.starts_with("3 ") && !body.contains(&killed)
    });
    for (index, (body, visitor)) in visitors.iter().enumerate().filter(|(index, _)| *index != 3) {
        assert_eq!(visitor.get("/").body, *body, "{index}");
    }
    let line = format!("{}: killed by SIGKILL, often because memory was full", labels[3]);
    let log = container.log_with("model", &line);
    assert_eq!(log.matches(&line).count(), 1, "{log}");

    container.sh("supervisorctl stop model").text();
    assert_eq!(container.sh("ls /run/http_ports; pgrep -f server.py").stdout, b"", "nothing is left");
}

#[test]
fn a_service_waits_for_provisioning_and_runs_as_the_system_user() {
    let server = "import http.server, os, sys\n\
        class Server(http.server.BaseHTTPRequestHandler):\n    \
            def do_GET(self):\n        \
                body = ' '.join([os.popen('id -un').read().strip(), os.environ['USER'], os.environ['GREETING']]).encode()\n        \
                self.send_response(200)\n        \
                self.send_header('Content-Length', str(len(body)))\n        \
                self.end_headers()\n        \
                self.wfile.write(body)\n\
        http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Server).serve_forever()\n";
    // The shell does not become the server: what it leaves behind holds the port.
    let program = "[program:app2]\n\
        command=service-run --name App --port 8080 --url /ui -- sh -c \"python3 /opt/server.py $0; exit 1\" {listen}\n\
        startretries=1000000\n";
    let script = "#!/bin/sh\nsudo env-store set GREETING=stored\nuntil [ -e /tmp/go ]; do sleep 0.1; done\n";
    let image = with_files(&[
        ("/etc/supervisor/base.d/app.conf", program),
        ("/opt/server.py", server),
        ("/opt/leonardo/bin/provisioning.sh", script),
    ]);
    let container = RunOptions::new().image(&image).env("USER_NAME", "ada").publish(8080).start_and_wait();
    wait_for_state(&container, 8080, "waiting for provisioning");
    container.wait_for(8080);
    let web = authorized(&container, 8080);
    let page = web.browser().get("/").body;
    assert!(page.contains("<h1>App waits for provisioning</h1>"), "{page}");
    container.sh("touch /tmp/go").text();
    wait_for_state(&container, 8080, "running");
    assert_eq!(web.get("/").body, "ada ada stored");
    assert!(shown(&container, 8080)["url"].as_str().is_some_and(|url| url.ends_with(":8080/ui")));

    let before = registered(&container, 8080);
    container.sh(&format!("kill -9 {}", before["pid"])).text();
    container.wait_until("another process", || {
        let now = container.sh("cat /run/http_ports/8080").stdout;
        let now: Value = serde_json::from_slice(&now).unwrap_or_default();
        now["pid"] != before["pid"] && now["status"]["phase"] == "running"
    });
    let now = registered(&container, 8080);
    assert_eq!([&now["listen_port"], &now["log"]], [&json!(18080), &json!("app2.log")]);
    assert_eq!(web.get("/").body, "ada ada stored");
    let log = container.sh("cat /var/log/supervisor/app2.log").text();
    assert!(log.contains(", which an earlier start left on port 18080\n"), "{log}");
    assert_eq!(container.stop(), 0);
}

#[test]
fn a_service_that_cannot_run_is_on_the_page_with_its_cause() {
    let program = |name: &str, words: &str| {
        format!(
            "[program:{name}]\ncommand=service-run --name {name} {words}\nautorestart=false\nstartsecs=0\n"
        )
    };
    let programs = [
        program("fails", "--port 8001 -- sh -c \"echo last words; exit 3\" {listen}"),
        program("missing", "--port 8002 -- no-such-program {listen}"),
        program("pinned", "--port 8003 --per-gpu -- sh -c \"exit 4\" {listen}"),
        program("held", "--port 8004 --listen-port 1023 -- true"),
    ];
    let holder = "[program:holder]\ncommand=python3 -m http.server --bind 127.0.0.1 1023\npriority=1\n";
    let image = with_files(&[
        ("/etc/supervisor/conf.d/services.conf", &programs.concat()),
        ("/etc/supervisor/base.d/holder.conf", holder),
    ]);
    let container = RunOptions::new().image(&image).publish(8001).start_and_wait();
    wait_for_state(&container, 8001, "failed: exit code 3");
    wait_for_state(&container, 8002, "failed: cannot run \"no-such-program\": No such file or directory");
    wait_for_state(&container, 8003, "failed: exit code 4");
    container.log_with("pinned", "no GPU is visible in this container, so one instance runs without a GPU\n");
    container.wait_until("a held port", || {
        let state = shown(&container, 8004)["state"].as_str().unwrap_or_default().to_owned();
        state.starts_with("failed: port 1023 is held by ")
    });
    container.wait_for(8001);
    let page = authorized(&container, 8001).browser().get("/").body;
    assert!(page.contains("<h1>fails failed: exit code 3</h1>") && page.contains("last words"), "{page}");
    let Output { code, .. } =
        container.sh("supervisorctl start missing; service-run --name x --port 8001 -- true {listen}");
    assert_eq!(code, Some(0), "a failed service gives up its port");
}

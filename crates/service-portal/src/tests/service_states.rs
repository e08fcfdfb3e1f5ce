//! States of services and their instances, as the pages and JSON show them.

use std::net::TcpListener;

use kit::unix_time;
use ports::{Instance, Phase, Service, Status};
use serde_json::{Value, json};

use super::fixture::Portal;

fn status(phase: Phase, cause: Option<&str>) -> Status {
    Status { phase, since: unix_time::now() - 200, cause: cause.map(str::to_owned) }
}

fn service(name: &str, listen_port: u16, proxy_port: u16) -> Service {
    Service { service_name: name.into(), listen_port, proxy_port, ..Service::default() }
}

fn instance(label: &str, listen_port: u16, status: Status) -> Instance {
    Instance { label: label.into(), listen_port, status }
}

/// Returns a portal with a service in each state, and the port of the one that accepts connections.
fn portal_with_all_states(listener: &TcpListener) -> (Portal, u16) {
    let portal = Portal::new();
    let open = listener.local_addr().unwrap().port();
    let register = |service: Service, status: Status| {
        portal.register_service(&Service { status: Some(status), ..service });
    };
    register(service("Waits", 1, 8001), status(Phase::Waiting, Some("provisioning")));
    register(service("Starts", open, 8002), status(Phase::Starting, None));
    register(service("Fails", 1, 8003), status(Phase::Failed, Some("<i>exit code 1</i>")));
    let instances = vec![
        instance("GPU-0e1f", 1, status(Phase::Failed, Some("exit code 1"))),
        instance("<b>GPU-9c4d</b>", open, status(Phase::Running, None)),
        instance("GPU-5b2a", 2, status(Phase::Running, None)),
    ];
    register(Service { instances, ..service("vLLM", 1, 8004) }, status(Phase::Running, None));
    let killed = Service { pid: Some(u32::MAX), ..service("Killed", 1, 8005) };
    register(killed, status(Phase::Starting, None));
    (portal, open)
}

/// Returns the class of the first badge and the text of each service on a page.
fn cards(page: &str) -> Vec<String> {
    let card = |html: &str| {
        let class = html.split_once("<span class=\"badge ").unwrap().1.split('"').next().unwrap();
        let text: String =
            html.split('<').map(|part| part.split_once('>').map_or("", |(_, text)| text)).collect();
        format!("{class}: {}", text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    page.split("<li id=\"service-").skip(1).map(card).collect()
}

#[test]
fn the_page_shows_each_state_and_each_instance() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (portal, _) = portal_with_all_states(&listener);
    let page = portal.send("portal page session host=gpu.lan:1111 /", "").body;
    let expected = [
        "warn: Demo not responding port 3000 no login Direct gpu.lan:3000 Open Demo",
        "busy: Waits not started waits for provisioning port 8001 Direct gpu.lan:8001 Open Waits",
        "busy: Starts starting for 3 min, port open, not ready yet port 8002 Direct gpu.lan:8002 Open Starts",
        "bad: Fails failed &#60;i&#62;exit code 1&#60;/i&#62;, 3 min ago port 8003 Direct gpu.lan:8003 Open Fails",
        "good: vLLM up for 3 min port 8004 GPU-0e1f failed: exit code 1 &#60;b&#62;GPU-9c4d&#60;/b&#62; running \
         GPU-5b2a not responding Direct gpu.lan:8004 Open vLLM",
        "warn: Killed not responding started 3 min ago, nothing listens on its port port 8005 Direct gpu.lan:8005 Open Killed",
        "warn: Echo not responding port 8188 Direct gpu.lan:8188 Open Echo",
    ];
    assert_eq!(cards(&page), expected);
    assert!(page.contains("data-copy=\"http://gpu.lan:8004/\"") && !page.contains("No services yet"));
    let empty = Portal::new();
    for file in ["3000", "8188"] {
        std::fs::remove_file(empty.directory.path().join("registry").join(file)).unwrap();
    }
    assert!(empty.send("portal page session /", "").body.contains("No services yet"));
}

#[test]
fn a_problem_of_a_program_names_its_service_and_starts_it() {
    let portal = Portal::new();
    let program = json!({"state": "FATAL", "at": 1, "failures": 4, "end": "exit code 3", "log": "/var/log/supervisor/echo.log"});
    std::fs::write(
        portal.directory.path().join("programs.json"),
        json!({"echo server": program}).to_string(),
    )
    .unwrap();
    let page = portal.send("portal page session /", "").body;
    assert!(
        page.contains("<b>Echo (echo server)</b> the program is down after 4 starts in a row (exit code 3)"),
        "{page}"
    );
    let start = "href=\"/leonardo/processes?confirm=start&amp;name=echo%20server\"";
    assert_eq!(page.matches(start).count(), 2, "the problem and the service: {page}");
}

#[test]
fn a_qr_code_leads_to_an_address_of_the_service_and_to_nothing_else() {
    let portal = Portal::new();
    portal.check_pages(
        "portal page session host=gpu.lan:1111 /leonardo/qr?port=8188&route=direct => 200 <Echo> (logout)
         portal page session /leonardo/qr?port=8188&route=quick    => 404 This service has no such address any more.
         portal page session /leonardo/qr?port=22&route=direct     => 404 This service has no such address any more.
         page session /leonardo/qr?port=8188&route=direct          => 403 Open this page on the portal's own port.
         portal page /leonardo/qr?port=8188&route=direct           => 302 to /leonardo/login",
    );
    let page =
        portal.send("portal page session host=gpu.lan:1111 /leonardo/qr?port=8188&route=direct", "").body;
    assert!(page.contains("<svg role=\"img\"") && page.contains("href=\"http://gpu.lan:8188/\""), "{page}");
}

#[test]
fn the_json_has_the_same_states() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (portal, open) = portal_with_all_states(&listener);
    let body = portal.send("portal program bearer host=gpu.lan:1111 /leonardo/state.json", "").body;
    let found: Value = serde_json::from_str(&body).unwrap();
    let service = |name: &str, port: u16, pending: bool, state: &str| {
        json!({"name": name, "port": port, "url": format!("http://gpu.lan:{port}/"), "alive": false, "protected": true,
            "pending": pending, "state": state, "instances": []})
    };
    let instance = |label: &str, port: u16, alive: bool, state: &str| json!({"label": label, "port": port, "alive": alive, "pending": false, "state": state});
    let mut demo = service("Demo", 3000, false, "not responding");
    demo["protected"] = json!(false);
    let mut balanced = service("vLLM", 8004, false, "running");
    balanced["alive"] = json!(true);
    balanced["instances"] = json!([
        instance("GPU-0e1f", 1, false, "failed: exit code 1"),
        instance("<b>GPU-9c4d</b>", open, true, "running"),
        instance("GPU-5b2a", 2, false, "not responding"),
    ]);
    let expected = json!([
        demo,
        service("Waits", 8001, true, "waiting for provisioning"),
        service("Starts", 8002, true, "starting for 3 min"),
        service("Fails", 8003, false, "failed: <i>exit code 1</i>"),
        balanced,
        service("Killed", 8005, false, "not responding"),
        service("Echo", 8188, false, "not responding"),
    ]);
    assert_eq!(found["services"], expected);
}

#[test]
fn a_visitor_of_a_service_that_does_not_respond_learns_its_state() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (portal, _) = portal_with_all_states(&listener);
    let ask = |kind: &str, port: u16| {
        let cause = "x-leonardo-cause=dial";
        portal.send(&format!("{kind} {cause} /gate/unavailable?port={port}"), "")
    };
    for (port, name, state, details, reloads) in [
        (8001, "Waits", "waits for provisioning", "It has waited for 3 min.", true),
        (8002, "Starts", "is starting", "It has been starting for 3 min.", true),
        (8003, "Fails", "failed: <i>exit code 1</i>", "It failed at ", false),
    ] {
        let page = ask("page", port);
        assert_eq!(page.header("refresh"), reloads.then_some("3"), "{name}");
        assert_eq!(page.body.contains("assets/retry.js?"), !reloads, "{name}");
        let escaped = state.replace('<', "&#60;").replace('>', "&#62;");
        let shown = format!("<h1>{name} {escaped}</h1>\n<p>{details}");
        assert!(page.body.contains(&shown), "{}", page.body);
        let json: Value = serde_json::from_str(&ask("program", port).body).unwrap();
        let message = format!("the service {state}");
        assert_eq!(json, json!({"error": "unavailable", "message": message, "service": name, "port": port}));
    }
    assert!(ask("page", 8005).body.contains("<h1>Killed closed the connection</h1>"));
    assert!(ask("page", 8188).body.contains("<h1>Echo closed the connection</h1>"));
}

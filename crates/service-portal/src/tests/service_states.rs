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

#[test]
fn the_page_shows_each_state_and_each_instance() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (portal, _) = portal_with_all_states(&listener);
    let page = portal.send("portal page session host=gpu.lan:1111 /", "").body;
    let services = page.split_once("class=\"services\">\n").unwrap().1.split_once("</div>").unwrap().0;
    let item = |port: u16, class: &str, name: &str, state: &str| {
        format!(
            "<li id=\"service-{port}\" class=\"card service {class}\">\n<a href=\"http://gpu.lan:{port}/\">{name}</a>\n\
             <span class=\"port\">port {port}</span>\n<span class=\"state\">{state}</span>\n"
        )
    };
    let expected = [
        &item(3000, "down", "Demo", "not responding").replace("3000</span>", "3000, no login</span>"),
        "</li>\n",
        &item(8001, "pending", "Waits", "waiting for provisioning"),
        "</li>\n",
        &item(8002, "pending", "Starts", "starting for 3 min"),
        "</li>\n",
        &item(8003, "down", "Fails", "failed: &#60;i&#62;exit code 1&#60;/i&#62;"),
        "</li>\n",
        &item(8004, "up", "vLLM", "running"),
        "<ul>\n\
         <li class=\"down\">GPU-0e1f <span class=\"state\">failed: exit code 1</span></li>\n\
         <li class=\"up\">&#60;b&#62;GPU-9c4d&#60;/b&#62; <span class=\"state\">running</span></li>\n\
         <li class=\"down\">GPU-5b2a <span class=\"state\">not responding</span></li>\n\
         </ul>\n</li>\n",
        &item(8005, "down", "Killed", "not responding"),
        "</li>\n",
        &item(8188, "down", "Echo", "not responding"),
        "</li>\n</ul>\n",
    ];
    assert_eq!(services, expected.concat());
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
    for (port, name, state, details) in [
        (8001, "Waits", "waits for provisioning", "It has waited for 3 min."),
        (8002, "Starts", "is starting", "It has been starting for 3 min."),
        (8003, "Fails", "failed: <i>exit code 1</i>", "It failed 3 min ago."),
    ] {
        let page = ask("page", port);
        let escaped = state.replace('<', "&#60;").replace('>', "&#62;");
        let shown = format!("<h1>{name} {escaped}</h1>\n<p>{details}</p>\n");
        assert!(page.body.contains(&shown), "{}", page.body);
        let json: Value = serde_json::from_str(&ask("program", port).body).unwrap();
        let message = format!("the service {state}");
        assert_eq!(json, json!({"error": "unavailable", "message": message, "service": name, "port": port}));
    }
    assert!(ask("page", 8005).body.contains("<h1>Killed closed the connection</h1>"));
    assert!(ask("page", 8188).body.contains("<h1>Echo closed the connection</h1>"));
}

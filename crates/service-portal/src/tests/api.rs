//! The API: its description, its scopes, and what a token does not open.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use journal::{Event, Stage, StageResult};
use process_control::{Action, Exit, Program};
use serde_json::{Value, json};

use super::fixture::{Portal, TOKEN};
use crate::api::{Needs, endpoints};
use crate::throttle::AttemptKind;

const PREFIX: &str = "/leonardo/api/v1";

fn description() -> Value {
    serde_json::from_str(include_str!("../../assets/openapi.json")).unwrap()
}

/// Refuses fields that the description lacks. Clients must not: fields may be added.
fn forbid_other_fields(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(forbid_other_fields);
            if fields.contains_key("properties") && fields.contains_key("type") {
                fields.insert("additionalProperties".into(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forbid_other_fields),
        _ => {}
    }
}

/// Validates a body against the schema at a JSON pointer of the description.
#[track_caller]
fn validate(description: &Value, pointer: &str, body: &str) {
    let mut components = description["components"].clone();
    forbid_other_fields(&mut components);
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": components,
        "allOf": [description.pointer(pointer).unwrap()],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let errors: Vec<String> =
        validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{pointer} {errors:#?}\n{body:#}");
}

/// Requests of each described endpoint: method and path, further words, and a part of the response.
const CALLS: &[(&str, &str, u16, &str)] = &[
    ("GET /openapi.json", "", 200, "\"openapi\""),
    ("GET /status", "", 200, "\"level\""),
    ("GET /services", "", 200, "\"Echo\""),
    ("GET /processes", "", 200, "RUNNING"),
    (
        "POST /processes/{name}/start",
        "/processes/all%3A*/start",
        200,
        "start all:* for WEB_TOKEN from 192.0.2.1",
    ),
    ("POST /processes/{name}/stop", "/processes/a%2F..%0A/stop", 200, "stop a/..\\n for WEB_TOKEN"),
    ("POST /processes/{name}/restart", "/processes/mine/restart", 200, "restart mine for WEB_TOKEN"),
    ("POST /processes/{name}/restart", "/processes/caddy/restart", 202, "restart of caddy has begun"),
    ("POST /processes/{name}/restart", "/processes/none/restart", 404, "no program none"),
    ("POST /processes/{name}/restart", "/processes/%ff/restart", 400, "malformed"),
    ("GET /logs", "", 200, "\"sync\""),
    ("GET /logs/{name}", "/logs/sync?lines=1&pattern=o", 200, "\"text\":\"two\""),
    ("GET /logs/{name}", "/logs/none", 404, "no log has this name"),
    ("GET /logs/{name}", "/logs/..%2Fsync", 404, "no log has this name"),
    ("GET /logs/{name}", "/logs/sync?lines=x", 400, "lines must be a number"),
    ("GET /system", "", 200, "\"cgroup_v2\""),
    ("GET /boot", "", 200, "\"starting\""),
    ("GET /access", "", 200, "\"reader of logs\""),
];

/// Answers as `process-control` does, in a thread that ends with the tests.
fn serve_processes(portal: &Portal) {
    let listener = UnixListener::bind(portal.state.process_control()).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let asked: Value = serde_json::from_str(&line).unwrap();
            let exit =
                Exit { at: 1.5, sentence: "exit code 3".into(), expected: false, log: None, log_size: 7 };
            let programs = [
                Program {
                    name: "caddy".into(),
                    state: "RUNNING".into(),
                    pid: Some(7),
                    cpu_percent: Some(0.5),
                    can_restart: true,
                    description: Some("web".into()),
                    ..Program::default()
                },
                Program { last_exit: Some(exit), action: Some(Action::Stop), ..Program::default() },
            ];
            let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
            let answer = match (text("request").as_str(), text("name").as_str()) {
                ("list", _) => json!({ "programs": programs }),
                (_, "none") => json!({ "refusal": { "kind": "unknown", "message": "no program none" } }),
                (action, name) => json!({ "outcome": {
                    "ok": true,
                    "finished": true,
                    "message": format!("{action} {name} for {}", text("requester")),
                    "programs": programs,
                } }),
            };
            writeln!(stream, "{answer}").unwrap();
        }
    });
}

fn write_log(portal: &Portal) {
    let directory = portal.directory.path().join("logs/var/log");
    std::fs::create_dir_all(directory.join("supervisor")).unwrap();
    std::fs::write(directory.join("sync.log"), "one\ntwo\nthree\n").unwrap();
}

#[test]
fn every_endpoint_is_described_and_responds_as_described() {
    let (portal, description) = (Portal::new(), description());
    serve_processes(&portal);
    write_log(&portal);
    super::system::measure(&portal);
    let mut described: Vec<String> = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().keys().filter(|key| *key != "parameters");
        described.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let method = |needs| if needs == Needs::Owner { "POST" } else { "GET" };
    let mut served: Vec<String> =
        endpoints().iter().map(|endpoint| format!("{} {}", method(endpoint.needs), endpoint.path)).collect();
    let mut called: Vec<String> = CALLS.iter().map(|call| call.0.to_owned()).collect();
    described.sort();
    served.sort();
    called.sort();
    called.dedup();
    assert_eq!(described, served);
    assert_eq!(described, called);
    for (call, target, status, part) in CALLS {
        let (method, path) = call.split_once(' ').unwrap();
        let target = if target.is_empty() { path } else { target };
        let answer = portal.send(&format!("portal program bearer {method} {PREFIX}{target}"), "");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (*status, Some("application/json")),
            "{}",
            answer.body
        );
        assert!(answer.body.contains(part), "{call}: {}", answer.body);
        let operation = format!("/paths/{}/{}", path.replace('/', "~1"), method.to_lowercase());
        let code = if *status < 300 { status.to_string() } else { "default".to_owned() };
        let response = description.pointer(&format!("{operation}/responses/{code}")).unwrap();
        let pointer = match response["$ref"].as_str() {
            Some(reference) => reference[1..].to_owned(),
            None => format!("{operation}/responses/{code}"),
        };
        validate(&description, &format!("{pointer}/content/application~1json/schema"), &answer.body);
    }
}

#[test]
fn errors_have_one_format() {
    let (portal, description) = (Portal::new(), description());
    for (words, status) in [
        ("portal program /leonardo/api/v1/services", 401),
        ("portal page /leonardo/api/v1/services", 401),
        ("portal program bearer-wrong /leonardo/api/v1/services", 401),
        ("portal program bearer /leonardo/api/v1/nothing", 404),
        ("portal program bearer /leonardo/api/v2/services", 404),
        ("portal program /leonardo/api/v1/nothing", 401),
        ("portal program bearer POST /leonardo/api/v1/services", 405),
        ("program bearer /leonardo/api/v1/services", 403),
        ("portal program bearer-read /leonardo/api/v1/access", 403),
    ] {
        let answer = portal.send(words, "");
        assert_eq!(answer.status, status, "{words}: {}", answer.body);
        validate(&description, "/components/schemas/Error", &answer.body);
    }
}

/// A token opens what the table of endpoints says; everywhere else it changes nothing.
#[test]
fn a_token_opens_the_reading_endpoints_and_no_other_route() {
    let portal = Portal::new();
    serve_processes(&portal);
    write_log(&portal);
    super::system::measure(&portal);
    let paths = portal.paths();
    assert!(paths.len() > 25 && paths.iter().any(|path| path == "/leonardo/access/share"), "{paths:?}");
    let requests =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "GET page", "GET upgrade=websocket"];
    let mut opened: [Vec<String>; 2] = Default::default();
    for path in &paths {
        let target = path.replace("{name}", "sync").replace("{*path}", "x").replace(['{', '}'], "");
        for request in requests {
            let send = |token: &str| {
                let words = format!("portal own {request} {token} uri=/ {target}?token=$WRONG");
                portal.send(&words, "id=x&code=x&port=8188&hours=1&name=x").status
            };
            let without = send("");
            for (token, opened) in ["bearer-read", "bearer-logs"].into_iter().zip(&mut opened) {
                let status = send(token);
                if ![401, 403, 404, 405].contains(&status) && status != without {
                    opened.push(format!("{request} {path}"));
                }
            }
        }
    }
    let expected = |needs: &[Needs]| {
        let endpoints = endpoints();
        let open = endpoints.iter().filter(|endpoint| needs.contains(&endpoint.needs));
        let mut expected: Vec<String> = open
            .map(|endpoint| format!("{PREFIX}{}", endpoint.path))
            .chain(["/leonardo/metrics".to_owned()])
            .flat_map(|path| {
                ["GET", "HEAD", "GET page", "GET upgrade=websocket"]
                    .map(|request| format!("{request} {path}"))
            })
            .collect();
        expected.sort();
        expected
    };
    opened.iter_mut().for_each(|opened| opened.sort());
    assert_eq!(opened, [expected(&[Needs::State]), expected(&[Needs::State, Needs::LogText])]);
}

const GATE: &str = "
    program bearer-read /                => 403
    page bearer-read /                   => 403 This token can only read /leonardo/api/v1 and /leonardo/metrics.
    program-post bearer-read /           => 403
    program-socket bearer-read /         => 403
    program bearer-logs /                => 403
    page bearer-read /?token=$TOKEN      => 403 This token can only read /leonardo/api/v1 and /leonardo/metrics.
    program bearer-read port=3000 /      => 403
    program session bearer-read /        => 200 cookie: theme=dark
    program device bearer-read /         => 403
";

#[test]
fn a_token_passes_no_gate_and_no_service_sees_it() {
    let mut portal = Portal::new();
    portal.check_gate("/gate/verify", GATE);
    let word = portal.api_token("variants", crate::api_tokens::TokenScope::ReadLogs);
    let digest = kit::hex::sha256(word.as_bytes());
    let basic = |pair: String| format!("Basic {}", STANDARD.encode(pair));
    let variants = [
        ("authorization", format!("Basic {word}")),
        ("authorization", basic(format!("ada:{word}"))),
        ("authorization", basic(format!(":{word}"))),
        ("authorization", basic(format!("{word}:"))),
        ("authorization", format!("Token {word}")),
        ("authorization", word.clone()),
        ("authorization", format!("Bearer {word}, Bearer {TOKEN}")),
        ("authorization", format!("Bearer {digest}")),
        ("authorization", format!("Bearer {}", &word[..46])),
        ("authorization", format!("Bearer\t{word}")),
        ("proxy-authorization", format!("Bearer {word}")),
        ("x-api-key", word.clone()),
        ("cookie", format!("token={word}; leonardo_0badcafe={word}")),
    ];
    for (number, (name, value)) in variants.into_iter().enumerate() {
        portal.add_header("variant", name, value.clone());
        let words = format!("portal program from=198.51.{number}.1 variant {PREFIX}/services");
        assert_eq!(portal.send(&words, "").status, 401, "{name}: {value}");
    }
    let query = format!("portal program {PREFIX}/services?token={word}&access_token={word}");
    assert_eq!(portal.send(&query, "").status, 401);
    let page = format!("portal page /leonardo/?token={word}");
    assert_eq!(portal.send(&page, "").to_string(), "302 to /leonardo/login", "no session");
    portal.add_header("variant", "authorization", format!("bearer   {word} "));
    let words = format!("portal program variant {PREFIX}/services");
    assert_eq!(portal.send(&words, "").status, 200, "the scheme has no case");
}

#[test]
fn a_valid_token_is_no_failed_attempt_and_helps_nobody_to_guess() {
    let portal = Portal::new();
    let services = format!("portal program bearer-read {PREFIX}/services");
    let guesses = |attempts: &dyn Fn()| portal.guesses(AttemptKind::Header, "192.0.2.1", attempts);
    assert!(!guesses(&|| (0..20).for_each(|_| assert_eq!(portal.send(&services, "").status, 200))));
    assert!(!guesses(
        &|| (0..20).for_each(|_| assert_eq!(portal.ask("/gate/verify", "program bearer-read /").status, 403))
    ));
    let alternate = || {
        for _ in 0..20 {
            portal.send(&format!("portal program basic-wrong {PREFIX}/services"), "");
            portal.send(&services, "");
        }
    };
    assert!(guesses(&alternate), "a valid token does not reset the failures of a wrong password");
    let refused = portal.send(&format!("portal program bearer-wrong {PREFIX}/services"), "");
    assert_eq!(refused.status, 429, "a wrong token waits as any attempt");
    assert_eq!(portal.send(&services, "").status, 200, "a valid one does not");
}

#[test]
fn what_a_script_printed_is_for_tokens_that_read_logs() {
    let portal = Portal::new();
    let journal = portal.state.journal();
    let (stage, message) = (Stage::Provisioning, "the script printed a secret".to_owned());
    journal.append(Event::BootStarted { pid: 1 }).unwrap();
    journal.append(Event::StageStarted { stage }).unwrap();
    journal.append_restricted(Event::StageNote { stage, message: message.clone() }).unwrap();
    let sees = |path: &str, token: &str| {
        let answer = portal.send(&format!("portal program {token} {PREFIX}/{path}"), "");
        assert_eq!(answer.status, 200);
        answer.body.contains("printed a secret")
    };
    let tokens = ["bearer-read", "bearer-logs", "bearer"];
    assert_eq!(tokens.map(|token| sees("boot", token)), [false, true, true]);
    let failed = |cause: &str| Event::StageEnded {
        stage,
        result: StageResult::Failed,
        cause: Some(cause.to_owned()),
        hint: None,
    };
    journal.append(failed("exit code 3")).unwrap();
    journal.append_restricted(failed(&message)).unwrap();
    assert_eq!(tokens.map(|token| sees("status", token)), [false, true, true]);
    let status = portal.send(&format!("portal program bearer-read {PREFIX}/status"), "").body;
    assert!(status.contains("failed: exit code 3"), "{status}");
    validate(&description(), "/components/schemas/Status", &status);
}

#[test]
fn a_changed_login_ends_every_token() {
    let portal = Portal::new();
    let services = format!("portal program bearer-read {PREFIX}/services");
    assert_eq!(portal.send(&services, "").status, 200);
    portal.change_login("another password", "another-token");
    assert!(!portal.guesses(AttemptKind::Header, "192.0.2.1", || {
        (0..20).for_each(|_| assert_eq!(portal.send(&services, "").status, 401));
    }));
    portal.break_login();
    assert_eq!(portal.send(&services, "").status, 401);
}

#[test]
fn pages_of_other_origins_cannot_use_a_session_and_without_a_login_reading_works() {
    let portal = Portal::new();
    for (words, status) in [
        ("fetch-own session", 200),
        ("fetch-port session", 403),
        ("fetch-site session", 403),
        ("fetch-port-http session", 403),
        ("fetch-site bearer", 200),
        ("preflight", 401),
        ("program session", 200),
        ("program guest", 401),
        ("program basic", 200),
    ] {
        let answer = portal.send(&format!("portal host=gpu.lan:1111 {words} {PREFIX}/services"), "");
        assert_eq!(answer.status, status, "{words}");
    }
    let portal = Portal::with(&[("WEB_ENABLE_AUTH", "false")]);
    for (path, status) in [("services", 200), ("boot", 200), ("access", 403)] {
        assert_eq!(portal.send(&format!("portal program {PREFIX}/{path}"), "").status, status, "{path}");
    }
    assert_eq!(portal.send(&format!("portal program host=evil.example:1111 {PREFIX}/boot"), "").status, 421);
}

//! The portal, as a person sees it.

use std::path::PathBuf;

use harness::{Browser, HttpClient, RunOptions};
use serde_json::Value;

pub fn picture(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/e2e");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder.join(name).with_extension("png")
}

#[test]
fn a_browser_logs_in_with_the_right_password_only() {
    let container = RunOptions::new().env("WEB_PASSWORD", "right & <proper>").start_and_wait();
    register(&container, "Echo <b>", 18080, 8080, "true");
    let origin = format!("http://{}", container.address(1111));
    let browser = Browser::start(1000, 700);
    browser.open(&origin);
    browser.wait_for_text("h1", "Log in");
    browser.screenshot(&picture("login"));

    browser.type_into("[name=username]", "user");
    browser.type_into("[name=password]", "wrong");
    browser.click("button");
    browser.wait_for_text(".error", "Wrong user name or password.");
    browser.screenshot(&picture("login-wrong"));

    // The form keeps the user name.
    browser.type_into("[name=password]", "right & <proper>");
    browser.click("button");
    browser.wait_for_text("h1", "Services");
    assert_eq!(browser.url(), format!("{origin}/"));
    browser.wait_for_text(".service a", "Echo <b>");
    browser.wait_for_text(".service .badge", "not responding");
    assert_eq!(browser.cookies_seen_by_scripts(), "", "no script can read the session");
    browser.screenshot(&picture("portal"));

    container.background(&["python3", "-m", "http.server", "--bind", "127.0.0.1", "18080"]);
    container.wait_until("the page to notice the service", || browser.text(".service .badge") == "up");
    browser.screenshot(&picture("portal-running"));

    browser.click(".menu summary");
    browser.click("header form button");
    browser.wait_for_text("h1", "Log in");
    browser.open(&origin);
    browser.wait_for_text("h1", "Log in");
}

#[test]
fn a_tunnel_that_opens_appears_on_the_open_page() {
    let container = RunOptions::new().env("WEB_PASSWORD", "right").start_and_wait();
    register(&container, "Echo", 18080, 8080, "true");
    let browser = Browser::start(1000, 700);
    browser.open(&format!("http://{}", container.address(1111)));
    browser.type_into("[name=username]", "user");
    browser.type_into("[name=password]", "right");
    browser.click("button");
    browser.wait_for_partial_text(".service .hint", "port 8080");
    // As tunnel-run writes it.
    let write = |state: &str, url: &str| {
        let rest = r#""cause":null,"detail":null,"retry_at":null"#;
        let tunnel = format!(r#"{{"port":8080,"state":"{state}","url":{url},{rest}}}"#);
        let status = format!(r#"{{"is_opening":false,"cause":null,"detail":null,"tunnels":[{tunnel}]}}"#);
        container.write("/run/leonardo/quicktunnel.json", &status);
    };
    write("opening", "null");
    browser.wait_for_partial_text(".service .addresses", "is being opened");
    write("open", "\"https://a-b.trycloudflare.com\"");
    browser.wait_for_partial_text(".service .addresses", "a-b.trycloudflare.com");
    browser.screenshot(&picture("portal-tunnel"));
    let link = serde_json::json!("https://a-b.trycloudflare.com/");
    browser
        .wait_for_value("return document.querySelector('.addresses a.url[href*=trycloudflare]').href", &link);
    // The page does not reload while nothing changes: the state of the service is updated in place.
    browser.run("window.isSamePage = true");
    container.background(&["python3", "-m", "http.server", "--bind", "127.0.0.1", "18080"]);
    browser.wait_for_text(".service .badge", "up");
    browser.wait_for_value("return window.isSamePage", &serde_json::json!(true));
}

#[test]
fn a_phone_gets_the_same_page() {
    let container = RunOptions::new().start_and_wait();
    let browser = Browser::start(390, 780);
    browser.open(&format!("http://{}/login", container.address(1111)));
    browser.wait_for_text("button", "Log in");
    browser.screenshot(&picture("login-phone"));
}

/// Problems that the portal reports to a client that may see them, each as `SOURCE: MESSAGE; REMEDY`.
pub fn problems(web: &HttpClient) -> Vec<String> {
    let text = web.get("/leonardo/state.json").ok_text().expect("the portal's state");
    let state: Value = serde_json::from_str(&text).expect("JSON");
    let line = |problem: &Value| {
        let part = |name: &str, before: &str| {
            problem[name].as_str().map(|text| format!("{before}{text}")).unwrap_or_default()
        };
        part("source", "") + &part("message", ": ") + &part("remedy", "; ")
    };
    state["problems"].as_array().expect("a list").iter().map(line).collect()
}

/// Registers a service as an extended image would.
pub fn register(container: &harness::Container, name: &str, listen: u16, proxy: u16, secure: &str) {
    let text = format!(
        r#"{{"service_name":"{name}","listen_port":{listen},"proxy_port":{proxy},"proxy_secure":{secure}}}"#
    );
    container.write(&format!("/run/http_ports/{proxy}"), &text);
}

#[test]
fn a_service_that_is_still_starting_has_a_page_until_it_is_there() {
    let container = RunOptions::new().env("WEB_PASSWORD", "right").publish(8080).start_and_wait();
    container
        .write("/var/log/supervisor/slow-starter.log", "loading the model\n\u{1b}[31m40 %\u{1b}[0m <b>\n");
    register(&container, "Slow Starter", 18080, 8080, "true");
    container.wait_for(8080);
    let browser = Browser::start(900, 600);
    browser.open(&format!("http://{}/?x=1", container.address(8080)));
    browser.type_into("[name=username]", "user");
    browser.type_into("[name=password]", "right");
    browser.click("button");
    browser.wait_for_text("h1", "Slow Starter is not responding yet");
    browser.wait_for_partial_text(".log", "loading the model\n40 % <b>");
    // From inside, ports have their own numbers, so the address of the portal is known.
    let ask = "curl -s -H 'Accept: text/html' -H \"Authorization: Bearer $WEB_TOKEN\" http://127.0.0.1:8080/";
    let page = container.exec(&["bash", "-lc", ask]).text();
    assert!(page.contains("href=\"http://127.0.0.1:1111/leonardo/logs?s=slow-starter\""), "{page}");
    browser.screenshot(&picture("starting"));
    container.background(&["python3", "-m", "http.server", "--bind", "127.0.0.1", "18080"]);
    container
        .wait_until("the page to come by itself", || browser.text("h1").starts_with("Directory listing"));
}

/// A program that takes every process that the container may have, also those of others that end.
const HOG: &str = "\
import os, time
while True:
    try:
        os.fork() or time.sleep(1000)
    except OSError:
        time.sleep(0.02)
";

#[test]
fn a_container_at_its_limit_of_processes_has_its_pages_and_the_way_out() {
    let container =
        RunOptions::new().env("WEB_PASSWORD", "right").option("--pids-limit=300").start_and_wait();
    container.wait_until_ready();
    container.sh("echo a known line > /var/log/supervisor/known.log").text();
    let web = container.web(1111);
    let session = web.with("cookie", &web.log_in("user", "right").cookie());
    let pids = || container.exec(&["supervisorctl", "pid", "serviceportal", "caddy"]).text();
    let before = pids();
    let threads = || container.sh("ls /proc/$(pgrep -x caddy)/task").text().lines().count();
    container.wait_until("Caddy's threads", || threads() > 16);
    container.write("/opt/hog.py", HOG);
    let program = "[program:hog]\nstopasgroup=true\ncommand=python3 /opt/hog.py\n";
    container.write("/etc/supervisor/conf.d/hog.conf", program);
    container.sh("supervisorctl update");
    // A program that the engine starts may be above the limit; what that one starts is not.
    container.wait_until("the limit", || container.exec(&["dash", "-c", "(true); true"]).code != Some(0));
    for (path, part) in [
        ("/leonardo/login", "Log in"),
        ("/leonardo/", "<h1>Services"),
        ("/leonardo/logs?s=known&plain=1", "a known line"),
        ("/leonardo/metrics", "leonardo_processes_limit 300"),
        ("/leonardo/processes", "data-name=\"hog\""),
    ] {
        let client = if path.ends_with("login") { &web } else { &session };
        let page = client.browser().get(path);
        assert!(page.status == 200 && page.body.contains(part), "{path}: {page:?}");
    }
    let act =
        session.with("origin", &format!("http://{}", web.address())).with("content-type", "application/json");
    let stop = r#"{"name":"hog","action":"stop","confirmed":true}"#;
    let stopped = act.send("POST", "/leonardo/processes/act", stop);
    assert!(stopped.body.contains("hog is stopped"), "{stopped:?}");
    assert_eq!(pids(), before, "neither was started again");
}

//! The portal as a user works with it all day, in a real browser.

use harness::{Browser, Device, RunOptions};
use serde_json::json;
use showcase::{PASSWORD, Showcase, USER};

const LOG: &str = "/var/log/supervisor/notebook.log";

/// A showcase and a browser whose user is logged in.
fn at_work() -> (Showcase, Browser) {
    let showcase = Showcase::start(RunOptions::new());
    let browser = Browser::observed();
    showcase.log_in(&browser);
    (showcase, browser)
}

/// Fails if a page has asked any other server than this container, or if the browser complains.
#[track_caller]
fn assert_quiet(showcase: &Showcase, browser: &Browser) {
    let origin = showcase.origin(0);
    let host = origin.trim_start_matches("http").trim_end_matches('0');
    for request in browser.requests() {
        let is_ours = ["http", "ws"].iter().any(|scheme| request.url.starts_with(&format!("{scheme}{host}")));
        assert!(is_ours, "{request:?}");
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Text of a program's process number, which the page keeps up to date.
fn pid_of(browser: &Browser, program: &str) -> String {
    let script = format!("return document.querySelector(\"[data-name='{program}']\")?.dataset.pid ?? ''");
    browser.run(&script).as_str().expect("a text").to_owned()
}

#[test]
fn a_user_follows_a_link_watches_a_line_arrive_and_restarts_a_process() {
    let (showcase, browser) = at_work();
    browser.click("#service-8888 a[href]");
    browser.wait_for_text("h1", "Notebook");

    let logs = showcase.origin(1111) + "/leonardo/logs?s=notebook";
    browser.open(&logs);
    browser.wait_for_partial_text("#rows", "Kernel restarted");
    showcase.web(8888).get("/just-now");
    browser.wait_for_partial_text("#rows", "GET /just-now");

    browser.open(&(showcase.origin(1111) + "/leonardo/processes"));
    let before = pid_of(&browser, "notebook");
    browser.click("[data-name='notebook'] [value='restart']");
    showcase.container.wait_until("another pid", || {
        let now = pid_of(&browser, "notebook");
        now != before && now.parse::<u32>().is_ok()
    });
    let now = showcase.container.exec(&["supervisorctl", "pid", "notebook"]).text();
    assert_eq!(pid_of(&browser, "notebook"), now, "the page shows what supervisord has");
    assert_quiet(&showcase, &browser);
}

#[test]
fn login_links_logs_and_restarts_work_without_javascript() {
    let showcase = Showcase::start(RunOptions::new());
    let browser = Browser::observed();
    browser.allow_scripts(false);
    showcase.log_in(&browser);
    browser.click("#service-8888 a[href]");
    browser.wait_for_text("h1", "Notebook");

    showcase.container.sh(&format!("for number in $(seq 600); do echo line $number; done >> {LOG}")).text();
    browser.open(&(showcase.origin(1111) + "/leonardo/logs?s=notebook"));
    let lines = "return document.querySelectorAll('#rows .line').length";
    browser.wait_for_value(lines, &json!(500));
    assert!(browser.text("#rows").contains("line 101\n"), "the last 500 lines");
    assert!(browser.text("#rows .line:last-of-type").contains("line 600"));

    browser.open(&(showcase.origin(1111) + "/leonardo/processes"));
    let before = pid_of(&browser, "notebook");
    browser.click("[data-name='notebook'] [value='restart']");
    showcase.container.wait_until("another pid", || {
        browser.open(&(showcase.origin(1111) + "/leonardo/processes"));
        let now = pid_of(&browser, "notebook");
        now != before && now.parse::<u32>().is_ok()
    });
    browser.emulate(Device::SMALL_PHONE);
    assert_eq!(browser.sideways_overflow(), 0);
    assert_quiet(&showcase, &browser);
}

#[test]
fn a_keyboard_is_enough() {
    let (showcase, browser) = at_work();
    browser.press("Control+k");
    browser.text("dialog[open] input");
    browser.type_text("proc");
    browser.press("Enter");
    browser.wait_for_text("h1", "Processes");
    for (key, heading) in [("s", "Services"), ("l", "Logs"), ("b", "Boot"), ("y", "System"), ("a", "Access")]
    {
        browser.press("g");
        browser.press(key);
        browser.wait_for_text("h1", heading);
    }
    browser.press("?");
    browser.wait_for_partial_text("dialog[open]", "Ctrl");
    browser.press("Escape");
    browser.wait_for_value("return document.querySelector('dialog[open]')", &json!(null));
    // The first key leads past the navigation.
    browser.press("Tab");
    browser.press("Enter");
    browser.wait_for_value("return document.activeElement.id", &json!("main"));
    assert_quiet(&showcase, &browser);
}

#[test]
fn an_open_page_says_what_is_wrong_and_recovers() {
    let (showcase, browser) = at_work();
    let portal = showcase.origin(1111);
    let first = browser.run("return document.title");
    browser.open(&(portal.clone() + "/leonardo/logs?s=notebook"));
    let second = browser.run("return document.title");
    assert_ne!(first, second, "tabs differ");
    assert!(second.as_str().expect("a title").contains("workstation"), "{second}");

    // Offline: what was read stays, and the page says that it is out of date.
    browser.wait_for_partial_text("#rows", "Kernel restarted");
    browser.allow_network(false);
    browser.wait_for_text("#status", "The portal is not responding");
    assert!(browser.text("#rows").contains("Kernel restarted"));
    browser.allow_network(true);
    browser.wait_for_partial_text("#status", "problem");
    // A portal that restarts: the page goes on by itself.
    showcase.container.exec(&["supervisorctl", "restart", "serviceportal"]).text();
    showcase.container.sh(&format!("echo after the restart >> {LOG}")).text();
    browser.wait_for_partial_text("#rows", "after the restart");
    // Both made the browser complain about requests without an answer.
    browser.complaints();

    // A session that ends elsewhere ends here.
    let cookie = showcase.web(1111).log_in(USER, PASSWORD).cookie();
    let elsewhere = harness::HttpClient::new(portal.trim_start_matches("http://").to_owned());
    let ended =
        elsewhere.with("origin", &portal).with("cookie", &cookie).post_form("/leonardo/access/end-all", &[]);
    assert_eq!(ended.status, 303, "{ended:?}");
    browser.wait_for_text("h1", "Log in");
}

#[test]
fn fifty_tabs_show_a_line_that_arrives() {
    let (showcase, browser) = at_work();
    let url = showcase.origin(1111) + "/leonardo/logs?s=notebook";
    for _ in 0..50 {
        browser.new_tab();
        browser.open(&url);
    }
    showcase.container.sh(&format!("echo for all tabs >> {LOG}")).text();
    let windows = browser.windows();
    assert_eq!(windows.len(), 51);
    for window in windows.iter().rev().take(5) {
        browser.switch(window);
        browser.wait_for_partial_text("#rows", "for all tabs");
    }
    let health = showcase.web(1111).get("/leonardo/health-check");
    assert_eq!(health.ok_text().as_deref(), Some("ok\n"));
}

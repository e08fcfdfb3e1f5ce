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
    browser.wait_for_partial_text(".gauges", " · /workspace");
    browser.click("#service-8888 a[href]");
    browser.wait_for_text("h1", "Notebook");

    let logs = showcase.origin(1111) + "/leonardo/logs?s=notebook";
    browser.open(&logs);
    browser.wait_for_partial_text("#rows", "Kernel restarted");
    showcase.web(8888).get("/just-now");
    browser.wait_for_partial_text("#rows", "GET /just-now");

    browser.open(&(showcase.origin(1111) + "/leonardo/processes"));
    let before = pid_of(&browser, "notebook");
    let focused =
        "const at = document.activeElement; return at.closest('dialog, tr')?.nodeName + at.textContent";
    browser.click("[data-name='notebook'] [value='restart']");
    browser.wait_for_value(focused, &json!("DIALOGCancel"));
    browser.click("dialog[open] [value='restart']");
    browser.wait_for_partial_text(".action-result.good", "notebook is running with pid");
    browser.wait_for_value(focused, &json!("TRRestart notebook"));
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
    let lines = "return document.querySelectorAll('.lines .line').length";
    browser.wait_for_value(lines, &json!(500));
    let at_end = "const list = document.querySelector('.lines'); \
                  return list.scrollTop > 0 && list.scrollHeight - list.scrollTop - list.clientHeight < 9";
    browser.wait_for_value(at_end, &json!(true));
    assert!(browser.text(".lines").contains("line 101\n"), "the last 500 lines");
    assert!(browser.text(".lines .line:last-of-type").contains("line 600"));

    browser.open(&(showcase.origin(1111) + "/leonardo/processes"));
    let before = pid_of(&browser, "notebook");
    browser.click("[data-name='notebook'] [value='restart']");
    browser.click(".sheet [value='restart']");
    browser.wait_for_partial_text(".action-result.good", "notebook is running with pid");
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
    // Keys without Ctrl can be turned off, for those whose words are keys.
    browser.press("?");
    browser.click("dialog[open] [type=checkbox]");
    browser.press("Escape");
    browser.press("?");
    browser.press("Control+k");
    browser.wait_for_value("return document.querySelector('dialog[open]').className", &json!("palette"));
    browser.press("Escape");
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
    assert!(second.as_str().expect("a title").starts_with("(1) "), "{second}");
    assert!(second.as_str().expect("a title").contains("workstation"), "{second}");
    browser.click("#status a");
    browser.wait_for_partial_text("#problems li", "Training (trainer) the program is down");
    browser.wait_for_partial_text("#problems li .buttons", "Start");

    // Offline: what was read stays, and the page says that it is out of date.
    browser.wait_for_partial_text("#rows", "Kernel restarted");
    browser.allow_network(false);
    browser.wait_for_text("#status", "Portal not responding");
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

/// Line of a log that logtail has not read, so that its own time counts: one a second from midnight on the 2nd of January, UTC.
fn step(number: u32) -> String {
    let level = match number {
        1_234 | 39_000 => "ERROR",
        25_000 => "WARNING",
        _ => "INFO",
    };
    let [hour, minute, second] = [number / 3_600, number / 60 % 60, number % 60];
    format!("2026-01-02T{hour:02}:{minute:02}:{second:02}Z {level} step {number}\n")
}

const TEXTS: &str =
    "return [...document.querySelectorAll('#rows .line .text')].map(line => line.textContent)";

#[test]
fn a_user_filters_searches_history_and_jumps_to_a_time() {
    let files = tempfile::tempdir().expect("a directory");
    let run = ["history.log.2", "history.log.1", "history.log"].into_iter();
    let run = run.zip([0..20_000, 20_000..40_000, 40_000..40_001]);
    let run = run.fold(RunOptions::new(), |run, (name, numbers)| {
        let path = files.path().join(name);
        std::fs::write(&path, numbers.map(step).collect::<String>()).expect("a file");
        run.mount(&path, &format!("/var/log/supervisor/{name}"), "ro")
    });
    let showcase = Showcase::start(run);
    let browser = Browser::observed();
    showcase.log_in(&browser);
    // The page has the times of the user's zone, nine hours ahead.
    browser.devtools("Emulation.setTimezoneOverride", &json!({"timezoneId": "Asia/Tokyo"}));
    browser.open(&(showcase.origin(1111) + "/leonardo/logs?s=history"));
    browser.wait_for_partial_text("#rows", "step 40000");
    let set = |field: &str, value: &str| {
        let find = format!("const field = document.getElementById('{field}'); field.value = '{value}'");
        browser.run(&format!("{find}; field.dispatchEvent(new Event('change', {{bubbles: true}}))"));
    };

    set("level", "warning");
    let important = [
        "2026-01-02T00:20:34Z ERROR step 1234",
        "2026-01-02T06:56:40Z WARNING step 25000",
        "2026-01-02T10:50:00Z ERROR step 39000",
    ];
    browser.wait_for_value(TEXTS, &json!(important));
    set("level", "error");
    browser.wait_for_value(TEXTS, &json!([important[0], important[2]]));
    browser.type_into("#q", "step (12|390)..$");
    browser.wait_for_value(TEXTS, &json!([important[0], important[2]]));
    set("level", "");
    browser.wait_for_value("return document.querySelectorAll('#rows .line').length", &json!(200));
    browser.type_into("#q", "step (1|3)1235");
    let found = ["2026-01-02T03:07:15Z INFO step 11235", "2026-01-02T08:40:35Z INFO step 31235"];
    browser.wait_for_value(TEXTS, &json!(found));
    browser.type_into("#q", "(");
    browser.wait_for_partial_text("#filter-error", "unclosed group");
    // About the status of the refusal.
    browser.complaints();

    // A found line among its neighbours, then a time.
    browser.type_into("#q", "step 11235");
    browser.wait_for_value(TEXTS, &json!([found[0]]));
    browser.click("#rows .line .at");
    browser.click("#around");
    let marked = "const row = document.querySelector('#rows .line.selected'); \
                  const [a, b] = [row, row?.parentElement].map(e => e?.getBoundingClientRect()); \
                  return [row?.previousSibling?.innerText, row?.innerText, row?.nextSibling?.innerText, \
                          a?.top >= b?.top && a?.bottom <= b?.bottom].map(x => `${x}`.split(' ').at(-1))";
    browser.wait_for_value(marked, &json!(["11234", "11235", "11236", "true"]));
    browser.click(".times summary");
    set("time", "2026-01-02T10:00:00");
    browser.click("#jump");
    browser.wait_for_value(marked, &json!(["3599", "3600", "3601", "true"]));
    browser.click(".times summary");
    set("since", "2026-01-02T14:33:18");
    set("until", "2026-01-02T14:33:21");
    browser.click(".times .row:last-of-type button");
    let of_two_files = [
        "2026-01-02T05:33:18Z INFO step 19998",
        "2026-01-02T05:33:19Z INFO step 19999",
        "2026-01-02T05:33:20Z INFO step 20000",
    ];
    browser.wait_for_value(TEXTS, &json!(of_two_files));
    assert_quiet(&showcase, &browser);
}

#[test]
fn the_page_of_a_failed_service_keeps_its_place_and_continues_once_the_service_responds() {
    let (showcase, browser) = at_work();
    browser.open(&(showcase.origin(6006) + "/"));
    browser.wait_for_partial_text("h1", "Training failed");
    assert_eq!(browser.text(".toolbar"), "Start Training\nLog\nAll services");
    let requested =
        "return performance.getEntriesByType('resource').some((entry) => entry.initiatorType === 'fetch')";
    browser.run("document.querySelector('pre').focus()");
    browser.wait_for_value(requested, &json!(true));
    assert_eq!(browser.run("return document.activeElement.localName"), json!("pre"));
    let serve = "port=$(python3 -c 'import json; print(json.load(open(\"/run/http_ports/6006\"))[\"listen_port\"])')
                 setsid -f python3 -m http.server $port --bind 127.0.0.1 --directory /opt/showcase >/dev/null 2>&1";
    showcase.container.sh(serve).text();
    browser.wait_for_partial_text("h1", "Directory listing");
}

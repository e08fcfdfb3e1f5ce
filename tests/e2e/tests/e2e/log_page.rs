//! The log page with bad input: hostile lines, logs that shrink or vanish, visitors who read nothing, very many tabs.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::{Browser, Container, HttpClient, RunOptions};
use serde_json::{Value, json};

const PASSWORD: &str = "right";
const TEXTS: &str =
    "return [...document.querySelectorAll('#rows .line .text')].map(line => line.textContent)";

fn start() -> Container {
    RunOptions::new().env("WEB_PASSWORD", PASSWORD).start_and_wait()
}

fn log(name: &str) -> String {
    format!("/var/log/supervisor/{name}.log")
}

const HTML: &str = "<img src=x onerror=\"window.attacked=1\"><script>attacked=1</script>&amp;";

/// Opens the page of a log, logged in.
fn open(container: &Container, name: &str) -> Browser {
    let origin = format!("http://{}", container.address(1111));
    let browser = Browser::start(1000, 700);
    browser.open(&origin);
    browser.type_into("[name=username]", "user");
    browser.type_into("[name=password]", PASSWORD);
    browser.click("button");
    browser.wait_for_text("h1", "Services");
    browser.open(&format!("{origin}/leonardo/logs?s={name}"));
    browser.wait_for_partial_text("#stream-state", "Live");
    browser
}

/// Client of a visitor who is logged in.
fn visitor(container: &Container) -> HttpClient {
    let web = container.web(1111);
    let origin = format!("http://{}", web.address());
    let cookie = web.log_in("user", PASSWORD).cookie();
    web.with("cookie", &cookie).with("origin", &origin)
}

/// A live view over a streamed response.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(container: &Container, service: &str) -> Self {
        let web = container.web(1111);
        let cookie = web.log_in("user", PASSWORD).cookie();
        Self::of_session(container, service, &cookie)
    }

    fn of_session(container: &Container, service: &str, cookie: &str) -> Self {
        let address = container.address(1111);
        let mut connection = TcpStream::connect(&address).expect("a connection");
        connection.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let body = json!({"services": [service]}).to_string();
        // The older version has no chunks, within which lines would end.
        let head = format!(
            "POST /leonardo/logs/stream HTTP/1.0\r\nHost: {address}\r\nOrigin: http://{address}\r\nCookie: {cookie}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all((head + &body).as_bytes()).expect("a request");
        Self(BufReader::new(connection))
    }

    /// The next message; `None` at the end. Lines of the response's head are no objects.
    fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.starts_with('{') {
                return serde_json::from_str(&line).ok();
            }
        }
    }

    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        while let Some(message) = self.next() {
            if message.to_string().contains(text) {
                return;
            }
        }
        panic!("the stream ended without {text:?}");
    }
}

#[test]
fn hostile_lines_are_text_and_the_page_stays_up() {
    let container = start();
    // As printf takes them, and the rows that they become.
    let lines: [(&str, &[&str]); 9] = [
        (HTML, &[HTML]),
        // What a program clears stays visible, and the cursor where it was.
        (
            r"\033[31mred\033[0m \033]0;title\007\033[2Jend\033[?1049h\033]52;c;aGk=\033\\",
            &["red", "", "end"],
        ),
        (r"nul \000 bell \007 latin1 caf\351 \377\376", &[r"nul ␀ bell ␇ latin1 caf\xe9 \xff\xfe"]),
        (r"abc\342\200\256fed", &[r"abc\u{202e}fed"]),
        (
            r"\033]8;;javascript:alert(1)\033\\click\033]8;;\033\\ javascript:alert(2)",
            &["click javascript:alert(2)"],
        ),
        (r"\033]0;never ends", &["␛]0;never ends"]),
        // As at the right margin of a terminal.
        (r"\033[999999999Cfar", &["f", "ar"]),
        (r"10 %%\r20 %%\r100 %% \0337\033[2147483647A\0338", &["100 %"]),
        ("last", &["last"]),
    ];
    let bytes: String = lines.iter().map(|(line, _)| format!("{line}\\n")).collect();
    let path = log("hostile");
    let write = |bytes: &str| container.sh(&format!("printf '{bytes}' >> {path}")).text();
    write(&bytes);
    let expected: Vec<&str> = lines.iter().flat_map(|(_, rows)| *rows).copied().collect();

    let browser = open(&container, "hostile");
    let title = browser.run("return document.title");
    let assert_harmless = |rows: &str| {
        let shown: Vec<String> = serde_json::from_value(browser.run(TEXTS)).expect("texts");
        assert_eq!(shown.iter().map(|text| text.trim()).collect::<Vec<_>>(), expected, "{rows}");
        assert!(shown.iter().all(|text| text.len() < 17_000), "{rows}");
        let harm = "return [window.attacked, document.title, \
                    document.querySelectorAll('#rows img, #rows script, #rows a[href^=javascript]').length]";
        assert_eq!(browser.run(harm), json!([null, title, 0]), "{rows}");
    };
    assert_harmless("history");
    // The same, live.
    container.sh(&format!(": > {path}")).text();
    browser.wait_for_partial_text("#rows", "truncated");
    browser.run("document.getElementById('rows').replaceChildren()");
    write(&bytes);
    let last = "return [...document.querySelectorAll('#rows .line .text')].at(-1)?.textContent";
    browser.wait_for_value(last, &json!("last"));
    assert_harmless("live");

    // Ten megabytes without a newline, and then a line.
    container
        .sh(&format!("head -c 10000000 /dev/zero | tr '\\0' x >> {path}; printf '\\nafter it\\n' >> {path}"))
        .text();
    browser.wait_for_partial_text("#rows", "after it");
    browser.wait_for_partial_text("#skipped", "skipped");
    assert_eq!(
        browser.run("return document.querySelector('#rows').textContent.length < 2000000"),
        json!(true)
    );
    let page = visitor(&container).get("/leonardo/logs?plain=1&s=hostile");
    assert!(page.status == 200 && page.body.contains("after it") && page.body.len() < 4_000_000);
}

#[test]
fn a_log_may_shrink_rotate_and_vanish_while_it_is_viewed() {
    let container = start();
    let path = log("moving");
    let sh = |script: &str| container.sh(&script.replace("LOG", &path)).text();
    sh("echo first line > LOG");
    let browser = open(&container, "moving");
    browser.wait_for_partial_text("#rows", "first line");
    sh("echo shorter > LOG");
    browser.wait_for_partial_text("#rows", "was truncated");
    browser.wait_for_partial_text("#rows", "shorter");
    sh("echo before rotation >> LOG; mv LOG LOG.1; echo after rotation > LOG");
    browser.wait_for_partial_text("#rows", "before rotation");
    browser.wait_for_partial_text("#rows", "after rotation");
    sh("rm LOG LOG.1");
    browser.wait_for_partial_text("#rows", "was removed");
    sh("echo once more > LOG");
    browser.wait_for_partial_text("#rows", "once more");
    assert!(browser.text("#rows").contains("first line"), "what was shown stays");
    assert!(browser.text("#stream-state").starts_with("Live"));
}

#[test]
fn a_view_that_was_paused_or_hidden_continues_after_its_last_line() {
    let container = start();
    let path = log("numbers");
    let mut count = 0;
    let mut write = |lines: u32| {
        container.sh(&format!("seq -f 'line %04g.' {} {} >> {path}", count + 1, count + lines)).text();
        count += lines;
        format!("line {count:04}.")
    };
    write(10);
    let browser = open(&container, "numbers");
    // More than the list holds, in parts that a browser shows completely.
    for _ in 0..9 {
        browser.wait_for_partial_text("#rows", &write(150));
    }
    let pause = "document.getElementById('pause').click()";
    // A tab in the background for longer than it reads on; `ended` is true once it has closed its stream.
    let hide = "const timeout = window.setTimeout, abort = AbortController.prototype.abort; \
                window.setTimeout = (run, ms, ...more) => timeout(run, ms === 10000 ? 0 : ms, ...more); \
                AbortController.prototype.abort = function () { window.ended = true; abort.call(this); }; \
                window.hide = (hidden) => { \
                  Object.defineProperty(document, 'hidden', {value: hidden, configurable: true}); \
                  document.dispatchEvent(new Event('visibilitychange')); }; \
                hide(true)";
    let is_paused = "return document.getElementById('stream-state').textContent === 'Paused'";
    for (leave, is_away, back) in
        [(pause, is_paused, pause), (hide, "return window.ended ?? false", "hide(false)")]
    {
        browser.run(leave);
        browser.wait_for_value(is_away, &json!(true));
        let last = write(5);
        browser.run(back);
        browser.wait_for_partial_text("#rows", &last);
    }
    let shown: Vec<String> = serde_json::from_value(browser.run(TEXTS)).expect("texts");
    let first = count as usize - shown.len() + 1;
    let expected: Vec<String> = (first..=count as usize).map(|line| format!("line {line:04}.")).collect();
    assert_eq!(shown, expected);
    assert_eq!(browser.run("return document.querySelectorAll('#rows .gap').length"), json!(0));
}

#[test]
fn what_a_reader_looks_for_is_visible() {
    let container = start();
    container.sh(&format!("seq -f 'step %g' 200 > {0}; echo ERROR the end >> {0}", log("steps"))).text();
    let browser = open(&container, "steps");
    let letter =
        "return getComputedStyle(document.querySelector('#rows .level-error'), '::before').content[1]";
    assert_eq!(browser.run(letter), json!("E"), "a level is not only a colour");
    browser.press("p");
    browser.wait_for_text("#announcements", "error ERROR the end");
    browser.run("document.getElementById('skipped').textContent = 'a message above the list'");
    let hidden = "const {scrollHeight, scrollTop, clientHeight} = document.getElementById('rows'); \
                  return scrollHeight - scrollTop - clientHeight";
    browser.wait_for_value(hidden, &json!(0));
    // An answer that takes longer than a frame, and a time behind the last line.
    browser.run(
        "const send = window.fetch, frame = () => new Promise(requestAnimationFrame); \
         window.fetch = async (...request) => { await frame(); await frame(); return send(...request); }; \
         document.querySelector('a.all').click()",
    );
    browser.wait_for_text("#stream-state", "Live");
    browser.wait_for_value(hidden, &json!(0));
    let page = format!("http://{}/leonardo/logs?s=steps", container.address(1111));
    browser.open(&format!("{page}&time=2100-01-01T00:00:00Z"));
    browser.wait_for_text("#stream-state", "Live");
    browser.wait_for_value(hidden, &json!(0));

    browser.type_into("#q", "the e[a-z]+|ERR");
    let hits = "return [...CSS.highlights.get('hit')].map(({startContainer: {data}, startOffset, endOffset}) => \
                data.slice(startOffset, endOffset))";
    browser.wait_for_value(hits, &json!(["ERR", "the end"]));
    let is_open = "return document.querySelector('.times').open";
    for close in ["document.getElementById('rows').click()", ""] {
        browser.click(".times summary");
        assert_eq!(browser.run(is_open), json!(true));
        if close.is_empty() {
            browser.press("Escape")
        } else {
            browser.run(close);
        }
        assert_eq!(browser.run(is_open), json!(false));
    }
    // A year that browsers take and dates do not have.
    browser.run("const since = document.getElementById('since'); since.type = 'text'; since.value = '12026-01-01T00:00'");
    browser.type_into("#q", "step 19.");
    browser.wait_for_value("return document.querySelectorAll('#rows .line').length", &json!(10));
}

#[test]
fn a_view_without_sockets_is_streamed_or_polled() {
    let container = start();
    container.sh(&format!("echo first > {}", log("lines"))).text();
    let browser = open(&container, "lines");
    // As in a network without them, and a browser of 2022.
    let no_sockets = "delete AbortSignal.any; delete URL.canParse; \
                      window.WebSocket = class { constructor() { setTimeout(() => this.onclose()); } close() {} };";
    // As behind a proxy that holds answers back.
    let held_back = "const send = window.fetch; window.fetch = (url, options) => \
                     !String(url).endsWith('/stream') ? send(url, options) : new Promise((_, fail) => \
                       options.signal.addEventListener('abort', () => fail(new Error('aborted'))));";
    let source = format!("{no_sockets} {held_back}");
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({"source": source}));
    let pause = "document.getElementById('pause').click();";
    for (change, state) in [
        (&*format!("{no_sockets} {pause} {pause}"), "Live (streamed)"),
        ("sessionStorage.clear(); location.reload()", "Live (polled)"),
    ] {
        browser.run(change);
        browser.wait_for_text("#stream-state", state);
        container.sh(&format!("echo '{state}' >> {}", log("lines"))).text();
        browser.wait_for_partial_text("#rows", state);
    }
}

#[test]
fn a_search_that_took_too_long_goes_on() {
    let container = start();
    container.sh(&format!("seq -f 'needle %g' 3 > {}", log("haystack"))).text();
    let browser = open(&container, "haystack");
    // As if the time were over before anything was found.
    browser.run(
        "const send = window.fetch; \
         window.fetch = async (url, options) => { \
           const response = await send(url, options); \
           if (!url.endsWith('/search')) return response; \
           const lines = (await response.text()).trim().split('\\n'); \
           const done = lines.map((line) => JSON.parse(line)).find(({type}) => type === 'done'); \
           return new Response(JSON.stringify({...done, from: done.to, at_start: false}) + '\\n'); }",
    );
    let search = |filter: &str| {
        let field = "const field = document.getElementById('q')";
        browser.run(&format!("{field}; field.value = '{filter}'; field.form.requestSubmit()"));
    };
    search("needle 2");
    browser.wait_for_value(TEXTS, &json!(["needle 2"]));
    browser.wait_for_text("#stream-state", "Live");
    search("nothing");
    browser.wait_for_text("#rows", "No line matches.");
}

#[test]
fn a_visitor_who_reads_nothing_costs_nothing_and_hinders_nobody() {
    let container = start();
    let path = log("flood");
    container.sh(&format!("echo begin > {path}")).text();
    let memory = || -> u64 {
        let script = "cat /proc/$(supervisorctl pid serviceportal)/status";
        let status = container.sh(script).text();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("the portal's memory");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    };
    let mut reader = Stream::open(&container, "flood");
    reader.wait_for("cursor");
    let idle: Vec<Stream> = (0..10).map(|_| Stream::open(&container, "flood")).collect();
    let before = memory();
    for _ in 0..10 {
        container.sh(&format!("yes \"$(printf '%0200d' 7)\" | head -c 20000000 >> {path}")).text();
    }
    container.sh(&format!("echo the end >> {path}")).text();
    reader.wait_for("the end");
    let grown = memory().saturating_sub(before);
    assert!(grown < 30_000, "200 MB of lines took {grown} kB of the portal");
    let health = container.web(1111).get("/leonardo/health-check");
    assert_eq!(health.status, 200);
    drop(idle);
}

#[test]
fn fifty_tabs_see_a_line_and_lose_their_connection_with_the_session() {
    let container = start();
    let path = log("tabs");
    container.sh(&format!("echo begin > {path}")).text();
    let browser = open(&container, "tabs");
    browser.run(
        "window.tabs = Array.from({length: 50}, () => { \
           const tab = {text: '', isOpen: true}; \
           const socket = new WebSocket(`ws://${location.host}/leonardo/logs/socket`); \
           socket.onopen = () => socket.send(JSON.stringify({services: ['tabs']})); \
           socket.onmessage = ({data}) => tab.text += data; \
           socket.onclose = () => tab.isOpen = false; \
           return tab; })",
    );
    browser.wait_for_value("return tabs.filter(tab => tab.text.includes('cursor')).length", &json!(50));
    container.sh(&format!("echo a line for everybody >> {path}")).text();
    browser.wait_for_value("return tabs.filter(tab => tab.text.includes('everybody')).length", &json!(50));
    browser.wait_for_partial_text("#rows", "a line for everybody");
    assert_eq!(container.web(1111).get("/leonardo/health-check").status, 200);

    // Beyond the limit, a view is refused in words.
    let cookie = container.web(1111).log_in("user", PASSWORD).cookie();
    let mut more: Vec<Stream> = (0..14).map(|_| Stream::of_session(&container, "tabs", &cookie)).collect();
    let refused =
        more.iter_mut().filter_map(Stream::next).filter(|message| message["type"] == "error").count();
    assert!((1..14).contains(&refused), "{refused} of 14 were refused");
    let mut view = Stream::of_session(&container, "tabs", "");
    let refusal = view.next().expect("an answer");
    assert_eq!(refusal["error"], "unauthorized", "nobody without a session gets a view");
    drop(more);

    // All sessions end, and with them every connection.
    let mut view = Stream::of_session(&container, "tabs", &cookie);
    assert!(view.next().is_some());
    container.sh("set-web-credentials user other").text();
    browser.wait_for_text("h1", "Log in");
    while view.next().is_some_and(|message| message["type"] != "end") {}
    assert_eq!(view.next(), None);
}

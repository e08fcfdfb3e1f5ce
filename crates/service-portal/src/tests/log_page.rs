//! The log page: access, the page without JavaScript, history, search, download, and polled live messages.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use serde_json::{Value, json};

use super::logs::{LogPortal, SCRIPT, all_texts, texts};

const ACCESS: &str = "
    portal page /leonardo/logs                          => 302 to /leonardo/login?next=/leonardo/logs
    portal program /leonardo/logs                       => 401 Bearer+Basic
    portal page guest /leonardo/logs                    => 302 to /leonardo/login?next=/leonardo/logs
    page session /leonardo/logs                         => 403 Open this page on the portal's own port.
    portal fetch-site session /leonardo/logs            => 403
    portal page /leonardo/logs/download?s=a             => 302 to /leonardo/login?next=/leonardo/logs/download%3Fs%3Da
    page session /leonardo/logs/download?s=a            => 403 Open this page on the portal's own port.
    portal page session /leonardo/logs/download?s=none  => 404 There is no log &#34;none&#34;.
    portal page session /leonardo/logs/download?s=../../etc/passwd => 404 &#34;../../etc/passwd&#34; is not the name of a log.
";

#[test]
fn logs_are_for_the_owner_on_the_portals_own_port() {
    let portal = LogPortal::new();
    portal.append("a.log", "line\n");
    let redirected =
        ACCESS.replace("?next=/leonardo/logs/download%3Fs%3Da", "").replace("?next=/leonardo/logs", "");
    portal.0.check_pages(&redirected);
    for path in ["history", "search", "poll", "stream"] {
        let ask = |words: &str| {
            let words = format!("{words} content-type=application/json POST /leonardo/logs/{path}");
            portal.0.send(&words, "{\"services\":[\"none\"],\"filter\":\"(\"}").status
        };
        assert_eq!(ask("portal own"), 401, "{path}");
        assert_eq!(ask("own session"), 403, "{path}: another port");
        for page in ["portal port session", "portal site session", "portal session"] {
            assert_eq!(ask(page), 403, "{path}: {page}");
        }
        let with_token = ask("portal bearer");
        assert!(with_token == 200 || with_token == 400, "{path}: {with_token}");
        assert!(ask("portal own session") == with_token, "{path}");
    }
}

#[test]
fn the_last_lines_are_on_the_page_as_text() {
    let portal = LogPortal::new();
    let lines: Vec<String> = (0..1_000).map(|number| format!("INFO line {number}\n")).collect();
    portal.append("app.log", lines.concat());
    portal.append("app.log", "ERROR <script>alert(1)</script>\n\u{1b}[31mred\u{1b}[0m \"quoted\" \u{202e}\n");
    portal.append("app.log", b"nul \0 bad \xff\n10%\r20%");
    let with_script = portal.0.send("portal page session /leonardo/logs?s=app&q=a%22b&at=app:1-2.3", "").body;
    let plain = "content=\"0;url=/leonardo/logs?s=app&#38;q=a%22b&#38;at=app%3A1-2.3&#38;plain=1#shown\"";
    assert!(with_script.contains(plain) && !with_script.contains("class=\"at\""), "{with_script}");
    let page = portal.0.send("portal page session /leonardo/logs?plain=1&s=app", "");
    assert!(page.status == 200 && !page.body.contains("http-equiv") && !page.body.contains("logs.js"));
    assert_eq!(page.body.matches("class=\"at\"").count(), 500);
    assert!(!page.body.contains("<script>alert") && page.body.contains("&#60;script&#62;alert(1)"));
    assert!(page.body.contains("<span class=\"f1\">red</span>") && page.body.contains("\\u{202e}"));
    assert!(page.body.contains("nul ␀ bad \\xff") && page.body.contains(">20%</span>"));
    let twice = portal.page(&json!({ "services": ["app", "app"], "filter": "quoted" }));
    assert_eq!(texts(&twice).len(), 1, "each log once");
    let missing = portal.0.send("portal page session /leonardo/logs?plain=1&s=%3Cb%3E&s=../x", "").body;
    assert!(missing.contains("there is no log") && !missing.contains("<b>\""), "{missing}");
    let invalid = portal.0.send("portal page session /leonardo/logs?plain=1&q=(", "").body;
    assert!(invalid.contains("unclosed group"), "{invalid}");
    let found = portal.0.send("portal page session /leonardo/logs?plain=1&q=line+99&level=info", "").body;
    assert_eq!(found.matches("class=\"line level-info").count(), 11, "{found}");
}

/// Writes a log of numbered lines into three files, the oldest compressed.
fn rotated(portal: &LogPortal) {
    let line = |number: u32| format!("2026-11-24T00:00:{:02}Z line {number}\n", number / 20);
    let lines = |range: std::ops::Range<u32>| range.map(line).collect::<Vec<_>>().concat();
    let file = fs::File::create(portal.path("app.log.2.gz")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    packed.write_all(lines(0..400).as_bytes()).unwrap();
    packed.finish().unwrap();
    portal.append("app.log.1", lines(400..800));
    portal.append("app.log", lines(800..1_100));
    portal.append("other.log", "2026-11-24T00:00:20Z other\n");
}

#[test]
fn history_leads_to_the_first_byte_and_back_without_losing_or_repeating_a_line() {
    let portal = LogPortal::new();
    rotated(&portal);
    let end = portal.page(&json!({}));
    assert_eq!((end["at_start"].clone(), end["at_end"].clone()), (json!(false), json!(true)));
    let mut all = texts(&end);
    let mut page = end;
    while page["at_start"] == json!(false) {
        page = portal.page(&json!({ "before": page["from"] }));
        all.splice(0..0, texts(&page));
    }
    let number = |text: &String| text.rsplit(' ').next().unwrap().parse::<u32>().ok();
    assert_eq!(all.iter().filter_map(number).collect::<Vec<_>>(), (0..1_100).collect::<Vec<_>>());
    let other = all.iter().position(|text| text.ends_with("other")).unwrap();
    assert!((399..=420).contains(&other), "merged by time: {other}");

    let mut newer = texts(&page);
    while page["at_end"] == json!(false) {
        page = portal.page(&json!({ "after": page["to"] }));
        newer.extend(texts(&page));
    }
    assert_eq!(newer.iter().filter_map(number).collect::<Vec<_>>(), (0..1_100).collect::<Vec<_>>());
}

#[test]
fn a_line_a_time_and_a_range_can_be_opened() {
    let portal = LogPortal::new();
    rotated(&portal);
    let found = portal.post("search", &json!({ "services": ["app"], "filter": "line 123$" }));
    let row = found.iter().find_map(|message| message["rows"].get(0).cloned()).unwrap();
    let around = portal.page(&json!({ "around": { "service": "app", "position": row["id"] } }));
    let marked =
        around["rows"].as_array().unwrap().iter().find(|other| other["id"] == around["marked"]["id"]);
    assert!(texts(&json!({ "rows": [marked] }))[0].ends_with("line 123"));
    assert_eq!(around["at_end"], json!(false));
    let time = 1_795_478_400.0 + 30.0;
    let jumped = portal.page(&json!({ "time": time, "services": ["app"] }));
    assert_eq!(texts(&jumped)[150], "2026-11-24T00:00:30Z line 600");
    assert_eq!(jumped["marked"]["id"], jumped["rows"][150]["id"]);
    let range = portal.page(&json!({ "since": time, "until": time + 2.0, "services": ["app"] }));
    let shown = texts(&range);
    assert_eq!((shown.len(), shown[0].clone()), (40, "2026-11-24T00:00:30Z line 600".to_owned()));
    assert_eq!((range["at_start"].clone(), range["at_end"].clone()), (json!(true), json!(true)));
    let last = portal.page(&json!({ "until": time + 2.0, "services": ["app"], "after": range["to"] }));
    assert_eq!((texts(&last).len(), last["at_end"].clone()), (0, json!(true)), "nothing is requested again");
    let gone = portal.page(&json!({ "around": { "service": "app", "position": "1-2.3" } }));
    assert!(gone["notices"][0].as_str().unwrap().contains("no longer exists"), "{}", gone["notices"]);
}

#[test]
fn a_search_streams_the_newest_hits_first_and_names_where_older_ones_are() {
    let portal = LogPortal::new();
    rotated(&portal);
    let messages = portal.post("search", &json!({ "services": ["app"], "filter": "LINE|line" }));
    let hits = all_texts(&messages);
    assert_eq!((hits.len(), hits[0].clone()), (500, "2026-11-24T00:00:54Z line 1099".to_owned()));
    let done = messages.last().unwrap();
    assert_eq!((done["type"].clone(), done["at_start"].clone()), (json!("done"), json!(false)));
    portal.append("colours.log", "\u{1b}[32m[INFO]\u{1b}[0m loaded \u{1b}[1;36mmodel\u{1b}[0m\n");
    let coloured = json!({ "services": ["colours"], "filter": "^.info. loaded model$" });
    assert_eq!(all_texts(&portal.post("search", &coloured)), ["[INFO] loaded model"], "colours are no text");
    let older = portal.page(&json!({ "services": ["app"], "filter": "line", "before": done["from"] }));
    assert_eq!(texts(&older).last().unwrap(), "2026-11-24T00:00:29Z line 599");
    let before = json!({ "app": done["from"]["app"], "other": "1-2.3" });
    let with_gone = portal.page(&json!({ "services": ["app", "other"], "filter": "line", "before": before }));
    assert_eq!(texts(&with_gone), texts(&older), "a place that is gone is that of one log only");
    let invalid = portal.0.send(&format!("{SCRIPT} /leonardo/logs/search"), "{\"filter\":\"(\"}");
    assert_eq!(invalid.status, 400);
    assert!(invalid.body.contains("\"field\":\"filter\""), "{}", invalid.body);
    let huge = portal.0.send(
        &format!("{SCRIPT} /leonardo/logs/search"),
        &format!("{{\"filter\":\"{}\"}}", "x".repeat(70_000)),
    );
    assert_eq!(huge.status, 413);
}

#[test]
fn a_download_is_the_whole_log_and_never_a_page() {
    let portal = LogPortal::new();
    rotated(&portal);
    let file = portal.0.send("portal page session /leonardo/logs/download?s=app", "");
    assert_eq!(file.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"app.log\""));
    assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(
        (file.body.lines().count(), file.body.lines().next()),
        (1_100, Some("2026-11-24T00:00:00Z line 0"))
    );
}

/// Applies messages as the script does: a known id replaces its row.
fn apply(shown: &mut BTreeMap<(usize, String), String>, messages: &[Value]) {
    for message in messages {
        for (row, text) in message["rows"].as_array().into_iter().flatten().zip(texts(message)) {
            let id = row["id"].as_str().unwrap().to_owned();
            let known = shown.keys().find(|(_, known)| *known == id).cloned();
            shown.insert(known.unwrap_or((shown.len(), id)), text);
        }
    }
}

#[test]
fn live_messages_continue_at_their_cursor_without_losing_or_repeating_a_row() {
    let portal = LogPortal::new();
    portal.append("app.log", format!("{}\nunfinished ", "x".repeat(100)));
    let page = portal.page(&json!({}));
    let mut cursor = page["to"].clone();
    let mut shown = BTreeMap::new();
    apply(&mut shown, &[page]);
    for text in ["line\n", "10%\r20%", "\r30%\n", "a\nb\nc\n\u{1b}[2A\u{1b}[KB\n\n", "end\n"] {
        portal.append("app.log", text);
        let messages = portal.poll(&mut cursor, "");
        apply(&mut shown, &messages);
    }
    let lines: Vec<&str> = shown.values().skip(1).map(String::as_str).collect();
    assert_eq!(lines, ["unfinished line", "30%", "a", "B", "c", "end"]);
    portal.append("app.log", "next\n");
    assert_eq!(all_texts(&portal.poll(&mut cursor, "")), ["next"], "nothing is sent twice");
    let file = fs::File::create(portal.path("app.log.1.gz")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    packed.write_all(&fs::read(portal.path("app.log")).unwrap()).unwrap();
    packed.finish().unwrap();
    fs::remove_file(portal.path("app.log")).unwrap();
    portal.append("app.log", "after\n");
    assert_eq!(all_texts(&portal.poll(&mut cursor, "")), ["after"], "nor after it was compressed");
}

/// Returns the texts of notices.
fn notices(messages: &[Value]) -> Vec<&str> {
    let of = messages.iter().filter(|message| message["type"] == "notice");
    of.map(|message| message["text"].as_str().unwrap()).collect()
}

#[test]
fn a_log_that_rotates_shrinks_or_disappears_is_followed_with_a_notice() {
    let portal = LogPortal::new();
    let long = "x".repeat(200);
    portal.append("app.log", format!("{long}\n"));
    let mut cursor = portal.page(&json!({}))["to"].clone();
    portal.append("app.log", "before\n");
    fs::rename(portal.path("app.log"), portal.path("app.log.1")).unwrap();
    portal.append("app.log", format!("after {long}\n"));
    let old = portal.poll(&mut cursor, "");
    assert_eq!((all_texts(&old), notices(&old)), (vec!["before".into()], vec![]));
    let rotated = portal.poll(&mut cursor, "");
    assert!(rotated.iter().all(|message| message["restarted"] != true), "rows of the old file can change");
    assert_eq!(
        (all_texts(&rotated), notices(&rotated)),
        (vec![format!("after {long}")], vec!["was rotated"])
    );
    fs::write(portal.path("app.log"), "new content\n").unwrap();
    let truncated = portal.poll(&mut cursor, "");
    assert_eq!(notices(&truncated).len(), 1, "{truncated:?}");
    assert_eq!(all_texts(&truncated), ["new content"]);
    fs::remove_file(portal.path("app.log")).unwrap();
    fs::remove_file(portal.path("app.log.1")).unwrap();
    portal.append("app.log", "again\n");
    let back = portal.poll(&mut cursor, "");
    assert_eq!(all_texts(&back), ["again"], "{back:?}");
    assert_eq!(notices(&back).len(), 1, "{back:?}");
}

#[test]
fn a_flood_is_cut_to_what_a_browser_can_show_and_counted() {
    let portal = LogPortal::new();
    portal.append("app.log", "begin\n");
    portal.append("quiet.log", "begin\n");
    let mut cursor = portal.page(&json!({}))["to"].clone();
    let mut filtered = cursor.clone();
    let lines: Vec<String> = (0..100_000).map(|number| format!("line {number} of many\n")).collect();
    portal.append("app.log", lines.concat());
    portal.append("quiet.log", "one line\n");
    let messages = portal.poll(&mut cursor, "");
    let shown = all_texts(&messages);
    let skipped: u64 = messages.iter().filter_map(|message| message["lines"].as_u64()).sum();
    assert!(shown.len() <= 300 && shown.contains(&"one line".to_owned()), "{}", shown.len());
    assert_eq!(shown.len() as u64 - 1 + skipped, 100_000);
    assert!(shown.contains(&"line 99999 of many".to_owned()));
    let found = portal.poll(&mut filtered, "line [0-9]*000 ");
    assert_eq!(all_texts(&found).len(), 99, "a filter is applied to every line");
    // Few bytes, more rows than a batch has.
    portal.append("app.log", format!("ERROR early\n{}", "fine\n".repeat(2_000)));
    let found = portal.poll(&mut filtered, "ERROR");
    assert_eq!(all_texts(&found), ["ERROR early"]);
    assert!(found.iter().all(|message| message["type"] != "skipped"), "hidden lines do not count");
    // Many bytes between the parts of a line.
    portal.append("app.log", "2026 ER");
    portal.poll(&mut filtered, "");
    portal.append("app.log", format!("ROR one\n{}2026 ER", lines.concat()));
    let mut found = all_texts(&portal.poll(&mut filtered, "ERROR"));
    portal.append("app.log", "ROR two\n");
    found.extend(all_texts(&portal.poll(&mut filtered, "ERROR")));
    assert_eq!(found, ["2026 ERROR one", "2026 ERROR two"]);
}

#[test]
fn lines_of_an_earlier_time_have_their_own_times() {
    let portal = LogPortal::new();
    portal.append("app.log", "2026-11-24T00:00:00Z begin\n");
    let mut cursor = portal.page(&json!({}))["to"].clone();
    let line = |number: u32| format!("2026-11-24T00:{:02}:{:02}Z line\n", number / 60, number % 60);
    portal.append("app.log", (0..1_000).map(line).collect::<Vec<_>>().concat());
    let messages = portal.poll(&mut cursor, "");
    let rows: Vec<&Value> =
        messages.iter().flat_map(|message| message["rows"].as_array().into_iter().flatten()).collect();
    let times: Vec<Option<f64>> = rows.iter().map(|row| row["time"].as_f64()).collect();
    let expected: Vec<Option<f64>> =
        (700..1_000).map(|second| Some(1_795_478_400.0 + f64::from(second))).collect();
    assert_eq!(times, expected);
}

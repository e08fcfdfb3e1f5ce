//! Bytes of the portal's pages and everything that they load.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use harness::{Browser, HttpClient, RunOptions};
use serde_json::json;
use showcase::{PAGES, Showcase};

/// All pages with their styles, scripts and pictures, each once: files as they are sent, pages as gzip would send them.
const LIMIT: usize = 60_000;
/// Level of gzip for pages.
const LEVEL: u32 = 5;
/// Headers of an answer are part of what the browser receives.
const HEADERS: usize = 1_200;

#[test]
fn all_pages_with_all_they_load_are_light_and_files_are_sent_compressed() {
    let showcase = Showcase::start(RunOptions::new());
    let browser = Browser::observed();
    browser.devtools("Network.setCacheDisabled", &json!({"cacheDisabled": true}));
    showcase.log_in(&browser);
    let mut received: BTreeMap<String, u64> = BTreeMap::new();
    for page in PAGES.iter().filter(|page| page.needs_login) {
        showcase.open(&browser, page);
    }
    for request in browser.requests() {
        if let Some((_, file)) = request.url.split_once("/leonardo/assets/") {
            received.insert(format!("/leonardo/assets/{file}"), request.bytes);
        }
    }
    assert!(!received.is_empty(), "pages load assets");

    let web = showcase.web(1111);
    let mut table = String::new();
    let mut total = 0;
    let mut weigh = |name: &str, bytes: usize| {
        total += bytes;
        table.push_str(&format!("{bytes:>8}  {name}\n"));
    };
    for page in PAGES {
        let visitor = showcase.web(page.port);
        let stranger = HttpClient::new(visitor.address().to_owned());
        let client = if page.needs_login { visitor } else { stranger };
        weigh(page.name, compressed(&client.browser().get(page.path).body));
    }
    for (path, received) in &received {
        let whole = web.get(path).ok_text().expect("a file").len();
        let sent = web.with("accept-encoding", "gzip").send("HEAD", path, "");
        assert_eq!(sent.header("content-encoding"), Some("gzip"), "{path}");
        let length = sent.header("content-length").expect("a length").parse().expect("a number");
        let received = usize::try_from(*received).expect("a length");
        assert!(length < whole && (length..length + HEADERS).contains(&received), "{path}: {received}");
        weigh(path, length);
    }
    println!("{table}{total:>8}  together, at most {LIMIT}");
    assert!(total <= LIMIT, "\n{table}{total:>8}");
}

fn compressed(text: &str) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory").len()
}

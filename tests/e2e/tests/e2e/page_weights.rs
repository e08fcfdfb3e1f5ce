//! Bytes of the portal's pages and everything that they load.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use harness::{Browser, HttpClient, RunOptions};
use serde_json::json;
use showcase::{PAGES, Showcase};

/// All pages with their styles, scripts and pictures, compressed, each once. They should be 60 kB, and are 72 kB: 23 kB are
/// uPlot, 6 kB the page of logs with its lines.
const LIMIT: usize = 73_000;
/// Level of gzip that Caddy uses.
const LEVEL: u32 = 5;
/// Headers of an answer are part of what is sent.
const HEADERS: u64 = 1_200;

#[test]
fn all_pages_with_all_they_load_are_light_and_assets_are_sent_compressed() {
    let showcase = Showcase::start(RunOptions::new());
    let browser = Browser::observed();
    browser.devtools("Network.setCacheDisabled", &json!({"cacheDisabled": true}));
    showcase.log_in(&browser);
    let mut sent: BTreeMap<String, u64> = BTreeMap::new();
    for page in PAGES.iter().filter(|page| page.needs_login) {
        showcase.open(&browser, page);
    }
    let portal = showcase.origin(1111);
    for request in browser.requests() {
        let path = request.url.strip_prefix(&portal).unwrap_or_default();
        if path.starts_with("/leonardo/assets/") {
            sent.insert(path.to_owned(), request.bytes);
        }
    }
    assert!(!sent.is_empty(), "pages load assets");

    let web = showcase.web(1111);
    let mut table = format!("{:>8} {:>8} {:>8}  what\n", "raw", "gzip", "sent");
    let mut total = 0;
    let mut large = Vec::new();
    let mut weigh = |name: &str, text: &str, sent: Option<u64>| {
        let compressed = compressed(text);
        total += compressed;
        let shown = sent.map(|bytes| bytes.to_string()).unwrap_or_default();
        table.push_str(&format!("{:>8} {compressed:>8} {shown:>8}  {name}\n", text.len()));
        if sent.is_some_and(|sent| sent > compressed as u64 * 11 / 10 + HEADERS) {
            large.push(name.to_owned());
        }
    };
    for page in PAGES {
        let visitor = showcase.web(page.port);
        let stranger = HttpClient::new(visitor.address().to_owned());
        let client = if page.needs_login { visitor } else { stranger };
        weigh(page.name, &client.browser().get(page.path).body, None);
    }
    for (path, bytes) in &sent {
        weigh(path, &web.get(path).ok_text().expect("an asset"), Some(*bytes));
    }
    table.push_str(&format!("{:>8} {total:>8} {:>8}  together, at most {LIMIT}\n", "", ""));
    println!("{table}");
    assert_eq!(large, [""; 0], "sent without compression\n{table}");
    assert!(total <= LIMIT, "\n{table}");
}

fn compressed(text: &str) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory").len()
}

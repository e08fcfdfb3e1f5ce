//! Requests of a browser and complaints of its pages, as chromedriver records them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Browser;

/// A request that a page made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub url: String,
    /// Without an answer: 0.
    pub status: u64,
    /// Headers and body as they came over the network; 0 from the cache.
    pub bytes: u64,
}

impl Browser {
    /// Requests since the last call, in order. The browser must be an observed one.
    #[track_caller]
    pub fn requests(&self) -> Vec<Request> {
        requests(&self.log("performance"))
    }

    /// Scripts' errors, violated policies and failed requests since the last call. The browser must be an observed one.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.log("browser");
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        let messages = severe.map(|entry| entry["message"].as_str().expect("a text").to_owned());
        // Not those of the browser's own first page.
        messages.filter(|message| !message.starts_with("chrome")).collect()
    }

    #[track_caller]
    fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self.post("se/log", &json!({ "type": kind }));
        entries.as_array().expect("a list").clone()
    }
}

/// Requests in DevTools' events.
fn requests(entries: &[Value]) -> Vec<Request> {
    let mut order = Vec::new();
    let mut found: BTreeMap<String, Request> = BTreeMap::new();
    for entry in entries {
        let whole: Value = serde_json::from_str(entry["message"].as_str().unwrap_or("{}")).expect("JSON");
        let event = &whole["message"];
        let (parameters, method) = (&event["params"], event["method"].as_str().unwrap_or_default());
        let id = parameters["requestId"].as_str().unwrap_or_default().to_owned();
        match method {
            "Network.requestWillBeSent" | "Network.webSocketCreated" => {
                let url = parameters["request"]["url"].as_str().or(parameters["url"].as_str());
                let request = Request { url: url.expect("an address").to_owned(), ..Request::default() };
                if found.insert(id.clone(), request).is_none() {
                    order.push(id);
                }
            }
            "Network.responseReceived" | "Network.webSocketHandshakeResponseReceived" => {
                let request = found.entry(id).or_default();
                request.status = parameters["response"]["status"].as_u64().unwrap_or_default();
            }
            "Network.loadingFinished" => {
                let bytes = parameters["encodedDataLength"].as_f64().unwrap_or_default();
                found.entry(id).or_default().bytes = bytes as u64;
            }
            _ => {}
        }
    }
    // Not those of the browser's own first page.
    let is_network = |request: &Request| {
        ["http:", "https:", "ws:", "wss:"].iter().any(|scheme| request.url.starts_with(scheme))
    };
    order.iter().filter_map(|id| found.remove(id)).filter(is_network).collect()
}

//! Headers of kinds of clients. Browsers add fetch metadata (`Sec-Fetch-*`) for https and localhost, and `Origin` to all but
//! simple GET requests to the same origin.

type Client = (&'static str, &'static [(&'static str, &'static str)]);

const MOZILLA: (&str, &str) = ("user-agent", "Mozilla/5.0");
const HTML: (&str, &str) = ("accept", "text/html,*/*;q=0.8");
const ANY: (&str, &str) = ("accept", "*/*");
const NAVIGATE: (&str, &str) = ("sec-fetch-mode", "navigate");
const NO_CORS: (&str, &str) = ("sec-fetch-mode", "no-cors");
const CORS: (&str, &str) = ("sec-fetch-mode", "cors");
const WEBSOCKET: (&str, &str) = ("sec-fetch-mode", "websocket");
const DOCUMENT: (&str, &str) = ("sec-fetch-dest", "document");
const FRAME: (&str, &str) = ("sec-fetch-dest", "iframe");
const SCRIPT: (&str, &str) = ("sec-fetch-dest", "script");
const WORKER: (&str, &str) = ("sec-fetch-dest", "serviceworker");
const EMPTY: (&str, &str) = ("sec-fetch-dest", "empty");
const TYPED: (&str, &str) = ("sec-fetch-site", "none");
const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");
const PORT: (&str, &str) = ("sec-fetch-site", "same-site");
const SITE: (&str, &str) = ("sec-fetch-site", "cross-site");
const FROM_OWN: (&str, &str) = ("origin", "http://gpu.lan:8188");
const FROM_PORT: (&str, &str) = ("origin", "http://gpu.lan:3000");
const FROM_SITE: (&str, &str) = ("origin", "https://evil.example");
const FROM_SANDBOX: (&str, &str) = ("origin", "null");
const UPGRADE: (&str, &str) = ("upgrade", "WebSocket");
const POST: (&str, &str) = ("method", "POST");
const OPTIONS: (&str, &str) = ("method", "OPTIONS");
const PUT: (&str, &str) = ("access-control-request-method", "PUT");

/// Name and headers of each kind.
pub const CLIENTS: &[Client] = &[
    ("program", &[("user-agent", "curl/8.14"), ANY]),
    ("program-post", &[("user-agent", "curl/8.14"), ANY, POST]),
    ("program-socket", &[UPGRADE]),
    ("tunnel", &[UPGRADE, ("method", "CONNECT")]),
    // Navigation.
    ("page", &[MOZILLA, HTML, TYPED, NAVIGATE, DOCUMENT]),
    ("page-http", &[MOZILLA, HTML]),
    ("link-own", &[MOZILLA, HTML, OWN, NAVIGATE, DOCUMENT]),
    ("link-port", &[MOZILLA, HTML, PORT, NAVIGATE, DOCUMENT]),
    ("link-site", &[MOZILLA, HTML, SITE, NAVIGATE, DOCUMENT]),
    ("prefetch", &[MOZILLA, HTML, TYPED, NAVIGATE, DOCUMENT, ("sec-purpose", "prefetch")]),
    ("frame-own", &[MOZILLA, HTML, OWN, NAVIGATE, FRAME]),
    ("frame-port", &[MOZILLA, HTML, PORT, NAVIGATE, FRAME]),
    ("frame-site", &[MOZILLA, HTML, SITE, NAVIGATE, FRAME]),
    // Requests of pages.
    ("script-own", &[MOZILLA, ANY, OWN, NO_CORS, SCRIPT]),
    ("script-port", &[MOZILLA, ANY, PORT, NO_CORS, SCRIPT]),
    ("script-site", &[MOZILLA, ANY, SITE, NO_CORS, SCRIPT]),
    ("script-http", &[MOZILLA, ANY]),
    ("fetch-own", &[MOZILLA, ANY, OWN, CORS, EMPTY]),
    ("fetch-port", &[MOZILLA, ANY, PORT, CORS, EMPTY, FROM_PORT]),
    ("fetch-site", &[MOZILLA, ANY, SITE, CORS, EMPTY, FROM_SITE]),
    ("fetch-port-http", &[MOZILLA, ANY, FROM_PORT]),
    ("preflight", &[MOZILLA, ANY, SITE, CORS, EMPTY, FROM_SITE, OPTIONS, PUT]),
    ("options", &[MOZILLA, ANY, OPTIONS]),
    ("socket-own", &[MOZILLA, UPGRADE, OWN, WEBSOCKET, FROM_OWN]),
    ("socket-port", &[MOZILLA, UPGRADE, PORT, WEBSOCKET, FROM_PORT]),
    ("socket-site", &[MOZILLA, UPGRADE, SITE, WEBSOCKET, FROM_SITE]),
    ("socket-own-http", &[MOZILLA, UPGRADE, FROM_OWN]),
    ("socket-port-http", &[MOZILLA, UPGRADE, FROM_PORT]),
    ("form-own", &[MOZILLA, HTML, OWN, NAVIGATE, DOCUMENT, FROM_OWN, POST]),
    ("form-port", &[MOZILLA, HTML, PORT, NAVIGATE, DOCUMENT, FROM_PORT, POST]),
    ("form-site", &[MOZILLA, HTML, SITE, NAVIGATE, DOCUMENT, FROM_SITE, POST]),
    ("form-sandbox", &[MOZILLA, HTML, SITE, NAVIGATE, DOCUMENT, FROM_SANDBOX, POST]),
    ("form-own-http", &[MOZILLA, HTML, FROM_OWN, POST]),
    ("form-port-http", &[MOZILLA, HTML, FROM_PORT, POST]),
    ("form-sandbox-http", &[MOZILLA, HTML, FROM_SANDBOX, POST]),
    ("worker", &[MOZILLA, ANY, OWN, ("sec-fetch-mode", "same-origin"), WORKER, ("service-worker", "script")]),
    // Origin of the page, for the portal's own forms.
    ("own", &[OWN]),
    ("port", &[PORT]),
    ("site", &[SITE]),
    // The portal's own port.
    ("portal", &[("x-leonardo-port", "1111"), ("x-forwarded-host", "gpu.lan:1111")]),
];

//! A portal in a temporary directory, called in-process; requests and responses are lines of text.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use kit::unix_time;
use kit::{Env, Secret};
use ports::{Registry, Service};
use tempfile::TempDir;
use tower_service::Service as _;
use web_login::Login;

use super::clients::CLIENTS;
use super::response_line::PortalResponse;
use crate::api_tokens::TokenScope;
use crate::app_state::AppState;
use crate::cli::Cli;
use crate::known_device;
use crate::routes;
use crate::sessions::{Scope, SessionOrigin};
use crate::throttle::{AttemptKind, Guesser};

/// Token of programs, with the length of a generated one.
pub const TOKEN: &str = "token-of-programs-43-characters-long-------";
/// Wrong token of the same length.
pub const WRONG: &str = "wrong-token-that-is-43-characters-long-----";
/// Token before the login changed.
const FORMER: &str = "former-token-that-is-43-characters-long----";
/// One-click token of the provider.
pub const ONE_CLICK: &str = "one-click-token";

/// Portal with two services: `Echo` at 8188 behind the login, and `Demo` at 3000 without one.
pub struct Portal {
    pub directory: TempDir,
    pub state: AppState,
    router: Router,
    runtime: tokio::runtime::Runtime,
    /// Words of a request that stand for a `Cookie` or `Authorization` header.
    words: BTreeMap<&'static str, (HeaderName, String)>,
}

impl Portal {
    /// Creates a portal whose login has changed once, so that it has a former one.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// Creates a portal with these environment variables.
    pub fn with(variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(path("registry")).unwrap();
        std::fs::write(path("journal"), "").unwrap();
        write_login(&directory, "former password", FORMER);
        let arguments = [
            "credentials",
            "state",
            "registry",
            "journal",
            "storage",
            "proxy-problem",
            "tunnels",
            "process-control",
            "logs",
        ]
        .map(|name| format!("--{name}={}", path(name)));
        let cli = Cli::parse_from(std::iter::once("service-portal".to_owned()).chain(arguments));
        let env: Env = variables.iter().copied().chain([("OPEN_BUTTON_TOKEN", ONE_CLICK)]).collect();
        let state = AppState::new(&cli, env).unwrap();
        write_login(&directory, "secret", TOKEN);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let router = routes::router(state.clone());
        let mut portal = Self { directory, state, router, runtime, words: BTreeMap::new() };
        portal.register("Echo", 8188, true);
        portal.register("Demo", 3000, false);
        portal.fill_in_words();
        portal
    }

    /// Registers a service that does not respond.
    pub fn register(&self, name: &str, port: u16, secure: bool) {
        self.register_service(&Service {
            service_name: name.into(),
            listen_port: 1,
            proxy_port: port,
            proxy_secure: secure,
            ..Service::default()
        });
    }

    /// Registers a service.
    pub fn register_service(&self, service: &Service) {
        Registry::new(&self.directory.path().join("registry")).register(service).unwrap();
    }

    /// Adds an invalid registry file.
    pub fn register_badly(&self) {
        std::fs::write(self.directory.path().join("registry/8200"), "{").unwrap();
    }

    /// Replaces the login by an invalid file.
    pub fn break_login(&self) {
        std::fs::remove_file(self.directory.path().join("credentials")).unwrap();
        std::fs::write(self.directory.path().join("credentials"), "{").unwrap();
    }

    /// Changes the login.
    pub fn change_login(&self, password: &str, token: &str) {
        write_login(&self.directory, password, token);
    }

    /// Makes an address wait for a minute. The failures are in the future, so that the wait does not shrink on a slow machine.
    pub fn slow_down(&self, kind: AttemptKind, address: &str) {
        let guesser = Guesser::stranger(kind, address.parse().unwrap());
        let later = Instant::now() + Duration::from_mins(10);
        (0..12).for_each(|_| self.state.throttle().record_failure(guesser.clone(), later));
    }

    /// True if an address has to wait for its own failures after `attempts`.
    pub fn guesses(&self, kind: AttemptKind, address: &str, attempts: impl FnOnce()) -> bool {
        let before = Instant::now();
        attempts();
        let guesser = Guesser::stranger(kind, address.parse().unwrap());
        self.state.throttle().own_delay(&guesser, before).is_some()
    }

    /// Adds a word for a cookie.
    pub fn add_cookie(&mut self, word: &'static str, cookie: String) {
        self.add_header(word, "cookie", cookie);
    }

    /// Logs in on the portal's port; returns the session cookie and the device cookie.
    pub fn log_in(&self, words: &str) -> [String; 2] {
        let answer = self.send(&format!("POST port=1111 host=gpu.lan:1111 {words} /leonardo/login"), FORM);
        let cookies = answer.cookies();
        assert_eq!((answer.status, cookies.len()), (303, 2), "{}", answer.body);
        [cookies[0].clone(), cookies[1].clone()]
    }

    /// Redeems a share link to a service; returns the session cookie.
    pub fn share(&self, service: &str, port: u16) -> String {
        let (_, word) = self.state.shares().create(service, port, 3_600, None, unix_time::now()).unwrap();
        let answer = self.send(
            &format!("POST port={port} host=gpu.lan:{port} own /leonardo/share"),
            &format!("link={word}"),
        );
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.cookies()[0].clone()
    }

    pub fn add_header(&mut self, word: &'static str, name: &str, value: String) {
        self.words.insert(word, (HeaderName::try_from(name).unwrap(), value));
    }

    /// Creates an API token for an hour and returns its secret.
    pub fn api_token(&self, name: &str, scope: TokenScope) -> String {
        let login = self.state.credentials().unwrap().fingerprint();
        self.state.api_tokens().create(name, scope, 3_600, &login, unix_time::now()).unwrap().1
    }

    /// Returns the paths of all routes, from the debug output of the router: axum does not list them otherwise.
    pub fn paths(&self) -> Vec<String> {
        let router = format!("{:?}", self.router);
        let paths: std::collections::BTreeSet<String> =
            router.split('"').filter(|text| text.starts_with('/')).map(str::to_owned).collect();
        paths.into_iter().collect()
    }

    fn fill_in_words(&mut self) {
        let visitor = |address: &str| SessionOrigin {
            address: address.parse().unwrap(),
            agent: String::new(),
            bound: true,
            device: None,
        };
        let begin = |ends| {
            let token =
                self.state.sessions().create(visitor("192.0.2.1"), Scope::Everything, ends, unix_time::now());
            format!("leonardo_0badcafe={}", token.unwrap())
        };
        let name = "leonardo_0badcafe_device";
        let device = format!("{name}={}", known_device::sign_id(&self.state, "0123456789abcdef").unwrap());
        let (expired, bound) = (begin(1), begin(u64::MAX));
        let ([session, _], guest) = (self.log_in("own"), self.share("Echo", 8188));
        let [ended, _] = self.log_in("own");
        self.words.insert("ended", (header::COOKIE, ended.clone()));
        self.send("POST port=1111 host=gpu.lan:1111 own ended /leonardo/logout", "");
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let read = format!("Bearer {}", self.api_token("reader", TokenScope::Read));
        let logs = format!("Bearer {}", self.api_token("reader of logs", TokenScope::ReadLogs));
        self.words = [
            ("ended", header::COOKIE, ended),
            ("session-https", header::COOKIE, format!("__Host-{session}")),
            ("session", header::COOKIE, session),
            ("bound", header::COOKIE, bound),
            ("expired", header::COOKIE, expired),
            ("made-up", header::COOKIE, "leonardo_0badcafe=AAAA".into()),
            ("neighbour", header::COOKIE, "leonardo_deadbeef=x; __Host-leonardo_1_3=y".into()),
            ("guest", header::COOKIE, guest),
            ("device", header::COOKIE, device),
            ("bearer", header::AUTHORIZATION, format!("Bearer {TOKEN}")),
            ("bearer-wrong", header::AUTHORIZATION, format!("Bearer {WRONG}")),
            ("bearer-former", header::AUTHORIZATION, format!("Bearer {FORMER}")),
            ("bearer-read", header::AUTHORIZATION, read),
            ("bearer-logs", header::AUTHORIZATION, logs),
            ("basic", header::AUTHORIZATION, basic("ada:secret")),
            ("basic-wrong", header::AUTHORIZATION, basic("ada:wrong")),
            ("basic-former", header::AUTHORIZATION, basic("ada:former password")),
            ("digest", header::AUTHORIZATION, "Digest of=the-service".into()),
        ]
        .map(|(word, name, value)| (word, (name, value)))
        .into();
    }

    /// Builds a request from words; [`CLIENTS`] lists those that stand for headers. With `gate`, it is Caddy's subrequest.
    fn request(&self, gate: Option<&str>, words: &str, body: &str) -> Request<Body> {
        let (mut method, mut target) = (Method::GET, "/");
        let mut headers = HeaderMap::new();
        let mut cookies = vec!["theme=dark"];
        let mut set = |name: &str, value: &str| {
            headers.insert(
                HeaderName::try_from(name).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        };
        for (name, value) in [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "gpu.lan:8188"),
            ("x-forwarded-proto", "http"),
            ("x-leonardo-port", "8188"),
        ] {
            set(name, value);
        }
        let words: Vec<String> = words
            .split_whitespace()
            .map(|word| word.replace("$TOKEN", TOKEN).replace("$WRONG", WRONG))
            .collect();
        for word in &words {
            if let Some((name, value)) = self.words.get(word.as_str()) {
                if name == header::COOKIE { cookies.push(value) } else { set(name.as_str(), value) }
            } else if let Some((_, pairs)) = CLIENTS.iter().find(|(client, _)| client == word) {
                pairs.iter().for_each(|(name, value)| match *name {
                    "method" => method = value.parse().unwrap(),
                    name => set(name, value),
                });
            } else if word.starts_with('/') {
                target = word;
            } else if let Some(uri) = word.strip_prefix("uri=") {
                target = uri;
            } else if let Some((name, value)) = word.split_once('=') {
                let name = match name {
                    "from" => "x-forwarded-for",
                    "host" => "x-forwarded-host",
                    "port" => "x-leonardo-port",
                    name => name,
                };
                set(name, value);
            } else {
                method = word.parse().unwrap();
                assert!(word.bytes().all(|byte| byte.is_ascii_uppercase()), "no such word: {word}");
            }
        }
        set("cookie", &cookies.join("; "));
        if let Some(gate) = gate {
            set("x-forwarded-uri", target);
            set("x-forwarded-method", method.as_str());
            (method, target) = (Method::GET, gate);
        } else if method == Method::POST && !words.iter().any(|word| word.starts_with("content-type=")) {
            set("content-type", "application/x-www-form-urlencoded");
        }
        let mut request = Request::new(Body::from(body.to_owned()));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse::<Uri>().unwrap();
        *request.headers_mut() = headers;
        request
    }

    fn respond(&self, request: Request<Body>) -> PortalResponse {
        self.runtime.block_on(async {
            let response = self.router.clone().call(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            PortalResponse {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body: String::from_utf8(body.to_vec()).unwrap(),
            }
        })
    }

    /// Sends a request to the portal.
    pub fn send(&self, words: &str, body: &str) -> PortalResponse {
        self.respond(self.request(None, words, body))
    }

    /// Runs a future, and everything that the portal has started.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Returns the portal's routes, for a server.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Returns the cookie that a word stands for.
    pub fn cookie(&self, word: &str) -> &str {
        &self.words[word].1
    }

    /// Sends a subrequest to the gate, as Caddy does.
    pub fn ask(&self, gate: &str, words: &str) -> PortalResponse {
        self.respond(self.request(Some(gate), words, ""))
    }

    /// Compares responses of the gate with a table of lines `request => response`.
    #[track_caller]
    pub fn check_gate(&self, gate: &str, table: &str) {
        check(table, |request| self.ask(gate, request).to_string());
    }

    /// Compares responses of the portal with such a table; fields of a form follow after `|`.
    #[track_caller]
    pub fn check_pages(&self, table: &str) {
        check(table, |request| {
            let (words, form) = request.split_once('|').unwrap_or((request, ""));
            self.send(words, form.trim()).to_string()
        });
    }
}

/// Body of the login form with the right user and password.
pub const FORM: &str = "username=ada&password=secret";

#[track_caller]
fn check(table: &str, answer: impl Fn(&str) -> String) {
    let mut wrong = Vec::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (request, expected) = line.split_once("=> ").expect(line);
        let seen = answer(request);
        if seen != expected {
            wrong.push(format!("{request}=> {seen}\n  not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn write_login(directory: &TempDir, password: &str, token: &str) {
    let login = Login {
        user: "ada".into(),
        password: Secret::new(password).unwrap(),
        token: Secret::new(token).unwrap(),
        instance: "0badcafe".into(),
        asked: String::new(),
    };
    login.write(&directory.path().join("credentials"), (0, 0)).unwrap();
}

//! Sessions, one-time links, share links, tokens in addresses: ways in beside the password, and out.

use harness::{Browser, Container, HttpClient, Response, RunOptions};

use crate::gate::with_echo;
use crate::portal::{picture, register};

/// The path of the link that a command printed, and the address that leads to it from outside.
pub fn link(container: &Container, words: &[&str], port: u16) -> String {
    let printed = container.exec(words).text();
    let url = printed.lines().last().expect("a link").to_owned();
    let path =
        url.split_once("localhost:").and_then(|(_, rest)| rest.split_once('/')).expect("a guessed address").1;
    format!("http://{}/{path}", container.address(port))
}

/// Follows a link and presses its button, as a browser does.
pub fn press(web: &HttpClient, path: &str) -> Response {
    let (action, field) = path.split_once('?').expect("a query");
    let (name, word) = field.split_once('=').expect("a field");
    web.with("origin", &format!("http://{}", web.address())).post_form(action, &[(name, word)])
}

pub fn path_of(url: &str) -> String {
    format!("/{}", url.splitn(4, '/').nth(3).expect("a path"))
}

/// Opens an address that carries a token as a browser does: the session's cookie, and where the visitor ends.
fn exchange(web: &HttpClient, path: &str) -> (String, String) {
    let goes = |answer: &Response| {
        assert_eq!(answer.status, 303);
        answer.header("location").expect("a redirect").to_owned()
    };
    let mut answer = web.browser().get(path);
    if goes(&answer).starts_with("/leonardo/arrive?") {
        assert_eq!(answer.header("set-cookie"), None, "an answer of the gate sets no cookie of ours");
        answer = web.browser().get(&goes(&answer));
    }
    (answer.cookie(), goes(&answer))
}

/// The `id`s that a list on the access page offers to end.
fn ids(page: &str, action: &str) -> Vec<String> {
    page.split(&format!("action=\"{action}\""))
        .skip(1)
        .filter_map(|form| Some(form.split_once("name=\"id\" value=\"")?.1.split_once('"')?.0.to_owned()))
        .collect()
}

#[test]
fn a_token_in_an_address_becomes_a_session_and_disappears() {
    let container = with_echo(RunOptions::new().env("OPEN_BUTTON_TOKEN", "one-click"));
    let [_, _, token] = container.login();
    for (port, word) in [(1111, token.as_str()), (8080, &token), (1111, "one-click"), (8080, "one-click")] {
        let web = container.web(port).browser();
        let (cookie, goes) = exchange(&web, &format!("/?a=%20b&token={word}&c=d"));
        assert_eq!(goes, "/?a=%20b&c=d", "{port} {word}");
        assert_eq!(web.with("cookie", &cookie).get("/").status, 200);
    }
    let web = container.web(8080).browser();
    assert_eq!(web.get("/?token=wrong").status, 302, "to the login form");
    assert_eq!(web.get("/?token=").status, 302);
    assert_eq!(container.web(8080).get(&format!("/?token={token}")).status, 401, "programs send a header");
    let (session, _) = exchange(&web, &format!("/?token={token}"));
    let seen = web.with("cookie", &session).get("/lab?token=of-the-application").body;
    assert!(seen.starts_with("GET /lab?token=of-the-application\n"), "{seen}");
    let logs = container.sh("cat /var/log/supervisor/*.log").text();
    assert!(!logs.contains(&token) && !logs.contains("one-click"), "{logs}");
}

#[test]
fn a_one_time_link_logs_one_browser_in_once() {
    let container = RunOptions::new().start_and_wait();
    let url = link(&container, &["su", "-", "user", "-c", "portal-link"], 1111);
    let (web, path) = (container.web(1111), path_of(&url));
    for _ in 0..3 {
        let look = web.get(&path);
        assert_eq!((look.status, look.header("set-cookie")), (200, None), "looking uses nothing up");
    }
    assert_eq!(
        web.with("origin", "http://evil.example").post_form("/leonardo/enter", &[("code", "x")]).status,
        403
    );
    let entered = press(&web, &path);
    assert_eq!(entered.status, 303);
    assert_eq!(web.with("cookie", &entered.cookie()).get("/").status, 200);
    assert_eq!(press(&web, &path).status, 410, "once");
    assert_eq!(web.get(&path).status, 410);
    let soon = link(&container, &["portal-link", "--expires", "1s"], 1111);
    container.wait_until("the link to expire", || web.get(&path_of(&soon)).status == 410);
    assert_eq!(press(&web, &path_of(&soon)).status, 410);
}

#[test]
fn a_terminal_gets_a_qr_code() {
    let container = RunOptions::new().start_and_wait();
    let drawn = container.exec(&["script", "-qec", "portal-link", "/dev/null"]).text();
    assert!(drawn.lines().filter(|line| line.contains('█') || line.contains('▀')).count() > 10, "{drawn}");
}

#[test]
fn a_share_link_opens_one_service_and_nothing_else() {
    let container = with_echo(RunOptions::new().publish(8081));
    register(&container, "Other", 18080, 8081, "true");
    container.wait_for(8081);
    let url = link(&container, &["su", "-", "user", "-c", "share Echo --expires 2h --max-uses 2"], 8080);
    let (echo, other, portal) = (container.web(8080), container.web(8081), container.web(1111));
    assert_eq!(echo.get(&path_of(&url)).status, 200);
    assert_eq!(other.get(&path_of(&url)).status, 404, "not the other service's");
    assert_eq!(press(&other, &path_of(&url)).status, 404);

    let entered = press(&echo, &path_of(&url));
    assert_eq!(entered.status, 303);
    let cookie = entered.cookie();
    let guest = |web: &HttpClient| web.with("cookie", &cookie);
    let seen = guest(&echo).get("/");
    assert_eq!(seen.status, 200);
    assert!(!seen.body.contains("Cookie"), "{}", seen.body);
    assert_eq!((guest(&other).get("/").status, guest(&portal).get("/").status), (401, 401));
    for page in ["/leonardo/", "/leonardo/access", "/leonardo/state.json"] {
        assert_eq!(guest(&echo).get(page).status, 403, "{page} is the owner's");
    }
    // What a script in a service's page could do with the owner's session: nothing that opens more.
    let [user, password, token] = container.login();
    let owner = echo.with("cookie", &echo.log_in(&user, &password).cookie());
    let script = owner.with("origin", &format!("http://{}", echo.address()));
    for page in ["phone", "share", "revoke", "end-all"] {
        assert_eq!(
            script
                .post_form(
                    &format!("/leonardo/access/{page}"),
                    &[("id", "x"), ("port", "8080"), ("hours", "1")]
                )
                .status,
            403,
            "{page}"
        );
    }
    // A guest learns nothing about the token, and a guess of his counts.
    let header = |token: &str| guest(&echo).with("authorization", &format!("Bearer {token}")).get("/").body;
    assert!(header("guess").contains("Bearer guess") && header(&token).contains(&token));
    let as_long = "x".repeat(token.len());
    assert_eq!(guest(&echo).browser().get(&format!("/?token={as_long}")).status, 200);
    container.log_with("serviceportal", "refused way=address");
    let renamed = cookie.replacen("_8080=", "=", 1);
    assert_eq!(echo.with("cookie", &renamed).get("/").status, 401, "a guest's cookie is no owner's");

    assert_eq!(press(&echo, &path_of(&url)).status, 303);
    assert_eq!(press(&echo, &path_of(&url)).status, 410, "twice at most");
    let list = container.exec(&["share", "--list"]).text();
    assert!(list.contains("Echo  port 8080") && list.ends_with("used 2 of 2"), "{list}");
    let id = list.split(' ').next().expect("an id").to_owned();
    container.exec(&["share", "--revoke", &id]).text();
    assert_eq!(guest(&echo).get("/").status, 401, "revoking ends its sessions");
    assert_eq!(press(&echo, &path_of(&url)).status, 404);
    container.exec(&["share", "--revoke", &id]).failure(1);
}

#[test]
fn a_share_link_expires_and_survives_a_restart_of_the_portal() {
    let container = with_echo(RunOptions::new());
    let echo = container.web(8080);
    let url = link(&container, &["share", "8080", "--expires", "1h"], 8080);
    let soon = link(&container, &["share", "8080", "--expires", "2s"], 8080);
    let guest = press(&echo, &path_of(&soon)).cookie();
    container.sh("supervisorctl restart serviceportal").text();
    container.wait_for(8080);
    assert_eq!(echo.get(&path_of(&url)).status, 200);
    container.wait_until("the link to expire", || echo.get(&path_of(&soon)).status == 410);
    assert_eq!(echo.with("cookie", &guest).get("/").status, 401, "its sessions end with it");
    let forged = path_of(&url).replacen("link=", "link=0", 1);
    assert_eq!(echo.get(&forged).status, 404);
    let wrong = container.exec(&["share", "Nobody"]);
    assert_eq!(wrong.failure(1), "share: no service named \"Nobody\"; registered: Echo (8080)\n");
}

#[test]
fn sessions_survive_the_portal_and_end_one_by_one_or_all_together() {
    let container = with_echo(RunOptions::new());
    let [user, password, _] = container.login();
    let web = container.web(1111);
    let [one, two, three] = ["Firefox/1", "Chrome/2", "Safari/3"]
        .map(|agent| web.with("user-agent", agent).log_in(&user, &password).cookie());
    let inside = |cookie: &str| web.with("cookie", cookie).get("/").status;
    container.sh("supervisorctl restart serviceportal").text();
    container.wait_for_portal();
    assert_eq!([&one, &two, &three].map(|cookie| inside(cookie)), [200; 3]);

    let own = web.with("cookie", &one).with("origin", &format!("http://{}", web.address()));
    let page = own.get("/leonardo/access").body;
    for shown in ["Firefox/1", "Chrome/2", "Safari/3", "this browser"] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    assert!(![&one, &two, &three].iter().any(|cookie| page.contains(cookie.split_once('=').unwrap().1)));
    let second = page.split("<li>").find(|line| line.contains("Chrome/2")).expect("a line");
    let id = ids(second, "/leonardo/access/end").remove(0);
    assert_eq!(own.post_form("/leonardo/access/end", &[("id", &id)]).status, 303);
    assert_eq!([&one, &two, &three].map(|cookie| inside(cookie)), [200, 401, 200]);

    let foreign = web.with("cookie", &one).with("origin", "http://evil.example");
    assert_eq!(foreign.post_form("/leonardo/access/end-all", &[]).status, 403);
    assert_eq!(own.post_form("/leonardo/access/end-all", &[]).status, 303);
    assert_eq!([&one, &two, &three].map(|cookie| inside(cookie)), [401; 3]);
    let kept = container.exec(&["cat", "/var/lib/portal/sessions.json"]).text();
    assert!(kept.contains("\"sessions\":{}"), "{kept}");
}

#[test]
fn the_owner_logs_in_while_an_attacker_guesses_ten_thousand_times() {
    let container = RunOptions::new().start_and_wait();
    let [user, password, _] = container.login();
    let web = container.web(1111);
    let first = web.log_in(&user, &password);
    let device = first.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value);
    let device = device
        .filter_map(|value| value.split(';').next())
        .find(|pair| pair.contains("_device="))
        .expect("a mark");
    let known = web.with("cookie", device);
    let url = link(&container, &["portal-link"], 1111);
    let statuses = std::thread::scope(|scope| {
        let guessers: Vec<_> = (0..20)
            .map(|_| {
                let web = web.clone();
                let user = user.clone();
                scope.spawn(move || (0..500).map(|_| web.log_in(&user, "guess").status).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(known.log_in(&user, &password).status, 303, "a known browser is not slowed down");
        assert_eq!(press(&web, &path_of(&url)).status, 303, "and a one-time link always works");
        guessers.into_iter().flat_map(|guesser| guesser.join().unwrap()).collect::<Vec<u16>>()
    });
    assert_eq!(statuses.len(), 10_000);
    let evaluated = statuses.iter().filter(|status| **status == 401).count();
    let slowed = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!(evaluated + slowed, 10_000);
    assert!(evaluated < 20, "{evaluated} guesses were looked at");
    assert_eq!(known.log_in(&user, &password).status, 303);
    container.exec(&["supervisorctl", "restart", "serviceportal"]).text();
    let log = container.exec(&["cat", "/var/log/supervisor/serviceportal.log"]).text();
    let single = log.lines().filter(|line| line.contains("login slowed") || line.contains("login refused"));
    let counts: Vec<usize> = log
        .lines()
        .filter_map(|line| line.split_once("login ")?.1.split_once(" more failed")?.0.parse().ok())
        .collect();
    let single = single.count();
    assert!(single <= 10 * (counts.len() + 1), "{single} lines, {counts:?}");
    assert_eq!(single + counts.iter().sum::<usize>(), 10_000, "each guess has a line or is counted");
}

#[test]
fn the_access_page_in_a_browser() {
    let container = with_echo(RunOptions::new());
    let [user, password, _] = container.login();
    let browser = Browser::start(900, 900);
    browser.open(&format!("http://{}/leonardo/login", container.address(1111)));
    browser.type_into("[name=username]", &user);
    browser.type_into("[name=password]", &password);
    browser.click("button");
    browser.wait_for_text("h1", "Services");
    browser.open(&format!("http://{}/leonardo/access", container.address(1111)));
    browser.click("details:has([action$=share]) summary");
    browser.click("form[action$=share] button");
    browser.wait_for_partial_text(".made code", "/leonardo/share?link=");
    browser.wait_for_partial_text("#shares", "port 8080; expires in 1 d; used 0");
    browser.screenshot(&picture("access"));
    browser.click("form[action$=phone] button");
    browser.wait_for_partial_text(".sheet code", "/leonardo/enter?code=");
    browser.screenshot(&picture("phone"));
    let address = browser.text(".sheet code");
    let phone = Browser::start(390, 780);
    phone.open(&address);
    phone.screenshot(&picture("enter-phone"));
    phone.click("button");
    phone.wait_for_text("h1", "Services");
    phone.screenshot(&picture("portal-phone"));
}

/// Each kind of client, as it requests a page of the service.
fn clients(web: &HttpClient) -> [(&'static str, HttpClient); 3] {
    let socket = web.with("upgrade", "websocket").with("connection", "Upgrade");
    let origin = format!("http://{}", web.address());
    [("browser", web.browser()), ("curl", web.clone()), ("websocket", socket.with("origin", &origin))]
}

/// Statuses that the three clients get with something that should open the service, or should not.
fn answers(web: &HttpClient, with: impl Fn(&HttpClient) -> HttpClient) -> [u16; 3] {
    clients(web).map(|(_, client)| with(&client).get("/").status)
}

/// The echo is no websocket, so that an allowed one fails at the service.
const INSIDE: [u16; 3] = [200, 200, 502];
/// A browser is redirected to the form, other clients get an error.
const OUTSIDE: [u16; 3] = [302, 401, 401];

#[test]
fn every_way_in_for_every_client_right_wrong_expired_and_revoked() {
    let container = with_echo(RunOptions::new());
    let [user, password, token] = container.login();
    let web = container.web(8080);
    let cookie = |value: String| move |web: &HttpClient| web.with("cookie", &value);
    let bearer =
        |token: String| move |web: &HttpClient| web.with("authorization", &format!("Bearer {token}"));
    let basic = |password: String| {
        let user = user.clone();
        move |web: &HttpClient| web.basic(&user, &password)
    };
    let mut table: Vec<(&str, &str, [u16; 3], [u16; 3])> = Vec::new();

    let form = web.log_in(&user, &password).cookie();
    let (by_token, _) = exchange(&web, &format!("/?token={token}"));
    let once = press(&web, &path_of(&link(&container, &["portal-link"], 8080))).cookie();
    let shared = link(&container, &["share", "Echo"], 8080);
    let guest = press(&web, &path_of(&shared)).cookie();
    for (way, value) in
        [("form", &form), ("?token=", &by_token), ("one-time link", &once), ("share link", &guest)]
    {
        table.push((way, "right", answers(&web, cookie(value.clone())), INSIDE));
        let (name, _) = value.split_once('=').unwrap();
        table.push((way, "wrong", answers(&web, cookie(format!("{name}=guess"))), OUTSIDE));
    }
    table.push(("Bearer", "right", answers(&web, bearer(token.clone())), INSIDE));
    table.push(("Basic", "right", answers(&web, basic(password.clone())), INSIDE));
    table.push(("Bearer", "wrong", answers(&web, bearer("guess".into())), OUTSIDE));
    answers(&web, bearer(token.clone()));
    table.push(("Basic", "wrong", answers(&web, basic("guess".into())), OUTSIDE));
    answers(&web, bearer(token.clone()));

    // Revoked one by one: the link by command, one session on the page.
    let id = container.exec(&["share", "--list"]).text().split(' ').next().unwrap().to_owned();
    container.exec(&["share", "--revoke", &id]).text();
    table.push(("share link", "revoked", answers(&web, cookie(guest)), OUTSIDE));
    let out = |web: &HttpClient| {
        let origin = format!("http://{}", web.address());
        web.with("cookie", &by_token).with("origin", &origin).send("POST", "/leonardo/logout", "").status
    };
    assert_eq!(out(&web), 303);
    table.push(("?token=", "right", answers(&web, cookie(by_token.clone())), INSIDE));
    assert_eq!(out(&container.web(1111)), 303);
    table.push(("?token=", "revoked", answers(&web, cookie(by_token)), OUTSIDE));

    // Expired: their ends are moved into the past while the portal does not look.
    let age = "supervisorctl stop serviceportal && sed -i 's/\"ends\":[0-9]*/\"ends\":1/g' /var/lib/portal/sessions.json && \
               supervisorctl start serviceportal";
    container.sh(age).text();
    container.wait_for(8080);
    table.push(("form", "expired", answers(&web, cookie(form)), OUTSIDE));
    table.push(("one-time link", "expired", answers(&web, cookie(once)), OUTSIDE));

    // Revoked all together: another login.
    let again = web.log_in(&user, &password).cookie();
    let change = "sed -i -e 's/\"web_password\":\"[^\"]*\"/\"web_password\":\"another\"/' \
                  -e 's/\"web_token\":\"[^\"]*\"/\"web_token\":\"another\"/' /opt/leonardo/etc/web_credentials.json";
    container.sh(change).text();
    table.push(("form", "revoked", answers(&web, cookie(again)), OUTSIDE));
    table.push(("Bearer", "revoked", answers(&web, bearer(token)), OUTSIDE));
    table.push(("Bearer", "right", answers(&web, bearer("another".into())), INSIDE));
    table.push(("Basic", "revoked", answers(&web, basic(password)), OUTSIDE));
    table.push(("Basic", "right", answers(&web, basic("another".into())), INSIDE));

    let shown: Vec<String> = table
        .iter()
        .map(|(way, state, [browser, curl, socket], _)| {
            format!("| {way} | {state} | {browser} | {curl} | {socket} |")
        })
        .collect();
    let text = format!(
        "| way | state | browser | curl | websocket |\n|---|---|---|---|---|\n{}\n",
        shown.join("\n")
    );
    std::fs::write(picture("ways-in").with_extension("md"), &text).unwrap();
    for (way, state, found, expected) in table {
        assert_eq!(found, expected, "{way}, {state}\n{text}");
    }
}

#[test]
fn a_neighbour_who_has_seen_the_cookie_cannot_use_it() {
    // The engine's own network is trusted here, so that a header can name a visitor's address.
    let networks = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16";
    let container = RunOptions::new().env("WEB_TRUSTED_PROXIES", networks).start_and_wait();
    let [user, password, _] = container.login();
    let from = |address: &str| container.web(1111).with("x-forwarded-for", address);
    let cookie = from("203.0.113.9").log_in(&user, &password).cookie();
    assert_eq!(from("203.0.113.9").with("cookie", &cookie).get("/").status, 200);
    assert_eq!(from("203.0.113.200").with("cookie", &cookie).get("/").status, 200, "the same network");
    assert_eq!(from("198.51.100.7").with("cookie", &cookie).get("/").status, 401);
}

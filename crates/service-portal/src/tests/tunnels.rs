//! Tunnels on the page of services, and logins through them.

use tunnels::{Cause, Kind, State, Status, Tunnel};

use super::fixture::{FORM, Portal};

fn tunnel(port: u16, state: State, host: Option<&str>, cause: Option<Cause>) -> Tunnel {
    let url = host.map(|host| format!("https://{host}.trycloudflare.com"));
    Tunnel { port, state, url, cause, detail: None, retry_at: None }
}

/// Returns a portal with a tunnel to itself and to Echo; one to port 9000 cannot be opened.
fn portal() -> Portal {
    let portal = Portal::new();
    portal.register("Waits", 9000, true);
    let tunnels = vec![
        tunnel(1111, State::Open, Some("portal"), None),
        tunnel(8188, State::Open, Some("echo"), None),
        tunnel(9000, State::Waiting, None, Some(Cause::EdgeBlocked)),
    ];
    write(&portal, &Status { tunnels, ..Status::default() });
    portal
}

fn write(portal: &Portal, status: &Status) {
    let directory = portal.directory.path().join("tunnels");
    std::fs::create_dir_all(&directory).unwrap();
    status.write(Kind::Quick, &directory).unwrap();
}

#[test]
fn each_service_shows_its_tunnel_and_problems_are_on_the_portals_port_only() {
    let portal = portal();
    let page = |words: &str| portal.send(&format!("{words} page session /leonardo/"), "").body;
    let own = page("portal host=gpu.lan:1111");
    let link = "<a class=\"url\" href=\"https://echo.trycloudflare.com/\">echo.trycloudflare.com</a>";
    let reason = "<span class=\"note\">outgoing TCP and UDP to port 7844 are blocked</span>";
    assert!(own.contains(link) && own.contains(reason), "{own}");
    let problem = "<b>tunnel to port 9000</b> outgoing TCP and UDP to port 7844 are blocked</p>\n\
                   <p class=\"remedy\">allow one of them, or use a published port or an SSH tunnel</p>";
    assert!(own.contains(problem) && own.contains("Starting, </span>1 warning<"), "{own}");
    let of_service = page("host=gpu.lan:8188");
    assert!(of_service.contains(link) && !of_service.contains("7844"), "{of_service}");

    let missing = Status { cause: Some(Cause::Missing), ..Status::default() };
    write(&portal, &missing);
    let note = "<p class=\"hint\">No tunnels: cloudflared is not in this image; ";
    let own = page("portal host=gpu.lan:1111");
    assert!(own.contains(note) && own.contains("aria-label=\"Problems\" hidden"), "{own}");
    assert!(!page("host=gpu.lan:8188").contains("cloudflared"));
}

#[test]
fn a_login_in_a_tunnel_is_at_the_tunnel_of_the_portal_and_leads_back() {
    let portal = portal();
    let form = portal
        .send("page x-forwarded-proto=https host=echo.trycloudflare.com /leonardo/login?next=/lab", "")
        .body;
    let href = "https://portal.trycloudflare.com/leonardo/login?port=8188&#38;next=/lab";
    assert!(form.contains(href), "{form}");
    let logged_in = portal.send(
        "POST port=1111 x-forwarded-proto=https host=portal.trycloudflare.com origin=https://portal.trycloudflare.com /leonardo/login",
        &format!("{FORM}&port=8188&next=/lab"),
    );
    let place = logged_in.header("location").unwrap();
    assert!(place.starts_with("https://echo.trycloudflare.com/leonardo/arrive?code="), "{place}");
    assert!(place.ends_with("&next=/lab"), "{place}");
}

#[test]
fn a_phone_gets_the_tunnel_where_the_visitor_is_at_localhost() {
    let portal = portal();
    let phone = |host: &str| {
        portal
            .send(
                &format!("portal own session host={host} origin=http://{host} POST /leonardo/access/phone"),
                "",
            )
            .body
    };
    for host in ["localhost:1111", "127.0.0.1:1111", "[::1]:1111"] {
        let page = phone(host);
        assert!(page.contains("https://portal.trycloudflare.com/leonardo/enter?code="), "{page}");
    }
    let page = phone("192.168.1.7:1111");
    assert!(page.contains("http://192.168.1.7:1111/leonardo/enter?code="), "{page}");
}

//! The named tunnel.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::json;
use tunnels::{Cause, Kind, NoTunnel, State, Tunnels};

use crate::fixture::World;

/// Base64 of `{"a":"account0","s":"c2VjcmV0IHNlY3JldA","t":"5b1c4b6e-4b0b-4d0e-9c5b"}`.
pub const TOKEN: &str =
    "eyJhIjoiYWNjb3VudDAiLCJzIjoiYzJWamNtVjBJSE5sWTNKbGRBIiwidCI6IjViMWM0YjZlLTRiMGItNGQwZS05YzViIn0=";

/// Returns a running named tunnel.
fn named(mode: &str, token: &str) -> World {
    let mut world = World::new(Kind::Named, mode);
    fs::write(world.path("token"), token).unwrap();
    fs::set_permissions(world.path("token"), fs::Permissions::from_mode(0o640)).unwrap();
    chown(world.path("token"), None, Some(65534)).unwrap();
    let rule =
        |name: &str, port: u16| json!({"hostname": name, "service": format!("http://localhost:{port}")});
    let rules = [
        rule("portal.example.com", 1111),
        rule("comfy.example.com", 8188),
        rule("raw.example.com", 18188),
        json!({"service": "http_status:404"}),
    ];
    let configuration = json!({"version": 7, "config": {"ingress": rules}});
    fs::write(world.path("stand-in/config.json"), configuration.to_string()).unwrap();
    world.register(8188, true);
    world.start(&[]);
    world
}

#[test]
fn its_hostnames_are_addresses_and_one_that_leads_past_the_login_is_reported() {
    let world = named("ok", TOKEN);
    world.until("both", || (world.status().tunnels.len() == 3).then_some(()));
    let tunnels = Tunnels::read(&world.path("run"));
    assert_eq!(tunnels.named_url(1111), Ok("https://portal.example.com"));
    assert_eq!(tunnels.url(8188), Some("https://comfy.example.com"));
    assert_eq!(tunnels.port_of("comfy.example.com"), Some(8188));
    let reason = "no hostname of the tunnel leads there".to_owned();
    assert_eq!(tunnels.named_url(3000), Err(NoTunnel { reason, hint: None }));
    let problems: Vec<String> = tunnels.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "tunnel to port 8188: https://raw.example.com leads to port 18188, which has no login; point it to \
          http://localhost:8188 in Cloudflare's dashboard"
        ]
    );
    let log = world.log();
    assert!(log.contains("tunnel to ComfyUI (port 8188): https://comfy.example.com\n"), "{log}");
    assert!(
        log.contains("warning: https://raw.example.com leads to port 18188, which has no login\n"),
        "{log}"
    );
    assert!(log.contains(" INF Registered tunnel connection connIndex=3"), "its own lines are there: {log}");
    assert_eq!(world.starts().len(), 1);
    assert!(world.starts()[0].ends_with(" run"), "{:?}", world.starts());
}

#[test]
fn a_value_that_is_no_token_is_named_and_so_is_a_revoked_one() {
    for (mode, token, cause, message) in [
        ("ok", "cloudflared service install eyJ", Cause::BadToken, "CF_TUNNEL_TOKEN is not a tunnel token"),
        ("unauthorized-loop", TOKEN, Cause::Unauthorized, "Cloudflare does not accept the tunnel token"),
    ] {
        let world = named(mode, token);
        world.until_logged(&format!("warning: the tunnel of CF_TUNNEL_TOKEN: {message}; next attempt in "));
        world.until("the cause", || (world.status().cause == Some(cause)).then_some(()));
        let problems = Tunnels::read(&world.path("run")).problems();
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].to_string().starts_with(&format!("CF_TUNNEL_TOKEN: {message}; ")),
            "{}",
            problems[0]
        );
        assert!(!world.log().contains("install eyJ"));
    }
}

#[test]
fn a_missing_token_file_is_named() {
    let world = World::new(Kind::Named, "ok").started(&[]);
    world.until_logged("the tunnel of CF_TUNNEL_TOKEN: cloudflared cannot read its token");
}

#[test]
fn a_connection_that_is_lost_withdraws_all_hostnames_until_it_is_back() {
    let world = named("lose-after=60", TOKEN);
    world.until_state(1111, State::Open);
    assert!(world.until_state(1111, State::Lost).url.is_some());
    let tunnels = Tunnels::read(&world.path("run"));
    assert!(tunnels.url(1111).is_none() || world.tunnel(1111).unwrap().state == State::Open);
    world.until_state(1111, State::Open);
}

#[test]
fn blocked_udp_changes_it_to_http2() {
    let world = named("udp-blocked", TOKEN);
    world.until_state(1111, State::Open);
    let log = world.log();
    assert!(
        log.contains("the tunnel of CF_TUNNEL_TOKEN: UDP to port 7844 is blocked; using HTTP/2"),
        "{log}"
    );
    assert_eq!(world.starts().len(), 1, "{log}");
}

#[test]
fn its_hostnames_are_unknown_while_it_is_opened() {
    let world = named("not-ready", TOKEN);
    world.until("the status", || world.status().is_opening.then_some(()));
    let no = Tunnels::read(&world.path("run")).named_url(8188).unwrap_err();
    assert_eq!(no.reason, "it is being opened");
}

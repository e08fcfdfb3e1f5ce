//! Every way in which cloudflared fails: cause, message, attempts, and the tunnel afterwards.

use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tunnels::{Cause, Kind, State};

use crate::fixture::World;

/// A failing start, followed by good ones.
struct Row {
    mode: &'static str,
    /// Cause in the status file, if there is one.
    cause: Option<Cause>,
    /// Text in the log.
    message: &'static str,
    /// Starts until the tunnel is open.
    starts: usize,
}

const fn row(mode: &'static str, cause: Cause, message: &'static str) -> Row {
    Row { mode, cause: Some(cause), message, starts: 2 }
}

/// Checks all rows at the same time, so that no cause is shorter than the look at it.
fn each(rows: &[Row], check: impl Fn(&World, &Row) + Sync) {
    // No program is copied while another thread starts one, which would inherit the open file.
    let worlds: Vec<World> = rows.iter().map(|row| World::new(Kind::Quick, row.mode)).collect();
    thread::scope(|scope| {
        for (mut world, row) in worlds.into_iter().zip(rows) {
            let check = &check;
            scope.spawn(move || {
                world.start(&[]);
                check(&world, row);
            });
        }
    });
}

/// Starts that fail before there is an address.
const NEVER_OPEN: &[Row] = &[
    row(
        "429 x1",
        Cause::RateLimited,
        "warning: tunnel to the portal (port 1111): Cloudflare accepts no more new quick tunnels from this address for now \
         (429); next attempt in ",
    ),
    row("500 x1", Cause::ServiceDown, "Cloudflare's quick tunnel service failed"),
    row("badjson x1", Cause::ServiceDown, "Cloudflare's quick tunnel service failed"),
    row("nouuid x1", Cause::ServiceDown, "Cloudflare's quick tunnel service failed"),
    row("nodns x1", Cause::NoDns, "the container cannot resolve api.trycloudflare.com"),
    row("slow15 x1", Cause::ApiUnreachable, "api.trycloudflare.com does not answer"),
    row("x509 x1", Cause::ApiCertificate, "a proxy on the way replaces Cloudflare's certificate"),
    row("edge-dns x1", Cause::EdgeDns, "the DNS server has no SRV records of Cloudflare's edge"),
    row("tcp-blocked x1", Cause::EdgeBlocked, "outgoing TCP and UDP to port 7844 are blocked"),
    row("unauthorized-loop x1", Cause::Unauthorized, "Cloudflare has ended this tunnel"),
    row("not-ready x1", Cause::NotConnected, "cloudflared did not connect within a minute"),
    row("evil-host x1", Cause::NotConnected, "cloudflared did not connect within a minute"),
    row("hang x1", Cause::Hung, "cloudflared does not answer"),
    row("big-answer x1", Cause::Hung, "cloudflared does not answer"),
    row("empty-answer x1", Cause::NotConnected, "cloudflared did not connect within a minute"),
    row(
        "old x1",
        Cause::TooOld,
        "this cloudflared is too old: flag provided but not defined: -max-edge-addr-retries; next attempt in ",
    ),
    row(
        "die-after=1 x1",
        Cause::Exited,
        "cloudflared exited with status 2: panic: runtime error: invalid memory address; next attempt in ",
    ),
    Row { mode: "metrics-taken x2", cause: None, message: "", starts: 3 },
    Row {
        mode: "metrics-taken x3",
        cause: Some(Cause::PortTaken),
        message: "another program has the port of cloudflared's metrics",
        starts: 4,
    },
    Row { mode: "udp-blocked", cause: None, message: "UDP to port 7844 is blocked; using HTTP/2", starts: 1 },
    Row { mode: "unauthorized-first", cause: None, message: "", starts: 1 },
    Row { mode: "no-newline", cause: None, message: "", starts: 1 },
    Row { mode: "flood", cause: None, message: "", starts: 1 },
];

#[test]
fn a_failed_start_is_explained_and_followed_by_a_tunnel() {
    each(NEVER_OPEN, |world, row| {
        if let Some(cause) = row.cause {
            let tunnel = world.until_cause(cause);
            assert_eq!(tunnel.url, None, "{}", row.mode);
        }
        let tunnel = world.until_state(1111, State::Open);
        let url = tunnel.url.unwrap();
        assert!(
            url.starts_with("https://four-random-english-") && url.ends_with(".trycloudflare.com"),
            "{url}"
        );
        assert_eq!((tunnel.cause, tunnel.detail, tunnel.retry_at), (None, None, None), "{}", row.mode);
        let log = world.log();
        assert!(log.contains(row.message), "{}: {log}", row.mode);
        assert!(log.contains(&format!("tunnel to the portal (port 1111): {url}\n")), "{}: {log}", row.mode);
        assert_eq!(world.starts().len(), row.starts, "{}: {log}", row.mode);
    });
}

#[test]
fn the_cause_of_a_failure_is_in_the_status_until_the_tunnel_is_open() {
    let world = World::quick("nodns");
    let tunnel = world.until_state(1111, State::Waiting);
    assert_eq!((tunnel.cause, tunnel.url), (Some(Cause::NoDns), None));
    assert!(tunnel.retry_at.is_some());
    world.set_mode("ok");
    world.until_state(1111, State::Open);
}

#[test]
fn an_open_tunnel_that_fails_is_withdrawn_and_comes_back_or_is_replaced() {
    let rows = [
        // Back by itself, with its address.
        Row {
            mode: "lose-after=60",
            cause: Some(Cause::Lost),
            message: "the connection to Cloudflare was lost",
            starts: 1,
        },
        row("lost-after=60 x1", Cause::Lost, "the connection to Cloudflare was lost"),
        row("hang-after=60 x1", Cause::Hung, "cloudflared does not answer; next attempt in "),
        row(
            "unauthorized-after=60 x1",
            Cause::Unauthorized,
            "Cloudflare has ended this tunnel; next attempt in ",
        ),
        row("die-after=60 x1", Cause::Exited, "cloudflared exited with status 2: panic: runtime error"),
        row("exit0-after=60 x1", Cause::Exited, "cloudflared exited with status 0: "),
    ];
    each(&rows, |world, row| {
        row.cause.map(|cause| world.until_cause(cause));
        let published = || world.log().matches("tunnel to the portal (port 1111): https://").count();
        world.until("a second address", || (published() >= 2).then_some(()));
        world.until_state(1111, State::Open);
        let log = world.log();
        assert!(log.contains(row.message), "{}: {log}", row.mode);
        assert_eq!(world.starts().len(), row.starts, "{}: {log}", row.mode);
    });
}

#[test]
fn a_proxy_that_does_not_answer_is_named_while_it_does_not() {
    let world = World::quick("origin-down");
    world.until("the cause", || world.tunnel(1111).filter(|tunnel| tunnel.cause == Some(Cause::GateDown)));
    assert_eq!(world.tunnel(1111).unwrap().state, State::Open);
    world.until("the end", || world.tunnel(1111).filter(|tunnel| tunnel.cause.is_none()));
}

#[test]
fn blocked_udp_is_remembered_until_nothing_connects() {
    let world = World::quick("udp-blocked x1\ndie-after=60 x1\nnot-ready x1");
    world.until_state(1111, State::Open);
    let process = world.children()[0].id().unwrap();
    kill(Pid::from_raw(process), Signal::SIGKILL).unwrap();
    world.until_logged("cloudflared was terminated by signal 9: ");
    world.until("a fourth start", || (world.starts().len() == 4).then_some(()));
    let auto: Vec<bool> = world.starts().iter().map(|start| start.contains("--protocol auto")).collect();
    assert_eq!(auto, [true, false, false, true], "{}", world.log());
}

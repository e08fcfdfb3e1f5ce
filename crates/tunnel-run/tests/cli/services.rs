//! Tunnels of registered services.

use tunnels::{Cause, State};

use crate::fixture::{PROXY, World};

#[test]
fn each_service_with_a_login_has_a_tunnel_to_its_public_port() {
    let world = World::quick("ok");
    world.register(8188, true);
    world.register(3000, false);
    let url = world.until_state(8188, State::Open).url.unwrap();
    world.until_state(1111, State::Open);
    let off = world.until_state(3000, State::Off);
    assert_eq!((off.cause, off.url), (Some(Cause::NoLogin), None));
    assert!(world.log().contains(&format!("tunnel to ComfyUI (port 8188): {url}\n")), "{}", world.log());
    let ports: Vec<u16> = world.status().tunnels.iter().map(|tunnel| tunnel.port).collect();
    assert_eq!(ports, [1111, 3000, 8188]);
    // The service's own port, 18188, is behind the login.
    let ends = ["--url http://127.0.0.1:1111", "--url http://127.0.0.1:8188"];
    assert!(
        ends.iter().all(|end| world.starts().iter().any(|start| start.ends_with(end))),
        "{:?}",
        world.starts()
    );
    // Its address is not in the log before it can be used, and then it is.
    let log = world.tunnel_log(8188);
    assert_eq!(log.matches(&url).count(), 1, "{log}");
    assert!(log.contains("Registered tunnel connection") && log.ends_with(&format!("{url}\n")), "{log}");
}

#[test]
fn a_service_that_is_removed_keeps_its_address_for_a_while_and_a_login_that_is_turned_off_closes_it_at_once()
{
    let world = World::quick("ok");
    world.register(3000, true);
    world.register(8188, true);
    let (first, second) =
        (world.until_state(8188, State::Open).url, world.until_state(3000, State::Open).url);
    world.unregister(8188);
    world.register(3000, false);
    assert_eq!(world.until_state(3000, State::Off).cause, Some(Cause::NoLogin));
    world.register(8188, true);
    world.until("one process less", || (world.children().len() == 2).then_some(()));
    assert_eq!(world.until_state(8188, State::Open).url, first, "removed for a moment");
    world.unregister(8188);
    world.until("the tunnel to be closed", || world.tunnel(8188).is_none().then_some(()));
    world.until("the portal's process alone", || (world.children().len() == 1).then_some(()));
    world.register(3000, true);
    assert_ne!(world.until_state(3000, State::Open).url, second);
    assert_eq!(world.starts().len(), 4, "{}", world.log());
}

#[test]
fn a_limit_of_cloudflares_pauses_all_tunnels() {
    let world = World::quick("1111: ok\n8188: 429 x1");
    world.register(8188, true);
    world.until_logged("tunnel to ComfyUI (port 8188): Cloudflare accepts no more new quick tunnels");
    world.register(9000, true);
    let waiting = world.until_state(9000, State::Waiting);
    assert_eq!(waiting.cause, Some(Cause::RateLimited));
    assert!(waiting.retry_at.is_some());
    world.until_state(8188, State::Open);
    world.until_state(9000, State::Open);
    assert_eq!(world.starts().len(), 4, "{}", world.log());
}

#[test]
fn a_port_on_which_another_program_listens_has_no_tunnel() {
    let world = World::quick("ok");
    world.register(8188, true);
    world.listen(8188, 1000);
    let off = world.until_state(8188, State::Off);
    assert_eq!((off.cause, off.url), (Some(Cause::PortHeld), None));
    let message = "warning: tunnel to ComfyUI (port 8188): another program listens on the port, so that visitors would need \
                   no login\n";
    world.until_logged(message);
    world.until_state(1111, State::Open);
    assert!(world.starts().iter().all(|start| start.starts_with("1111 ")), "{:?}", world.starts());
    world.listen(8188, PROXY);
    world.until_state(8188, State::Open);
    world.listen(1111, 1000);
    world.until_state(1111, State::Off);
    world.until("one process", || (world.children().len() == 1).then_some(()));
    world.listen(8188, 1000);
    world.until_state(8188, State::Off);
    world.unregister(8188);
    world.until("the end of the entry", || world.tunnel(8188).is_none().then_some(()));
    assert_eq!(world.log().matches(message).count(), 2, "{}", world.log());
}

#[test]
fn https_and_the_registered_port_of_the_metrics_are_used() {
    let mut world = World::new(tunnels::Kind::Quick, "ok");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let service = format!(
        r#"{{"service_name":"x","listen_port":18188,"proxy_port":8188,"metrics_port":{free},"service_url":"/"}}"#
    );
    std::fs::write(world.path("registry/8188"), service).unwrap();
    world.listen(8188, PROXY);
    world.start(&[("WEB_ENABLE_HTTPS", "true")]);
    world.until_state(8188, State::Open);
    let starts = world.starts();
    let start = starts.iter().find(|start| start.starts_with("8188 ")).unwrap();
    assert!(start.ends_with("--no-tls-verify --url https://127.0.0.1:8188"), "{start}");
    assert!(start.contains(&format!("--metrics 127.0.0.1:{free} ")), "{start}");
}

#[test]
fn a_bad_registry_affects_nothing_else() {
    let world = World::quick("ok");
    std::fs::write(world.path("registry/3000"), "{").unwrap();
    std::os::unix::fs::symlink("/etc/shadow", world.path("registry/3001")).unwrap();
    world.register(8188, true);
    world.until_state(8188, State::Open);
    std::fs::remove_dir_all(world.path("registry")).unwrap();
    world.until_state(1111, State::Open);
    assert_eq!(world.tunnel(8188).unwrap().state, State::Open, "an unreadable registry is as it was");
}

#[test]
fn a_port_that_caddy_does_not_serve_is_a_problem_until_it_does() {
    let mut world = World::new(tunnels::Kind::Quick, "ok");
    std::fs::write(world.path("net/tcp"), "").unwrap();
    world.start(&[]);
    let tunnel = world.until_cause(Cause::GateDown);
    assert_eq!((tunnel.state, world.starts().len()), (State::Opening, 0));
    let problems = tunnels::Tunnels::read(&world.path("run")).problems();
    assert_eq!(
        problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["tunnel to port 1111: the port does not answer in the container; run: supervisorctl status caddy"]
    );
    world.listen(1111, PROXY);
    assert_eq!(world.until_state(1111, State::Open).cause, None);
}

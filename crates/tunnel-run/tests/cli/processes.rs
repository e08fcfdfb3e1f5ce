//! Kills, signals, and a program that is missing.

use std::fs;
use std::process::Command;

use kit::process::Process;
use nix::sys::signal::{SigSet, Signal};
use tunnels::{Cause, Kind, State};

use crate::fixture::World;

#[test]
fn a_killed_tunnel_run_leaves_no_cloudflared_and_the_next_one_opens_new_tunnels() {
    let mut world = World::quick("ok");
    let first = world.until_state(1111, State::Open).url;
    assert_eq!(world.children().len(), 1);
    world.end(Signal::SIGKILL);
    world.until("no process", || world.children().is_empty().then_some(()));
    world.start(&[]);
    world.until("another address", || {
        world.tunnel(1111).filter(|tunnel| tunnel.state == State::Open && tunnel.url != first)
    });
}

#[test]
fn a_stop_ends_every_cloudflared_and_removes_the_status() {
    for mode in ["ok", "ignore-term", "flood"] {
        let mut world = World::quick(mode);
        world.register(8188, true);
        world.until_state(1111, State::Open);
        world.until_state(8188, State::Open);
        world.end(Signal::SIGTERM);
        assert_eq!(world.children(), [], "{mode}");
        assert!(!world.path("run/quicktunnel.json").exists(), "{mode}");
        let graceful = world.tunnel_log(8188).contains("Initiating graceful shutdown");
        assert!(graceful || mode != "ok", "{}", world.tunnel_log(8188));
    }
}

#[test]
fn a_flood_fills_no_disk() {
    let mut world = World::quick("flood");
    world.until_state(1111, State::Open);
    let log = || world.tunnel_log(1111);
    world.until("a report", || log().contains(" lines dropped").then_some(()));
    assert!(log().len() < 100_000, "{}", log().len());
    world.end(Signal::SIGTERM);
}

#[test]
fn a_second_tunnel_run_is_refused() {
    let mut world = World::quick("ok");
    world.until_state(1111, State::Open);
    let first = world.running.take();
    world.start(&[]);
    let mut second = world.running.take().unwrap();
    world.until("its exit", || second.try_wait().unwrap());
    world.until_logged("tunnel-run: another tunnel-run keeps the tunnels of quicktunnel open");
    world.running = first;
    assert_eq!(world.children().len(), 1);
}

#[test]
fn cloudflared_has_its_account_and_no_privilege() {
    let world = World::quick("ok");
    world.until_state(1111, State::Open);
    let process = world.children().remove(0);
    let status = process.status().unwrap();
    let field = |name: &str| status.number::<u64>(&format!("{name}:"), 16).unwrap();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), 0, "{set}");
    }
    assert_eq!((field("NoNewPrivs"), status.number::<u32>("Uid:", 10)), (1, Some(65534)));
    let environment = fs::read(process.path("environ")).unwrap();
    assert_eq!(environment, b"HOME=/run/cloudflared\0");
    let parent = process.stat().unwrap().parent;
    assert_eq!(u32::try_from(parent).unwrap(), world.id());
    assert!(Process::new(world.id()).exists());
}

#[test]
fn a_program_that_is_added_later_is_used() {
    let mut world = World::new(Kind::Quick, "ok");
    fs::rename(world.program(), world.path("later")).unwrap();
    world.start(&[]);
    world.until("the cause", || (world.status().cause == Some(Cause::Missing)).then_some(()));
    let message = "tunnel-run: no tunnels: cloudflared is not in this image; run cloudflared in the container to see how to add it\n";
    world.until_logged(message);
    fs::rename(world.path("later"), world.program()).unwrap();
    world.until_state(1111, State::Open);
    assert_eq!(world.log().matches(message).count(), 1);
}

#[test]
fn a_program_that_cannot_be_executed_is_named() {
    let mut world = World::new(Kind::Quick, "ok");
    fs::remove_file(world.program()).unwrap();
    fs::write(world.program(), "#!/nonexistent/interpreter\n").unwrap();
    fs::set_permissions(world.program(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    world.start(&[]);
    world.until_logged(&format!(
        "(port 1111): cannot run {}: No such file or directory",
        world.program().display()
    ));
    assert_eq!(world.tunnel(1111).unwrap().cause, Some(Cause::CannotRun));
}

#[test]
fn without_a_login_there_is_no_quick_tunnel() {
    let mut world = World::new(Kind::Quick, "ok").started(&[("WEB_ENABLE_AUTH", "false")]);
    world.until_logged(
        "warning: quick tunnels need the login, which WEB_ENABLE_AUTH=false turns off; none is opened",
    );
    world.end(Signal::SIGTERM);
    assert_eq!(world.starts(), Vec::<String>::new());
}

#[test]
fn cloudflared_receives_the_signals_for_which_tunnel_run_waits() {
    let set = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    set.thread_block().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tunnel-run"));
    command.args(["--account", "nobody", "child", &std::process::id().to_string(), "--"]);
    let output = command.args(["/bin/grep", "SigBlk", "/proc/self/status"]).output().unwrap();
    set.thread_unblock().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "SigBlk:\t0000000000000000\n", "{output:?}");
}

#[test]
fn a_missing_program_is_reported_once_even_if_the_status_cannot_be_written() {
    let mut world = World::new(Kind::Quick, "ok");
    fs::remove_file(world.program()).unwrap();
    // No file can replace a directory.
    fs::create_dir_all(world.path("run/quicktunnel.json/x")).unwrap();
    world.start(&[]);
    world.until_logged("warning: ");
    // It is tried again in every tick.
    let attempts = || fs::metadata(world.path("run")).unwrap().modified().unwrap();
    for _ in 0..3 {
        let last = attempts();
        world.until("another attempt", || (attempts() != last).then_some(()));
    }
    assert_eq!(world.log().matches("no tunnels: ").count(), 1, "{}", world.log());
    fs::remove_dir_all(world.path("run/quicktunnel.json")).unwrap();
    world.until("the status", || (world.status().cause == Some(Cause::Missing)).then_some(()));
}

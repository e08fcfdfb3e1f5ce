//! The token of the named tunnel stays in its file.

use std::fs;
use std::path::Path;

use kit::process::Process;
use tunnels::Kind;

use crate::fixture::World;
use crate::named::TOKEN;

#[test]
fn no_part_of_the_token_is_in_a_log_an_argument_or_an_environment() {
    for kind in [Kind::Named, Kind::Quick] {
        let mut world = World::new(kind, "ok");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        fs::write(world.path("token"), TOKEN).unwrap();
        fs::set_permissions(world.path("token"), mode).unwrap();
        std::os::unix::fs::chown(world.path("token"), None, Some(65534)).unwrap();
        world.start(&[("CF_TUNNEL_TOKEN", TOKEN), ("TUNNEL_TOKEN", TOKEN), ("TUNNEL_URL", TOKEN)]);
        let program = if kind == Kind::Named {
            "the tunnel of CF_TUNNEL_TOKEN is open"
        } else {
            "(port 1111): https://"
        };
        world.until_logged(program);
        let parts: Vec<&[u8]> = TOKEN.as_bytes().windows(8).collect();
        let has_part = |text: &[u8]| text.windows(8).any(|window| parts.contains(&window));
        // The check itself works.
        assert!(has_part(format!("x{}", &TOKEN[20..30]).as_bytes()));
        let own = [Process::new(world.id())];
        for process in world.children().iter().chain(&own) {
            for file in ["environ", "cmdline"] {
                assert!(!has_part(&fs::read(process.path(file)).unwrap()), "{file}");
            }
        }
        fs::remove_file(world.path("token")).unwrap();
        let mut files = Vec::new();
        collect(&world.path(""), &mut files);
        assert!(files.len() > 4);
        for (path, content) in files {
            assert!(!has_part(&content), "{path}");
        }
        // The stand-in logs variables as cloudflared does, and has only harmless ones.
        let log = if kind == Kind::Named { world.log() } else { world.tunnel_log(1111) };
        let variables = log.lines().find(|line| line.contains("Environmental variables"));
        let token_file = format!("map[TUNNEL_TOKEN_FILE:{}]", world.path("token").display());
        assert_eq!(variables.is_some_and(|line| line.ends_with(&token_file)), kind == Kind::Named, "{log}");
    }
}

/// Reads every file but the program.
fn collect(directory: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.file_name().unwrap() != "cloudflared" {
            files.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

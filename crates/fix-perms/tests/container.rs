//! `/opt`, also on an overlay file system.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod machine;

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use dirfd::xattr::Node;

use machine::{Machine, Ran, mode_and_group, retry_tool, tool};

fn group() -> u32 {
    uzers::get_group_by_name("daemon").unwrap().gid()
}

/// `/opt` as a build could leave it: two wrong entries, correct ones, and trees that are never entered.
fn opt() -> Machine {
    let machine = Machine::new();
    for name in ["opt", "opt/leonardo", "opt/caddy", "opt/supervisor", "opt/.image", "opt/rocm-6.4"] {
        machine.directory(name, 0o755);
        machine.file(format!("{name}/of-root"), 0o755);
    }
    fs::remove_file(machine.path("opt/of-root")).unwrap();
    fs::remove_file(machine.path("opt/.image/of-root")).unwrap();
    let group = Some(group());
    for name in ["opt/.image/tree", "opt/.image/tree/bin", "opt/storage"] {
        let path = machine.directory(name, 0o755);
        std::os::unix::fs::chown(&path, None, group).unwrap();
        machine.directory(name, 0o2775);
    }
    let right = machine.file("opt/.image/tree/bin/right", 0o775);
    std::os::unix::fs::chown(right, None, group).unwrap();
    symlink(".image/tree", machine.path("opt/tree")).unwrap();
    machine.file("opt/.image/tree/bin/wrong", 0o755);
    machine.directory("opt/mine", 0o755);
    machine.file("opt/mine/su", 0o4755);
    machine
}

fn all(root: &Path) -> Vec<(String, u32, u32, u64, i64)> {
    let mut all = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        all.push((name, meta.mode(), meta.gid(), meta.ino(), meta.ctime_nsec()));
    }
    all.sort();
    all
}

/// End of the summary of a tree with a private file.
const PRIVATE: &str = "; 1 skipped that only root can read, such as \"@/opt/mine/private\"\n";

#[test]
fn only_what_is_wrong_is_changed_and_a_second_run_changes_nothing() {
    let machine = opt();
    machine.file("opt/mine/private", 0o600);
    let before = all(&machine.path("opt"));
    machine.opt(&[]).printed(&format!("@/opt: 11 entries checked, 4 changes made: group 2, mode 2{PRIVATE}"));
    assert_eq!(mode_and_group(&machine.path("opt/.image/tree/bin/wrong")), (0o775, group()));
    assert_eq!(mode_and_group(&machine.path("opt/mine")), (0o2775, group()));
    let after = all(&machine.path("opt"));
    let changed: Vec<&str> = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after)
        .map(|(before, _)| before.0.as_str())
        .collect();
    assert_eq!(changed, [".image/tree/bin/wrong", "mine"]);
    machine.opt(&[]).printed(&format!("@/opt: 11 entries checked, nothing to change{PRIVATE}"));
    assert_eq!(all(&machine.path("opt")), after, "no inode was touched, not even its times");
}

#[test]
fn a_dry_run_prints_the_steps_of_a_real_run_and_changes_nothing() {
    let machine = opt();
    let before = all(&machine.path("opt"));
    let ran = machine.opt(&["--dry-run"]);
    let group = format!("group {}", group());
    assert_eq!(
        ran.steps(),
        [
            format!("\"@/opt/.image/tree/bin/wrong\": {group}"),
            "\"@/opt/.image/tree/bin/wrong\": mode 0755 to 0775".to_owned(),
            format!("\"@/opt/mine\": {group}"),
            "\"@/opt/mine\": mode 0755 to 2775".to_owned(),
        ]
    );
    assert!(ran.stdout.ends_with("@/opt: 10 entries checked, 4 changes needed: group 2, mode 2\n"));
    assert_eq!(all(&machine.path("opt")), before);
}

#[test]
fn verbose_logs_each_change() {
    let machine = opt();
    let ran = machine.opt(&["-v"]);
    assert_eq!(ran.stdout, "@/opt: 10 entries checked, 4 changes made: group 2, mode 2\n");
    let mut lines: Vec<&str> = ran.stderr.lines().collect();
    lines.sort_unstable();
    let group = format!("group {}", group());
    assert_eq!(
        lines,
        [
            format!("fix-perms: debug: \"@/opt/.image/tree/bin/wrong\": {group}"),
            "fix-perms: debug: \"@/opt/.image/tree/bin/wrong\": mode 0755 to 0775".to_owned(),
            format!("fix-perms: debug: \"@/opt/mine\": {group}"),
            "fix-perms: debug: \"@/opt/mine\": mode 0755 to 2775".to_owned(),
        ]
    );
    machine.opt(&["-q"]).printed("@/opt: 10 entries checked, nothing to change\n");
}

#[test]
fn the_json_object_is_an_interface() {
    let machine = opt();
    machine.file("opt/mine/private", 0o600);
    machine.opt(&["--json"]).printed(concat!(
        r#"{"dry_run":false,"trees":[{"part":"container","path":"@/opt","entries":11,"changed":4,"#,
        r#""changes":{"access_acl":0,"default_acl":0,"default_acl_removed":0,"group":2,"mode":2},"#,
        r#""mounts_not_entered":0,"left_alone":0,"private":1,"first_private":"@/opt/mine/private","refused":[],"failed":[]}],"skipped":[]}"#,
        "\n"
    ));
    fs::set_permissions(machine.path("opt/mine"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let ran = machine.opt(&["--json", "--dry-run"]);
    assert_eq!(ran.steps(), [r#"{"path":"@/opt/mine","change":"mode","to":"mode 0755 to 2775"}"#]);
}

#[test]
fn on_an_overlay_only_wrong_files_are_copied_up() {
    let mut machine = opt();
    machine.opt(&[]);
    fs::rename(machine.path("opt"), machine.path("lower")).unwrap();
    machine.mount("scratch", &["-t", "tmpfs", "none"]);
    for name in ["scratch/upper", "scratch/work"] {
        machine.directory(name, 0o755);
    }
    let layers = ["lowerdir=lower", "upperdir=scratch/upper", "workdir=scratch/work"]
        .map(|layer| layer.replace('=', &format!("={}/", machine.root().to_str().unwrap())))
        .join(",");
    machine.mount("opt", &["-t", "overlay", "overlay", "-o", &layers]);
    let upper = machine.path("scratch/upper");
    let copied = || {
        let names = all(&upper).into_iter().map(|(name, ..)| name);
        names.filter(|name| !upper.join(name).is_dir()).collect::<Vec<_>>()
    };

    machine.opt(&[]).printed("@/opt: 10 entries checked, nothing to change\n");
    assert_eq!(all(&upper).len(), 1, "the upper directory alone: {:?}", all(&upper));

    // A wrong file of the lower layer, as from an earlier layer of an image.
    retry_tool(Command::new("umount").arg(machine.path("opt")));
    fs::set_permissions(
        machine.path("lower/.image/tree/bin/wrong"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    tool(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(machine.path("opt")));
    machine.opt(&[]).printed("@/opt: 10 entries checked, 1 changes made: mode 1\n");
    assert_eq!(copied(), [".image/tree/bin/wrong"]);
    machine.opt(&[]).printed("@/opt: 10 entries checked, nothing to change\n");
}

#[test]
fn links_are_not_followed() {
    let machine = opt();
    machine.opt(&[]);
    let secret = machine.file("outside/secret", 0o644);
    symlink(&secret, machine.path("opt/mine/to-a-file")).unwrap();
    symlink(machine.path("outside"), machine.path("opt/mine/to-a-folder")).unwrap();
    symlink(".", machine.path("opt/mine/loop")).unwrap();
    symlink("nowhere", machine.path("opt/mine/broken")).unwrap();
    machine.opt(&[]).printed("@/opt: 14 entries checked, nothing to change\n");
    assert_eq!(mode_and_group(&secret), (0o644, 0));
}

#[test]
fn any_name_and_any_depth_is_supported() {
    let machine = Machine::new();
    machine.directory("opt", 0o755);
    machine.file(OsStr::from_bytes(b"opt/new\nline\xff"), 0o644);
    let ran = machine.opt(&["--dry-run"]);
    let group = group();
    let name = r#""@/opt/new\nline\xff""#;
    assert_eq!(ran.steps(), [format!("{name}: group {group}"), format!("{name}: mode 0644 to 0664")]);

    // Deeper than PATH_MAX, and than the usual limit of descriptors.
    let mut here = machine.path("opt");
    let mut at = dirfd::open_root(&here).unwrap();
    for _ in 0..1_500 {
        for name in ["deep", "beside"] {
            dirfd::create_dir(&at, name, 0o755).unwrap();
        }
        at = dirfd::open_dir(&at, "deep").unwrap();
    }
    dirfd::create_file(&at, "last", 0o644).unwrap();
    let command = machine.command(&["--only", "container"]);
    let mut limited = Command::new("sh");
    limited.args(["-ec", "ulimit -S -n 256; exec \"$@\"", "sh"]).arg(command.get_program());
    let ran = Ran::new(&limited.args(command.get_args()).output().unwrap(), machine.root());
    ran.printed("@/opt: 3003 entries checked, 6004 changes made: group 3002, mode 3002\n");
    machine.opt(&[]).printed("@/opt: 3003 entries checked, nothing to change\n");
    for _ in 0..700 {
        here.push("deep");
    }
    assert_eq!(mode_and_group(&here), (0o2775, group));
}

#[test]
fn a_file_with_several_names_is_changed_once() {
    let machine = opt();
    machine.opt(&[]);
    let first = machine.file("opt/mine/first", 0o644);
    fs::hard_link(&first, machine.path("opt/mine/second")).unwrap();
    machine.opt(&[]).printed("@/opt: 12 entries checked, 2 changes made: group 1, mode 1\n");
    assert_eq!(mode_and_group(&first), (0o664, group()));
}

#[test]
fn a_program_with_capabilities_keeps_them() {
    let machine = opt();
    machine.opt(&[]);
    let program = machine.file("opt/mine/ping", 0o755);
    // cap_net_raw, effective and permitted, in the format of setcap(8).
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let node = Node::Named(CString::new(program.as_os_str().as_bytes()).unwrap());
    node.set(c"security.capability", &capability).unwrap();
    let ran = machine.opt(&[]);
    assert_eq!(ran.stdout, "@/opt: 11 entries checked, nothing to change\n");
    assert!(ran.stderr.contains("skipped 1 files"), "{}", ran.stderr);
    assert_eq!(mode_and_group(&program), (0o755, 0));
}

#[test]
fn another_mount_is_not_entered_even_if_it_is_the_same_file_system() {
    let mut machine = opt();
    machine.opt(&[]);
    machine.file("elsewhere/wrong", 0o644);
    let elsewhere = machine.path("elsewhere");
    machine.mount("opt/mine/mounted", &["--bind", elsewhere.to_str().unwrap()]);
    let ran = machine.opt(&["--json"]);
    assert!(
        ran.stdout.contains(r#""changed":0,"#) && ran.stdout.contains(r#""mounts_not_entered":1,"#),
        "{ran:?}"
    );
    assert_eq!(mode_and_group(&elsewhere.join("wrong")), (0o644, 0));
}

#[test]
fn a_wrong_command_line_is_a_usage_error_and_help_starts_with_the_description() {
    let machine = Machine::new();
    let ran = |args: &[&str]| Ran::new(&machine.command(args).output().unwrap(), machine.root());
    for args in [&["--onyl"][..], &["--only", "opt"], &["surplus"]] {
        let ran = ran(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(ran.stderr.contains("'--help'"), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(ran(&["--help"]).stdout.lines().next(), Some(env!("CARGO_PKG_DESCRIPTION")));
}

#[test]
fn a_missing_tree_is_an_error_that_names_it() {
    let ran = Machine::new().opt(&[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert_eq!(ran.stderr, "fix-perms: cannot open @/opt: No such file or directory (os error 2)\n");
}

#[test]
fn a_closed_pipe_ends_a_dry_run_without_an_error() {
    let machine = opt();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = machine.command(&["--only", "container", "--dry-run"]).stdout(writer).output().unwrap();
    assert_eq!(
        Ran::new(&output, machine.root()),
        Ran { code: Some(0), stdout: String::new(), stderr: String::new() }
    );
}

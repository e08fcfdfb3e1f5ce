//! Programs of other users, seen with what a container may do: without `CAP_SYS_PTRACE`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::fixture::{CommandOutput, Site};

/// A container's processes and capabilities. The script gets the tool with all its options but the action as `$@`,
/// and a program of the user 1000, `writer`, which opens `log` in the tree and goes on once it is `let_go`.
const CONTAINER: &str = r#"
    cd "$SITE"
    mkfifo ready go
    chmod 666 ready go
    # A program that may not be read hides its files, as one does that asks the kernel to.
    cp /bin/sh secret
    chmod 711 secret
    writer() {
        # It is the user's shell that begins the program: before it, setpriv may still read everything.
        setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'exec "$@"' sh "$1" -c \
            'exec 3>> "$TREE/log"; cd /; echo > "$SITE/ready"; read line < "$SITE/go"; echo late >&3' &
        read line < ready
    }
    let_go() {
        echo > go
        wait
    }
"#;

fn in_container(site: &Site, tree: &Path, script: &str) -> CommandOutput {
    fs::set_permissions(site.root(), PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(tree, PermissionsExt::from_mode(0o777)).unwrap();
    let tool = site.command(&[]);
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"])
        .args(["sh", "-c", &format!("{CONTAINER}{script}"), "sh"])
        .arg(tool.get_program())
        .args(tool.get_args())
        .envs(tool.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("SITE", site.root())
        .env("TREE", tree)
        .env("COPY", site.copy());
    CommandOutput::of(command.output().unwrap())
}

#[test]
fn what_a_program_of_the_users_writes_after_the_switch_is_carried_over() {
    let site = Site::small();
    let output =
        in_container(&site, &site.image("micromamba"), r#"writer sh; "$@" run; let_go; "$@" follow"#);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains(") still write to the old tree; "), "{output:?}");
    assert_eq!(fs::read_to_string(site.copy().join("log")).unwrap(), "late\n");
}

#[test]
fn the_follower_hides_nothing_from_other_commands() {
    let site = Site::small();
    let script = r#"
        writer sh
        "$@" run
        echo early > "$TREE/early"
        "$@" follow &
        until test -s "$COPY/early"; do sleep 0.02; done
        "$@" status
        let_go
    "#;
    let output = in_container(&site, &site.image("micromamba"), script);
    assert!(output.code == 0 && output.stdout.contains("still used  by sh ("), "{output:?}");
    assert!(!output.stdout.contains("workspace-sync ("), "{output:?}");
}

#[test]
fn a_program_that_hides_its_files_is_named_and_not_taken_for_idle() {
    let site = Site::small();
    let output = in_container(
        &site,
        &site.image("micromamba"),
        r#"writer ./secret; "$@" run; "$@" status; let_go; "$@" follow"#,
    );
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("; changes of the old tree are copied until they exit"), "{output:?}");
    assert!(output.stderr.contains("cannot inspect secret ("), "{output:?}");
    assert!(output.stdout.contains("maybe used"), "{output:?}");
    assert_eq!(fs::read_to_string(site.copy().join("log")).unwrap(), "late\n");
}

#[test]
fn a_program_in_a_user_namespace_of_its_own_may_write_like_any() {
    let site = Site::small();
    let script = r#"
        setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user sh -c \
            'exec 3>> "$TREE/log"; cd /; echo > "$SITE/ready"; read line < "$SITE/go"; echo late >&3' &
        read line < ready
        "$@" run; let_go; "$@" follow
    "#;
    let output = in_container(&site, &site.image("micromamba"), script);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("; changes of the old tree are copied until they exit"), "{output:?}");
    assert_eq!(fs::read_to_string(site.copy().join("log")).unwrap(), "late\n");
}

#[test]
fn without_a_program_of_the_users_nobody_is_named() {
    let site = Site::small();
    let output = in_container(&site, &site.image("micromamba"), r#""$@" run"#);
    assert_eq!((output.code, output.stderr.contains("old tree")), (0, false), "{output:?}");
}

#[test]
fn sudo_which_hides_its_files_is_not_in_its_own_way() {
    let site = Site::small();
    // This hides a program of root's as well.
    let script = r#"
        chmod 4755 secret
        setpriv --reuid 1000 --regid 1000 --clear-groups ./secret -p -c '"$@" run; "$@" status --json' sh "$@"
    "#;
    let output = in_container(&site, &site.image("micromamba"), script);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(fs::read_link(site.active_link("micromamba")).unwrap(), site.copy());
    assert!(!output.stderr.contains("old tree"), "{output:?}");
    assert!(output.stdout.contains("\"settling\":false"), "{output:?}");
}

#[test]
fn a_directory_in_which_a_program_of_the_users_writes_is_not_emptied() {
    for program in ["sh", "./secret"] {
        let mut site = Site::small();
        site.set("OPT_SYNC", "app");
        let app = site.active_link("app");
        fs::create_dir(&app).unwrap();
        fs::write(app.join("server"), "1").unwrap();
        let _layers = site.layered();
        let script = format!(r#"writer {program}; "$@" run; ls "$TREE"; let_go; "$@" run"#);
        let output = in_container(&site, &app, &script);
        assert_eq!(output.code, 0, "{output:?}");
        assert!(output.stdout.contains("\nlog\nserver\n"), "{output:?}");
        assert!(output.stdout.contains("in use by "), "{output:?}");
        assert_eq!(fs::read_link(&app).unwrap(), site.volume().join("app"));
        assert_eq!(fs::read_to_string(app.join("log")).unwrap(), "late\n");
    }
}

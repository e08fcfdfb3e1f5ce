//! `once`, `plan`, `status` and `explain`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use crate::fixture::{Answer, World, mount, unmount};

fn finished(code: i32, out: &str, error: &str) -> Answer {
    Answer { code: Some(code), out: out.into(), error: error.into() }
}

#[test]
fn files_are_linked_directories_are_mirrored_and_a_second_run_changes_nothing() {
    let world = World::new("storage_map[models]='APP/one\n  APP/My two'\n");
    for file in ["models/a", "models/sub/deep/b c", "models/.hidden", "models/x.part", "other/d"] {
        world.store(file);
    }
    let plan = "mkdir \"TOP/app/My two\"\nlink \"TOP/app/My two/a\" -> \"TOP/workspace/storage/models/a\"\n";
    let planned = world.run(&["plan"]);
    assert!(
        planned.code == Some(0) && planned.out.starts_with(plan) && planned.error.is_empty(),
        "{planned:?}"
    );
    assert_eq!(world.run(&["once", "--dry-run"]), planned);
    assert_eq!(world.links(), [""; 0], "a plan changes nothing");
    assert_eq!(world.run(&["once"]), finished(0, "linked 4, removed 0\n", ""));
    let mirrored = [
        "My two/",
        "My two/a -> models/a",
        "My two/sub/",
        "My two/sub/deep/",
        "My two/sub/deep/b c -> models/sub/deep/b c",
        "one/",
        "one/a -> models/a",
        "one/sub/",
        "one/sub/deep/",
        "one/sub/deep/b c -> models/sub/deep/b c",
    ];
    assert_eq!(world.links(), mirrored);
    assert_eq!(world.run(&["once"]), finished(0, "linked 0, removed 0\n", ""));
    assert_eq!(world.run(&["plan"]), finished(0, "", ""));
}

#[test]
fn a_plan_is_what_a_run_then_does() {
    let world = World::new("storage_map[a]=APP\nstorage_map[a/b]=APP/x\n");
    for file in ["a/keep", "a/b/gone", "a/b/c/gone", "a/kind/inside"] {
        world.store(file);
    }
    world.run(&["once"]);
    fs::remove_dir_all(world.stored("a/b")).unwrap();
    fs::remove_dir_all(world.stored("a/kind")).unwrap();
    world.store("a/kind");
    world.store("a/new");
    let before = world.links();
    let plan = world.run(&["plan"]);
    assert_eq!(world.links(), before);
    let expected = "link \"TOP/app/new\" -> \"TOP/workspace/storage/a/new\"\n\
        unlink \"TOP/app/b/gone\"\nunlink \"TOP/app/b/c/gone\"\nunlink \"TOP/app/kind/inside\"\n\
        unlink \"TOP/app/x/gone\"\nunlink \"TOP/app/x/c/gone\"\n\
        rmdir \"TOP/app/x/c\"\nrmdir \"TOP/app/kind\"\nrmdir \"TOP/app/b/c\"\nrmdir \"TOP/app/b\"\n\
        link \"TOP/app/kind\" -> \"TOP/workspace/storage/a/kind\"\n";
    assert_eq!(plan, finished(0, expected, ""));
    assert_eq!(world.run(&["once"]), finished(0, "linked 2, removed 5\n", ""));
    assert_eq!(world.links(), ["keep -> a/keep", "kind -> a/kind", "new -> a/new", "x/"]);
}

#[test]
fn nothing_that_is_not_ours_is_replaced_or_removed() {
    let world = World::new("storage_map[a]=APP\n");
    for file in ["a/file", "a/link", "a/dir/x", "a/ours", "a/free"] {
        world.store(file);
    }
    fs::write(world.path("app/file"), "user's").unwrap();
    symlink("/elsewhere", world.path("app/link")).unwrap();
    fs::write(world.path("app/dir"), "user's").unwrap();
    symlink(world.stored("a/absent"), world.path("app/broken")).unwrap();
    let answer = world.run(&["once"]);
    let taken = |name: &str| {
        format!(
            "storage-monitor: warning: \"TOP/app/{name}\" already exists and is not a link to \"a/{name}\"\n"
        )
    };
    assert_eq!(
        answer,
        finished(0, "linked 2, removed 0\n", &(taken("dir") + &taken("file") + &taken("link")))
    );
    // A user puts a file of their own where our link was; then its source goes.
    fs::remove_file(world.path("app/ours")).unwrap();
    fs::write(world.path("app/ours"), "user's").unwrap();
    fs::remove_file(world.stored("a/ours")).unwrap();
    fs::remove_file(world.stored("a/link")).unwrap();
    world.run(&["once"]);
    let broken = "broken -> a/absent";
    assert_eq!(world.links(), [broken, "dir", "file", "free -> a/free", "link -> /elsewhere", "ours"]);
    assert_eq!(fs::read_to_string(world.path("app/ours")).unwrap(), "user's");
}

#[test]
fn of_two_files_of_one_name_that_of_the_longer_key_is_linked() {
    let world = World::new("storage_map[a]=APP\nstorage_map[a/b]=APP\nstorage_map[c]=APP\n");
    for file in ["a/x", "a/b/x", "a/b/y", "c/x", "a/z", "c/z"] {
        world.store(file);
    }
    let answer = world.run(&["once"]);
    let warnings: Vec<_> = answer.error.lines().collect();
    assert_eq!(
        warnings,
        [
            "storage-monitor: warning: \"TOP/app/x\" links to \"a/b/x\", not to \"a/x\"",
            "storage-monitor: warning: \"TOP/app/x\" links to \"a/b/x\", not to \"c/x\"",
            "storage-monitor: warning: \"TOP/app/z\" links to \"a/z\", not to \"c/z\"",
        ]
    );
    let links = ["b/", "b/x -> a/b/x", "b/y -> a/b/y", "x -> a/b/x", "y -> a/b/y", "z -> a/z"];
    assert_eq!(world.links(), links, "the shorter key applies as well");
    fs::remove_file(world.stored("a/b/x")).unwrap();
    world.run(&["once"]);
    assert_eq!(world.links()[1..3], ["b/y -> a/b/y", "x -> a/x"]);
}

/// Message after an edit that removes the mapping of `a`.
const LESS: &str = "storage-monitor: removing links of deleted mappings: \"a\"\n";

#[test]
fn a_link_that_was_about_to_be_replaced_when_a_kill_came_is_still_ours() {
    let world = World::new("storage_map[a]=APP\n");
    for file in ["a/x", "a/gone", "b/x"] {
        world.store(file);
    }
    world.run(&["once"]);
    // The ledger is written before links are made.
    let mut ledger = fs::OpenOptions::new().append(true).open(world.path("state/ledger")).unwrap();
    for name in ["gone", "x"] {
        let (link, source) = (world.path("app").join(name), world.stored("b"));
        write!(ledger, "+\0{}\0{}\0", link.display(), source.display()).unwrap();
    }
    world.map("storage_map[b]=APP\n");
    assert_eq!(world.run(&["once"]), finished(0, "linked 1, removed 1\n", LESS));
    assert_eq!(world.links(), ["x -> b/x"]);
    assert_eq!(world.run(&["once"]), finished(0, "linked 0, removed 0\n", ""));
}

#[test]
fn a_link_that_could_not_be_replaced_is_still_ours_after_a_restart() {
    let world = World::new("storage_map[a]=APP\n");
    world.store("a/x");
    world.store("b/x");
    let app = world.path("app");
    mount(&["-t", "tmpfs", "none"], &app);
    world.run(&["once"]);
    mount(&["-o", "remount,ro"], &app);
    world.map("storage_map[b]=APP\n");
    let refused = world.run(&["once"]);
    mount(&["-o", "remount,rw"], &app);
    let answers = [world.run(&["once"]), world.run(&["once"])];
    let links = world.links();
    unmount(&app);
    let error = "storage-monitor: warning: \"TOP/app\": \"x\": Read-only file system (os error 30)\n";
    assert_eq!(refused, finished(1, "linked 0, removed 0\n", &format!("{LESS}{error}")));
    assert_eq!(answers, [finished(0, "linked 1, removed 0\n", ""), finished(0, "linked 0, removed 0\n", "")]);
    assert_eq!(links, ["x -> b/x"]);
}

#[test]
fn what_cannot_be_recorded_is_not_linked() {
    let world = World::new("storage_map[a]=APP\n");
    let state = world.path("state");
    mount(&["-t", "tmpfs", "-o", "size=32k", "none"], &state);
    world.run(&["once"]);
    let _ = fs::write(state.join("ballast"), vec![0; 64 << 10]);
    world.store("a/dir/x");
    world.store("a/y");
    let refused = (world.run(&["once"]).code, world.links());
    fs::remove_file(state.join("ballast")).unwrap();
    let answer = world.run(&["once"]);
    unmount(&state);
    assert_eq!(refused, (Some(1), Vec::new()));
    assert_eq!(answer, finished(0, "linked 2, removed 0\n", ""));
}

#[test]
fn a_wrong_mapping_leaves_the_last_good_one_in_force_also_after_a_restart() {
    let world = World::new("storage_map[a]=APP\n");
    world.store("a/x");
    world.run(&["once"]);
    world.map("storage_map[a]=APP\nstorage_map[b]=relative\n");
    world.store("a/y");
    let complaint = "storage-monitor: warning: TOP/etc/mappings.sh: line 2: storage_map[\"b\"]: \"relative\" is not an \
        absolute path without ..";
    let answer = world.run(&["once"]);
    let error = format!("{complaint}; the last valid mapping is still in use\n");
    assert_eq!(answer, finished(1, "linked 1, removed 0\n", &error));
    assert_eq!(world.links(), ["x -> a/x", "y -> a/y"]);
    world.map("storage_map_empty=yes\n");
    assert_eq!(world.run(&["once"]), finished(0, "linked 0, removed 2\n", LESS));
}

#[test]
fn files_of_the_image_appear_in_the_storage_and_an_upgrade_removes_its_own() {
    let world = World::new("storage_map[models]=APP\n");
    let image = |path: &str| world.path("image").join(path);
    fs::create_dir_all(image("models/sub")).unwrap();
    for file in ["models/shipped", "models/mine", "models/sub/old"] {
        fs::write(image(file), "image").unwrap();
    }
    world.store("models/mine");
    assert_eq!(world.run(&["once"]), finished(0, "linked 5, removed 0\n", ""));
    assert_eq!(fs::read_link(world.stored("models/shipped")).unwrap(), image("models/shipped"));
    assert_eq!(fs::read_to_string(world.stored("models/mine")).unwrap(), "content", "a user's file wins");
    let links = ["mine -> models/mine", "shipped -> models/shipped", "sub/", "sub/old -> models/sub/old"];
    assert_eq!(world.links(), links);
    // A new container from a newer image: the container's state is gone, the volume is kept.
    symlink("/opt/elsewhere", world.stored("models/sub/foreign")).unwrap();
    fs::remove_dir_all(world.path("state")).unwrap();
    fs::remove_dir_all(world.path("app")).unwrap();
    fs::create_dir(world.path("app")).unwrap();
    fs::remove_dir_all(image("models/sub")).unwrap();
    world.run(&["once"]);
    assert_eq!(world.links(), ["mine -> models/mine", "shipped -> models/shipped", "sub/"]);
    let left: Vec<_> =
        fs::read_dir(world.stored("models/sub")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["foreign"], "only its own");
}

#[test]
fn a_file_is_explained_where_it_is_linked_and_why_not() {
    let world = World::new("storage_map[a]='APP\nTOP/no/app'\nstorage_map[c]=APP\n");
    for file in ["a/x", "c/x", "a/new", "a/y.part", "other/z", "a/.cache/q", "a/big", "a/big.aria2"] {
        world.store(file);
    }
    symlink("nowhere", world.stored("a/dangling")).unwrap();
    symlink(world.stored("a"), world.stored("way")).unwrap();
    fs::remove_file(world.stored("a/new")).unwrap();
    world.run(&["once"]);
    world.store("a/new");
    let explain = |path: &str| world.run(&["explain", world.stored(path).to_str().unwrap()]);
    let waits = "not linked: \"TOP/no/app\" is not ready: \"TOP/no\" does not exist yet\n";
    assert_eq!(explain("a/x"), finished(0, &format!("linked: \"TOP/app/x\"\n{waits}"), ""));
    let beaten = "not linked: \"TOP/app/x\" links to \"a/x\", not to \"c/x\"\n";
    assert_eq!(explain("c/x"), finished(1, beaten, ""));
    let step = "not yet: link \"TOP/app/new\" -> \"TOP/workspace/storage/a/new\"\n";
    assert_eq!(explain("a/new"), finished(1, &format!("{step}{waits}"), ""));
    for (path, reason) in [
        ("a/y.part", "\"y.part\": its name is that of an unfinished download"),
        ("a/.cache/q", "\".cache\": its name begins with a dot"),
        ("a/dangling", "\"TOP/workspace/storage/a/dangling\" is a broken symbolic link"),
        ("a/big", "\"TOP/workspace/storage/a/big.aria2\" marks it as incomplete"),
        ("a/gone", "\"TOP/workspace/storage/a/gone\" does not exist"),
        ("other/z", "no mapping in TOP/etc/mappings.sh covers this path"),
    ] {
        assert_eq!(explain(path), finished(1, &format!("not linked: {reason}\n"), ""));
    }
    let answer = world.run(&["explain", "/etc/passwd"]);
    let error = "storage-monitor: \"/etc/passwd\" is neither in TOP/workspace/storage nor a path below it\n";
    assert_eq!(answer, finished(1, "", error));
}

#[test]
fn a_relative_path_is_looked_up_in_the_current_directory_and_then_in_the_storage() {
    let world = World::new("storage_map[.]=APP\n");
    for file in ["models/x", "models/models/x", "y"] {
        world.store(file);
    }
    world.run(&["once"]);
    let explain = |directory: &str, path: &str| {
        let mut command = world.command(&["explain", path]);
        let answer = world.answer(command.current_dir(directory).output().unwrap());
        (answer.code, answer.out.trim_end().replace("linked: \"TOP/app/", "").replace('"', ""))
    };
    let storage = world.stored("");
    let storage = storage.to_str().unwrap();
    let models = world.stored("models");
    let models = models.to_str().unwrap();
    let linked = |path: &str| (Some(0), path.to_owned());
    assert_eq!(explain("/", "models/x"), linked("models/x"));
    assert_eq!(explain("/", "y"), linked("y"));
    assert_eq!(explain(models, "x"), linked("models/x"));
    assert_eq!(explain(storage, "./y"), linked("y"));
    assert_eq!(explain(models, "models/x"), linked("models/models/x"), "both exist");
    assert_eq!(explain(models, "../y"), linked("y"));
    assert_eq!(explain("/", "absent/x").0, Some(1));
}

#[test]
fn answers_are_json_if_that_is_asked_for() {
    let world = World::new("storage_map[a]='APP\nTOP/new'\nstorage_map[b]='APP\nTOP/no/app'\n");
    world.store("a/x");
    world.store("b/x\n");
    let lines = |arguments: &[&str]| {
        let answer = world.run(arguments);
        assert_eq!(answer.error, "");
        let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        answer.out.lines().map(parse).collect::<Vec<_>>()
    };
    let link = |path: &str, to: &str| {
        let [path, to] = [format!("\"TOP/{path}\""), format!("\"TOP/workspace/storage/{to}\"")];
        serde_json::json!({ "step": "link", "path": path, "to": to })
    };
    let steps = [
        link("app/x", "a/x"),
        link("app/x\\n", "b/x\\n"),
        serde_json::json!({ "step": "mkdir", "path": "\"TOP/new\"", "to": null }),
        link("new/x", "a/x"),
    ];
    assert_eq!(lines(&["plan", "--json"]), steps);
    assert_eq!(lines(&["once", "--dry-run", "--json"]), steps);
    assert_eq!(lines(&["once", "--json"]), [serde_json::json!({ "linked": 3, "removed": 0 })]);
    let path = world.stored("b/x\n");
    let explained = [
        serde_json::json!({ "place": "\"TOP/app/x\\n\"", "state": "linked", "reason": null }),
        serde_json::json!({
            "place": "\"TOP/no/app\"",
            "state": "not linked",
            "reason": "\"TOP/no/app\" is not ready: \"TOP/no\" does not exist yet"
        }),
    ];
    assert_eq!(lines(&["explain", "--json", path.to_str().unwrap()]), explained);
}

#[test]
fn quiet_leaves_warnings_and_verbose_adds_each_step() {
    let world = World::new("storage_map[a]=APP\n");
    world.store("a/x");
    let step = "storage-monitor: debug: link \"TOP/app/x\" -> \"TOP/workspace/storage/a/x\"\n";
    assert_eq!(world.run(&["once", "-v"]), finished(0, "linked 1, removed 0\n", step));
    world.map("storage_map_empty=yes\n");
    assert_eq!(world.run(&["once", "-q"]), finished(0, "linked 0, removed 1\n", ""));
    world.store("a/x");
    fs::write(world.path("app/x"), "user's").unwrap();
    world.map("storage_map[a]=APP\n");
    let taken = "storage-monitor: warning: \"TOP/app/x\" already exists and is not a link to \"a/x\"\n";
    assert_eq!(world.run(&["-q", "once"]), finished(0, "linked 0, removed 0\n", taken));
}

#[test]
fn a_file_below_a_name_that_is_taken_is_explained() {
    let world = World::new("storage_map[a]='APP\nAPP/deep/b'\nstorage_map[c]=APP\n");
    fs::create_dir_all(world.path("app/deep")).unwrap();
    for file in ["a/dir/sub/x", "a/both", "c/both/z", "c/dir/y", "a/mine"] {
        world.store(file);
    }
    fs::write(world.path("app/dir"), "user's").unwrap();
    fs::write(world.path("app/mine"), "user's").unwrap();
    world.run(&["once"]);
    let explain = |path: &str| world.run(&["explain", world.stored(path).to_str().unwrap()]);
    let taken =
        |dir: &str| format!("not linked: \"TOP/app/dir\" already exists and is not a link to \"{dir}\"\n");
    assert_eq!(explain("c/dir/y"), finished(1, &taken("c/dir"), ""));
    let linked = "linked: \"TOP/app/deep/b/dir/sub/x\"\n";
    assert_eq!(explain("a/dir/sub/x"), finished(0, &(taken("a/dir") + linked), ""));
    let beaten = "not linked: \"TOP/app/both\" links to \"a/both\", not to \"c/both\"\n";
    assert_eq!(explain("c/both/z"), finished(1, beaten, ""));
    let mine = "not linked: \"TOP/app/mine\" already exists and is not a link to \"a/mine\"\n";
    assert_eq!(explain("a/mine"), finished(0, &format!("{mine}linked: \"TOP/app/deep/b/mine\"\n"), ""));
}

#[test]
fn a_state_about_the_deepest_trees_can_be_read() {
    let mut world = World::new("storage_map[a]=APP\nstorage_map[b]=APP\n");
    // Deeper than a path may be long, so each directory is made from the one above.
    let deep = "for key in a b; do cd \"$1\" && mkdir -p $key && cd $key || exit; \
        for i in $(seq 60); do mkdir \"$2\" && cd -P \"$2\" || exit; done; echo > x; done";
    let worst = "\u{1}".repeat(255);
    let made = std::process::Command::new("bash")
        .args(["-c", deep, "bash"])
        .arg(world.stored(""))
        .arg(worst)
        .status();
    assert!(made.unwrap().success());
    world.start();
    let answer = world.run(&["status"]);
    assert_eq!((answer.code, answer.error.as_str()), (Some(0), ""));
    let state = fs::metadata(world.path("run/status.json")).unwrap().len();
    assert!(state < 20_000, "{state}");
    assert!(answer.out.starts_with("0 files linked into applications, 1 conflict\n"));
    assert!(answer.out.contains(": \"x\": File name too long (os error 36)\n"), "the text of the link");
}

#[test]
fn without_a_monitor_the_status_is_a_failure() {
    let world = World::new("");
    let error =
        "storage-monitor: the monitor is not running\nhint: run: supervisorctl start storagemonitor\n";
    assert_eq!(world.run(&["status"]), finished(1, "", error));
    assert_eq!(world.run(&["nonsense"]).code, Some(2));
}

#[test]
fn a_state_with_the_longest_and_worst_names_can_be_read() {
    let mut world = World::new("storage_map[a]=APP\nstorage_map[b]=APP\n");
    let worst = "\u{1}".repeat(255);
    for number in 0..101 {
        for key in ["a", "b"] {
            world.store(format!("{key}/{worst}/{worst}/{worst}/{number:0>3}{}", &worst[..252]));
        }
    }
    world.start();
    let answer = world.run(&["status"]);
    assert_eq!((answer.code, answer.error.as_str()), (Some(0), ""));
    assert!(answer.out.starts_with("101 files linked into applications, 101 conflicts\n"));
    assert!(answer.out.ends_with("\n1 more conflict\n"));
}

#[test]
fn the_text_of_a_mistake_is_shown_and_not_obeyed_by_a_terminal() {
    let mut world = World::new("printf '\\033[31mred\\n' >&2\n");
    world.start();
    let answer = world.run(&["status"]);
    assert_eq!(answer.out, "0 files linked into applications\n\\u{1b}[31mred\n");
}

//! Valid and invalid mappings files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::fixture::World;

const NOBODY: u32 = 65_534;

/// The mapping as it is kept: keys and directories, with `TOP` for the test's own.
fn mapping(text: &str) -> Vec<(String, String)> {
    let world = World::new(text);
    let answer = world.run(&["once"]);
    assert_eq!((answer.code, answer.error.as_str()), (Some(0), ""));
    let kept = fs::read_to_string(world.path("state/mapping")).unwrap();
    let kept = kept.replace(world.path("").to_str().unwrap().trim_end_matches('/'), "TOP");
    let fields: Vec<&str> = kept.split('\0').collect();
    let (pairs, _) = fields.as_chunks::<2>();
    pairs.iter().map(|[key, value]| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn mapping_error(text: &str) -> String {
    let world = World::new(text);
    let answer = world.run(&["once"]);
    assert_eq!(answer.code, Some(1), "{}", answer.error);
    let last = answer.error.lines().last().unwrap();
    let last = last.strip_suffix("; the last valid mapping is still in use").unwrap();
    last.replace("storage-monitor: warning: TOP/etc/mappings.sh", "FILE")
}

fn pair(key: &str, directory: &str) -> (String, String) {
    (key.to_owned(), directory.to_owned())
}

#[test]
fn a_file_may_compute_and_print() {
    let text = "app='TOP/My App'\necho hello\nfor kind in lora 'a $b'; do\n\
        storage_map[\"models/$kind\"]=\"$app/$kind\n    $WORKSPACE/x\"\ndone\n[ -d /nowhere ] && false\n";
    let all = [
        pair("models/a $b", "TOP/My App/a $b"),
        pair("models/a $b", "TOP/workspace/x"),
        pair("models/lora", "TOP/My App/lora"),
        pair("models/lora", "TOP/workspace/x"),
    ];
    assert_eq!(mapping(text), all);
    let returned = mapping("declare -A storage_map\nstorage_map=([a]=/x)\nreturn 1\n");
    assert_eq!(returned, [pair("a", "/x")]);
    assert_eq!(mapping(""), []);
}

#[test]
fn an_error_names_file_and_line() {
    assert_eq!(
        mapping_error("\nstorage_map[a]=/x\nstorage_map[b]=relative\n"),
        "FILE: line 3: storage_map[\"b\"]: \"relative\" is not an absolute path without .."
    );
    assert_eq!(mapping_error("\n\nif\n"), "FILE: line 4: syntax error: unexpected end of file");
    assert_eq!(mapping_error("x=1\nstorage_map[a]=$nothing\n"), "FILE: line 2: nothing: unbound variable");
    assert_eq!(mapping_error("no-such-command\n"), "FILE: line 1: no-such-command: command not found");
    let unix = "save it as UTF-8 with line ends of Unix)";
    assert_eq!(
        mapping_error("declare -A storage_map\r\n"),
        format!(
            "FILE: line 1: declare: `storage_map\\r': not a valid identifier (the file has line ends of Windows: {unix}"
        )
    );
    assert_eq!(
        mapping_error("\u{feff}storage_map=([a]=/x)\n"),
        format!(
            "FILE: line 1: syntax error near unexpected token `[a]=/x' (the file has a byte order mark: {unix}"
        )
    );
    assert_eq!(mapping_error("storage_map[a]=/x; exit 0"), "FILE: exited before the end of the file");
    assert_eq!(mapping_error("kill -9 $BASHPID"), "FILE: exited before the end of the file");
}

/// Returns the links after an edit of a mapping that linked `x` and `y`, with the answer to `once`.
fn edited(mapping: &str) -> (Vec<String>, Option<i32>, String) {
    let world = World::new("storage_map[a]=APP\nstorage_map[b]=APP\n");
    world.store("a/x");
    world.store("b/y");
    assert_eq!(world.run(&["once"]).code, Some(0));
    world.map(mapping);
    let answer = world.run(&["once"]);
    let message = answer.error.replace("storage-monitor: warning: TOP/etc/mappings.sh", "FILE");
    (world.links(), answer.code, message)
}

#[test]
fn a_mapping_that_may_lack_something_removes_no_link_and_is_reported() {
    let both = ["x -> a/x", "y -> b/y"].map(str::to_owned).to_vec();
    let empty = "storage_map is empty; set storage_map_empty=yes if this is intended";
    let failed = "line 1: false: failed with exit code 1";
    let halfway = "line 1: keys=$(cat /nowhere 2> /dev/null): failed with exit code 1";
    for (mapping, message) in [
        ("", empty),
        ("# nothing\n", empty),
        ("storage_map=()\n", empty),
        ("unset storage_map; declare -A storage_map\n", empty),
        ("false\nstorage_map[a]=APP\n", failed),
        ("keys=$(cat /nowhere 2>/dev/null)\nfor key in $keys; do storage_map[$key]=APP; done\n", halfway),
        (
            "ls /nowhere 2>/dev/null | while read -r key; do :; done\nstorage_map[a]=APP\n",
            "line 1: ls /nowhere 2> /dev/null: failed with exit code 2",
        ),
    ] {
        let message = format!("FILE: {message}; existing links of missing mappings are kept\n");
        assert_eq!(edited(mapping), (both.clone(), Some(1), message), "{mapping}");
    }
    // What ends bash, or is no mapping at all, is wrong as a whole.
    for mapping in
        ["storage_map[a]=$nothing\n", "storage_map[a]=APP; exit 1\n", "storage_map[a]=APP\nno-such-command\n"]
    {
        let (links, code, message) = edited(mapping);
        assert_eq!((links, code), (both.clone(), Some(1)), "{message}");
        assert!(message.ends_with("; the last valid mapping is still in use\n"), "{message}");
    }
}

#[test]
fn what_a_good_mapping_no_longer_has_is_removed_and_named() {
    assert_eq!(edited("storage_map_empty=yes\n"), (Vec::new(), Some(0), gone("\"a\", \"b\"")));
    let typo = edited("storage_map[a]=APP\nstorage_map[bb]=APP\n");
    assert_eq!(typo, (vec!["x -> a/x".to_owned()], Some(0), gone("\"b\"")));
    let condition = edited("[ -d /nowhere ] && storage_map[c]=APP\nstorage_map[a]=APP\nstorage_map[b]=APP\n");
    assert_eq!((condition.1, condition.2.as_str()), (Some(0), ""));
    let enough = edited("first=$(yes | head -n 1)\nstorage_map[a]=APP\nstorage_map[b]=APP\n");
    assert_eq!((enough.1, enough.2.as_str()), (Some(0), ""), "head has enough, and yes ends by SIGPIPE");
}

fn gone(keys: &str) -> String {
    format!("storage-monitor: removing links of deleted mappings: {keys}\n")
}

#[test]
fn an_empty_mapping_is_nothing_to_report_where_nothing_was_linked() {
    let world = World::new("declare -A storage_map\n");
    let answer = world.run(&["once"]);
    assert_eq!((answer.code, answer.error.as_str()), (Some(0), ""));
}

#[test]
fn an_empty_mapping_is_in_the_state_until_it_is_corrected() {
    let mut world = World::new("storage_map[a]=APP\n");
    world.store("a/x");
    world.start();
    world.until_links(&["x -> a/x"]);
    let problems = || world.state()["problems"].to_string();
    world.map("storage_map=()\n");
    world.until("the problem", || problems().contains("storage_map is empty"));
    world.until_links(&["x -> a/x"]);
    world.map("storage_map[a]=APP\n");
    world.until("no problem", || problems() == "[]");
}

#[test]
fn a_file_that_does_not_end_is_ended() {
    assert_eq!(mapping_error("echo hello >&2; while :; do :; done"), "FILE: timed out after 5 s");
}

#[test]
fn a_file_has_no_secrets_no_input_and_no_rights() {
    let world = World::new(
        "read -r line || :; storage_map[\"$(id -u):${line:-none}:$(env | sort | tr '\\n' ,)\"]=TOP/app/x\n",
    );
    let answer = world.answer(world.command(&["once"]).env("SECRET", "s3cr3t").output().unwrap());
    assert_eq!((answer.code, answer.error.as_str()), (Some(0), ""));
    let key = fs::read_to_string(world.path("state/mapping")).unwrap();
    let key = key.split('\0').next().unwrap();
    assert!(key.starts_with(&format!("{NOBODY}:none:")), "{key}");
    let names: Vec<_> = key.split([',', ':']).filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
    assert_eq!(names, ["PATH", "PWD", "SHLVL", "WORKSPACE", "_"], "{key}");
}

#[test]
fn a_file_that_others_may_write_is_not_run() {
    for (mode, group) in [(0o646, 0), (0o664, NOBODY)] {
        let world = World::new("storage_map[a]=APP\n");
        let file = world.path("etc/mappings.sh");
        std::os::unix::fs::chown(&file, None, Some(group)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let error = world.run(&["once"]).error;
        let last = error.lines().last().unwrap();
        let expected = "ignoring TOP/etc/mappings.sh: users other than root can write to it";
        let stays = "the last valid mapping is still in use";
        assert_eq!(last, format!("storage-monitor: warning: {expected}; {stays}"), "{mode:o}");
    }
}

#[test]
fn each_process_of_a_file_has_limits() {
    let limits = mapping("storage_map[\"$(ulimit -t) $(ulimit -v)\"]=/x");
    assert_eq!(limits, [pair("10 1048576", "/x")]);
}

#[test]
fn a_file_that_prints_without_end_is_wrong_and_fills_nothing() {
    let text = "head -c 5000000 /dev/zero | tr '\\0' 'x' >&2\nstorage_map[a]=/x\n";
    let complaint = mapping_error(text);
    assert!(complaint.starts_with("storage-monitor: warning: xxxxxxxx"), "{complaint}");
    assert!(complaint.len() < 3_000, "{}", complaint.len());
}

fn open_to_all(world: &World) {
    fs::create_dir(world.path("open")).unwrap();
    fs::set_permissions(world.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
}

/// True if the process is running whose number a mapping has written to `open/process`.
fn is_running(world: &World) -> bool {
    let process = fs::read_to_string(world.path("open/process")).unwrap_or_default();
    !process.is_empty() && fs::exists(format!("/proc/{}", process.trim())).unwrap()
}

#[test]
fn what_a_file_leaves_running_is_ended() {
    let world = World::new("sleep 1000 &\necho $! > TOP/open/process\nstorage_map[a]=APP\n");
    open_to_all(&world);
    world.store("a/x");
    let answer = world.run(&["once"]);
    assert_eq!(
        (answer.code, answer.out.as_str(), answer.error.as_str()),
        (Some(0), "linked 1, removed 0\n", "")
    );
    assert!(!fs::read_to_string(world.path("open/process")).unwrap().is_empty());
    // The process that adopts it reaps it.
    world.until("the end of the process", || !is_running(&world));
}

#[test]
fn bash_ends_with_a_killed_monitor() {
    let mut world = World::new(
        "mkfifo TOP/open/pipe\necho $$ > TOP/open/new\nmv TOP/open/new TOP/open/process\nread -r _ < TOP/open/pipe\n",
    );
    open_to_all(&world);
    world.begin();
    world.until("the process", || is_running(&world));
    world.stop(Signal::SIGKILL);
    world.until("the end of the process", || !is_running(&world));
}

//! The ledger after a restart, with any damage to the log.

use std::fs;

use super::*;

fn links(ledger: &Ledger) -> Vec<(String, String, String)> {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let all =
        ledger.links.iter().flat_map(|(directory, links)| links.iter().map(move |link| (directory, link)));
    all.map(|(directory, (name, source))| {
        (text(directory), String::from_utf8(name.to_vec()).unwrap(), text(ledger.source(*source)))
    })
    .collect()
}

fn shared(file: &Path, is_trusted: impl Fn(&Path, &Path) -> bool) -> Ledger {
    Ledger::load_shared(fs::File::open(file.parent().unwrap()).unwrap().into(), file, is_trusted)
}

fn write_ledger(file: &Path) -> Ledger {
    let mut ledger = Ledger::load(file).unwrap();
    let (a, b) = (ledger.source_id(Path::new("/s/a")), ledger.source_id(Path::new("/s/b")));
    ledger.record_link(Path::new("/t"), b"one\n", a);
    ledger.record_link(Path::new("/t"), b"two", a);
    ledger.record_link(Path::new("/t"), b"two", b);
    ledger.record_unlink(Path::new("/t"), b"one\n", a);
    ledger.record_unlink(Path::new("/t"), b"two", a);
    ledger.record_directory(Path::new("/t/d"));
    ledger.record_directory(Path::new("/t/e"));
    ledger.forget_directory(Path::new("/t/d"));
    ledger.save().unwrap();
    ledger
}

#[test]
fn what_was_noted_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger");
    write_ledger(&file);
    let ledger = Ledger::load(&file).unwrap();
    assert_eq!(links(&ledger), [("/t".into(), "two".into(), "/s/b".into())]);
    assert!(ledger.created_directory(Path::new("/t/e")) && !ledger.created_directory(Path::new("/t/d")));
}

#[test]
fn a_torn_record_is_passed_over_and_does_not_spoil_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger");
    write_ledger(&file);
    let whole = fs::read(&file).unwrap();
    for kept in 0..whole.len() {
        fs::write(&file, &whole[..kept]).unwrap();
        let mut ledger = Ledger::load(&file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), whole[..kept], "reading changes nothing");
        let number = ledger.source_id(Path::new("/s"));
        ledger.record_link(Path::new("/u"), b"new", number);
        ledger.save().unwrap();
        let found = links(&Ledger::load(&file).unwrap());
        assert_eq!(found.last(), Some(&("/u".into(), "new".into(), "/s".into())), "{kept}");
    }
}

#[test]
fn records_that_are_not_believed_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger");
    write_ledger(&file);
    let ledger = shared(&file, |directory, _| directory.starts_with("/elsewhere"));
    assert_eq!((links(&ledger), ledger.created_directory(Path::new("/t/e"))), (Vec::new(), false));
    assert!(ledger.sources.is_empty(), "nor kept in any other way");
}

#[test]
fn a_shared_log_keeps_all_records_and_our_own_is_shortened() {
    let folder = tempfile::tempdir().unwrap();
    let target = Path::new("/t");
    let link = |ledger: &mut Ledger, name: &[u8]| {
        let source = ledger.source_id(Path::new("/s"));
        ledger.record_link(target, name, source);
        source
    };
    let names = |ledger: &Ledger| links(ledger).into_iter().map(|(_, name, _)| name).collect::<Vec<_>>();
    let history = |ledger: &mut Ledger| {
        for _ in 0..=TOLERATED {
            let source = link(ledger, b"history");
            ledger.record_unlink(target, b"history", source);
        }
        ledger.save().unwrap();
    };
    let file = folder.path().join("shared");
    let mut ours = shared(&file, |_, _| true);
    let mut theirs = shared(&file, |_, _| true);
    history(&mut ours);
    link(&mut theirs, b"theirs");
    theirs.save().unwrap();
    let written = fs::read(&file).unwrap();
    ours.compact_if_large().unwrap();
    let mut next = shared(&file, |_, _| true);
    next.compact_if_large().unwrap();
    assert_eq!((names(&next), fs::read(&file).unwrap() == written), (vec!["theirs".to_owned()], true));
    link(&mut ours, b"ours");
    while ours.records <= SHARED.1 {
        history(&mut ours);
    }
    ours.insert(&Path::new("/t").into(), (*b"ours").into(), 0);
    ours.compact_if_large().unwrap();
    assert_eq!(names(&shared(&file, |_, _| true)), ["ours"], "what no start would read is begun again");
    assert!(fs::read(folder.path().join("shared.aside")).unwrap().starts_with(&written));
    let file = folder.path().join("own");
    let mut own = Ledger::load(&file).unwrap();
    history(&mut own);
    link(&mut own, b"kept");
    own.save().unwrap();
    let mut next = Ledger::load(&file).unwrap();
    next.compact_if_large().unwrap();
    assert!(fs::metadata(&file).unwrap().len() < 100);
    assert_eq!(names(&Ledger::load(&file).unwrap()), ["kept"]);
}

#[test]
fn a_torn_record_is_cut_off_unless_another_container_has_written_since() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger");
    write_ledger(&file);
    let whole = fs::read(&file).unwrap();
    for others in [&b""[..], b"+\0/t/x\0/s\0"] {
        fs::write(&file, [&whole, &b"+\0/t/to"[..]].concat()).unwrap();
        let mut ledger = shared(&file, |_, _| true);
        let torn = [&fs::read(&file).unwrap()[..], others].concat();
        fs::write(&file, &torn).unwrap();
        ledger.record_directory(Path::new("/t/new"));
        ledger.save().unwrap();
        let before = if others.is_empty() { &whole } else { &torn };
        assert_eq!(fs::read(&file).unwrap(), [&before[..], b"d\0/t/new\0\0"].concat());
    }
}

#[test]
fn a_link_that_was_to_be_replaced_is_ours_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger");
    let target = folder.path();
    for (leads_to, is) in [("/s/a/x", "/s/a"), ("/s/b/x", "/s/b"), ("/elsewhere", "/s/b")] {
        std::os::unix::fs::symlink(leads_to, target.join("x")).unwrap();
        let mut ledger = Ledger::empty(&file);
        let (a, b) = (ledger.source_id(Path::new("/s/a")), ledger.source_id(Path::new("/s/b")));
        ledger.record_link(target, b"x", a);
        ledger.record_link(target, b"x", b);
        ledger.save().unwrap();
        assert_eq!(links(&Ledger::load(&file).unwrap())[0].2, is);
        ledger.record_unlink(target, b"x", a);
        ledger.save().unwrap();
        let ledger = Ledger::load(&file).unwrap();
        assert_eq!((links(&ledger)[0].2.as_str(), ledger.count()), ("/s/b", 1), "it was replaced");
        fs::remove_file(target.join("x")).unwrap();
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_ledger_of_users_that_cannot_be_used_is_set_aside_for_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger");
    let sparse = || fs::File::create(&file).unwrap().set_len(10 << 40).unwrap();
    let many = || fs::write(&file, vec![0; 3 * (SHARED.1 + 1)]).unwrap();
    let link = || std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    let foreign = folder.path().join("foreign");
    fs::write(&foreign, "not a record").unwrap();
    let hard = || fs::hard_link(&foreign, &file).unwrap();
    let make: [(&str, &dyn Fn()); 4] =
        [("", &sparse), ("records", &many), ("link", &link), ("hard link", &hard)];
    for (what, make) in make {
        make();
        let before = fs::symlink_metadata(&file).unwrap();
        let mut ledger = shared(&file, |_, _| true);
        assert!(
            ledger.unusable.is_some() && fs::symlink_metadata(&file).is_ok(),
            "{what}: reading changes nothing"
        );
        let number = ledger.source_id(Path::new("/s"));
        ledger.record_link(Path::new("/t"), b"new", number);
        ledger.save().unwrap();
        let aside = fs::symlink_metadata(folder.path().join("ledger.aside")).unwrap();
        assert_eq!((aside.file_type(), aside.len()), (before.file_type(), before.len()), "{what}");
        assert_eq!(links(&shared(&file, |_, _| true)).len(), 1, "{what}");
        fs::remove_file(&file).unwrap();
    }
    assert_eq!(fs::read(&foreign).unwrap(), b"not a record");
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    assert!(Ledger::load(&file).is_err(), "one of our own is an error");
}

#[test]
fn a_record_that_a_full_disk_cut_does_not_spoil_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let status = std::process::Command::new(program).args(arguments).arg(folder.path()).status();
        assert!(status.unwrap().success());
    };
    run("mount", &["-t", "tmpfs", "-o", "size=64k", "none"]);
    let file = folder.path().join("ledger");
    let mut ledger = Ledger::load(&file).unwrap();
    let number = ledger.source_id(Path::new("/s"));
    fs::write(folder.path().join("ballast"), vec![0; 60 << 10]).unwrap();
    // The page that is left ends within the path of a record.
    let note = |ledger: &mut Ledger, names: std::ops::Range<u32>| {
        names.for_each(|name| {
            ledger.record_link(Path::new("/t"), format!("{name:05}").as_bytes(), number);
        });
        ledger.save().is_ok()
    };
    let refused = !note(&mut ledger, 0..1_000);
    let void = ledger.pending.is_empty();
    fs::remove_file(folder.path().join("ballast")).unwrap();
    let saved = note(&mut ledger, 1_000..1_100);
    let known = links(&Ledger::load(&file).unwrap()).len();
    run("umount", &["--lazy"]);
    assert_eq!((refused, void, saved, known), (true, true, true, 100));
}

#[test]
fn a_second_name_of_the_shared_log_is_found_while_it_is_written_and_one_of_our_own_is_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger");
    let mut ledger = shared(&file, |_, _| true);
    let note = |ledger: &mut Ledger, name: &[u8]| {
        let number = ledger.source_id(Path::new("/s"));
        ledger.record_link(Path::new("/t"), name, number);
        ledger.save().is_ok()
    };
    assert!(note(&mut ledger, b"a"));
    fs::hard_link(&file, folder.path().join("second")).unwrap();
    // Refused once; then the log is set aside, and the next record is in a new one.
    assert!(!note(&mut ledger, b"b") && note(&mut ledger, b"c"));
    assert!(folder.path().join("ledger.aside").exists());
    assert_eq!(links(&Ledger::load(&file).unwrap()).len(), 1);

    let own = folder.path().join("own");
    fs::write(&own, "").unwrap();
    fs::hard_link(&own, folder.path().join("copy")).unwrap();
    assert!(note(&mut Ledger::load(&own).unwrap(), b"a"));
}

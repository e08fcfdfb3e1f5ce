//! Each fault, as a program meets it.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use faultfs::{Fault, FaultFs, Pattern};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tempfile::TempDir;

struct Disk {
    // Dropped in this order: unmounted before the directories go.
    mounted: FaultFs,
    dir: TempDir,
}

impl Disk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (backing, at) = (dir.path().join("backing"), dir.path().join("at"));
        fs::create_dir(&backing).unwrap();
        fs::create_dir(&at).unwrap();
        Self { mounted: FaultFs::mount(&backing, &at).unwrap(), dir }
    }

    fn with(fault: Fault) -> Self {
        let disk = Self::new();
        disk.mounted.inject(fault);
        disk
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join("at").join(name)
    }

    fn behind(&self, name: &str) -> PathBuf {
        self.dir.path().join("backing").join(name)
    }
}

fn everything() -> Pattern {
    Pattern::new("*")
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: io::Result<T>, errno: Errno) {
    assert_eq!(result.unwrap_err().raw_os_error(), Some(errno.raw_os_error()));
}

#[test]
fn without_a_fault_trees_come_through_unchanged_both_ways() {
    let disk = Disk::new();
    let shape = trees::Shape { files: 800, hard_linked: 60, links: 60, directories: 80, bytes: 20_000_000 };
    trees::build(&disk.at("environment"), &shape, 1).unwrap();
    trees::build(&disk.behind("same"), &shape, 1).unwrap();
    assert_eq!(trees::difference(&disk.at("environment"), &disk.behind("same")), Vec::<String>::new());
    trees::edge_cases(&disk.at("strange"), 2).unwrap();
    trees::edge_cases(&disk.behind("same strange"), 2).unwrap();
    assert_eq!(trees::difference(&disk.at("strange"), &disk.behind("same strange")), Vec::<String>::new());
    assert_eq!(trees::difference(&disk.behind("strange"), &disk.at("same strange")), Vec::<String>::new());
    trees::mutate(&disk.at("environment"), 3, 300).unwrap();
    trees::mutate(&disk.behind("same"), 3, 300).unwrap();
    let differ =
        trees::difference_except(&disk.at("environment"), &disk.behind("same"), &[trees::Aspect::Time]);
    assert_eq!(differ, Vec::<String>::new());
}

#[test]
fn holes_are_seen() {
    let disk = Disk::new();
    let file = File::create(disk.at("sparse")).unwrap();
    file.write_all_at(b"x", 1 << 20).unwrap();
    let mut file =
        rustix::fs::openat(CWD, disk.at("sparse"), rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())
            .map(File::from)
            .unwrap();
    assert_eq!(rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).unwrap(), 1 << 20);
    assert_eq!(file.seek(SeekFrom::End(0)).unwrap(), (1 << 20) + 1);
}

#[test]
fn a_byte_cannot_be_read_and_the_pages_before_it_can() {
    let disk = Disk::with(Fault::ReadError { byte: 300_000, files: Pattern::new("*.so") });
    for name in ["x.so", "x.py"] {
        fs::write(disk.behind(name), vec![7; 400_000]).unwrap();
    }
    assert_eq!(fs::read(disk.at("x.py")).unwrap().len(), 400_000);
    fails(fs::read(disk.at("x.so")), Errno::IO);
    let mut start = vec![0; 100_000];
    File::open(disk.at("x.so")).unwrap().read_exact(&mut start).unwrap();
    assert_eq!(start, vec![7; 100_000]);
    disk.mounted.clear();
    assert_eq!(fs::read(disk.at("x.so")).unwrap().len(), 400_000);
}

#[test]
fn a_byte_cannot_be_written() {
    let disk = Disk::with(Fault::WriteError { byte: 5_000, files: Pattern::new("bad/*") });
    fs::create_dir(disk.at("bad")).unwrap();
    fs::write(disk.at("bad/short"), [1; 5_000]).unwrap();
    fails(fs::write(disk.at("bad/long"), [1; 5_001]), Errno::IO);
    fs::write(disk.at("long"), [1; 5_001]).unwrap();
}

#[test]
fn what_cannot_be_synced_can_be_chosen() {
    let disk = Disk::with(Fault::SyncError { files: Pattern::new("bad/*") });
    fs::create_dir(disk.at("bad")).unwrap();
    fails(File::create(disk.at("bad/file")).unwrap().sync_all(), Errno::IO);
    File::create(disk.at("good")).unwrap().sync_all().unwrap();
    File::open(disk.at("bad")).unwrap().sync_all().unwrap();
}

#[test]
fn nothing_can_be_synced() {
    let disk = Disk::with(Fault::SyncError { files: Pattern::new("*") });
    let file = File::create(disk.at("file")).unwrap();
    fails(file.sync_all(), Errno::IO);
    fails(file.sync_data(), Errno::IO);
    fails(File::open(disk.at("")).unwrap().sync_all(), Errno::IO);
    disk.mounted.clear();
    file.sync_all().unwrap();
}

#[test]
fn the_disk_is_full_or_the_quota_used_up() {
    for (fault, errno) in [
        (Fault::NoSpace { after: 1_000_000 }, Errno::NOSPC),
        (Fault::Quota { after: 1_000_000 }, Errno::DQUOT),
    ] {
        let disk = Disk::with(fault);
        fs::write(disk.at("fits"), vec![1; 900_000]).unwrap();
        fails(fs::write(disk.at("does not"), vec![1; 200_000]), errno);
        assert_eq!(fs::metadata(disk.behind("does not")).unwrap().len(), 100_000);
        fails(fs::create_dir(disk.at("directory")), errno);
        disk.mounted.clear();
        fs::create_dir(disk.at("directory")).unwrap();
    }
}

#[test]
fn allotting_more_than_there_is_fails() {
    let disk = Disk::with(Fault::NoSpace { after: 1_000_000 });
    let file = File::create(disk.at("file")).unwrap();
    let allot = |size| rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size);
    assert_eq!(allot(1_000_001), Err(Errno::NOSPC));
    assert_eq!(allot(1_000_000), Ok(()));
}

#[test]
fn inodes_run_out() {
    let disk = Disk::with(Fault::NoInodes { after: 3 });
    fs::create_dir(disk.at("one")).unwrap();
    fs::write(disk.at("two"), "").unwrap();
    symlink("two", disk.at("three")).unwrap();
    fails(fs::write(disk.at("four"), ""), Errno::NOSPC);
    fs::write(disk.at("two"), vec![1; 100_000]).unwrap();
}

#[test]
fn the_disk_reports_its_free_space() {
    let disk = Disk::with(Fault::Claim { bytes: 40_960_000, inodes: 12 });
    let room = rustix::fs::statvfs(disk.at("")).unwrap();
    assert_eq!((room.f_bavail * room.f_frsize, room.f_ffree), (40_960_000, 12));
}

#[test]
fn the_disk_becomes_read_only_in_the_middle() {
    let disk = Disk::new();
    let mut open = File::create(disk.at("open")).unwrap();
    open.write_all(b"before").unwrap();
    disk.mounted.inject(Fault::ReadOnly);
    fails(open.write_all(b"after"), Errno::ROFS);
    fails(fs::write(disk.at("new"), ""), Errno::ROFS);
    fails(fs::remove_file(disk.at("open")), Errno::ROFS);
    fails(fs::rename(disk.at("open"), disk.at("moved")), Errno::ROFS);
    fails(fs::set_permissions(disk.at("open"), Permissions::from_mode(0o600)), Errno::ROFS);
    fails(OpenOptions::new().append(true).open(disk.at("open")), Errno::ROFS);
    assert_eq!(fs::read(disk.at("open")).unwrap(), b"before");
}

#[test]
fn owners_modes_links_and_attributes_can_be_missing() {
    let disk = Disk::new();
    fs::write(disk.at("file"), "x").unwrap();
    for fault in [
        Fault::NoOwners,
        Fault::NoModes,
        Fault::NoSymlinks,
        Fault::NoHardLinks,
        Fault::NoAttributes,
        Fault::NoExchange,
    ] {
        disk.mounted.inject(fault);
    }
    fails(chown(disk.at("file"), Some(1_000), None), Errno::PERM);
    chown(disk.at("file"), Some(0), Some(0)).unwrap();
    fails(fs::set_permissions(disk.at("file"), Permissions::from_mode(0o600)), Errno::PERM);
    fs::set_permissions(disk.at("file"), fs::metadata(disk.at("file")).unwrap().permissions()).unwrap();
    fs::create_dir(disk.at("directory")).unwrap();
    assert_eq!(fs::metadata(disk.at("directory")).unwrap().mode() & 0o7777, 0o777);
    fails(symlink("file", disk.at("link")), Errno::PERM);
    fails(fs::hard_link(disk.at("file"), disk.at("twin")), Errno::PERM);
    let set = rustix::fs::setxattr(disk.at("file"), "user.x", b"1", rustix::fs::XattrFlags::empty());
    assert_eq!(set, Err(Errno::OPNOTSUPP));
    assert_eq!(rustix::fs::listxattr(disk.at("file"), &mut [0_u8; 100]), Err(Errno::OPNOTSUPP));
    let exchange = || renameat_with(CWD, disk.at("file"), CWD, disk.at("directory"), RenameFlags::EXCHANGE);
    assert_eq!(exchange(), Err(Errno::INVAL));
    fs::rename(disk.at("file"), disk.at("moved")).unwrap();
    fs::rename(disk.at("moved"), disk.at("file")).unwrap();
    disk.mounted.clear();
    exchange().unwrap();
    assert!(disk.behind("file").is_dir());
    symlink("file", disk.at("link")).unwrap();
}

#[test]
fn writes_are_lost_and_bytes_turned_without_an_error() {
    let disk = Disk::with(Fault::Truncate { byte: 10, files: Pattern::new("lost") });
    disk.mounted.inject(Fault::Corrupt { byte: 20_000, files: Pattern::new("wrong") });
    fs::write(disk.at("lost"), [1; 100]).unwrap();
    fs::write(disk.at("wrong"), vec![1; 30_000]).unwrap();
    assert_eq!(fs::metadata(disk.at("lost")).unwrap().len(), 10);
    assert_eq!(fs::read(disk.at("lost")).unwrap(), [1; 10]);
    let mut wrong = vec![1; 30_000];
    wrong[20_000] = 254;
    assert_eq!(fs::read(disk.at("wrong")).unwrap(), wrong);
}

#[test]
fn times_are_coarse() {
    let disk = Disk::with(Fault::CoarseTimes);
    let file = File::create(disk.at("file")).unwrap();
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::new(1_000_000_001, 5);
    file.set_times(fs::FileTimes::new().set_modified(time)).unwrap();
    let seen = fs::metadata(disk.at("file")).unwrap();
    assert_eq!((seen.mtime(), seen.mtime_nsec()), (1_000_000_000, 0));
}

#[test]
fn case_does_not_matter() {
    let disk = Disk::with(Fault::CaseInsensitive);
    fs::write(disk.at("Name"), "first").unwrap();
    fs::write(disk.at("NAME"), "second").unwrap();
    assert_eq!(fs::read(disk.at("name")).unwrap(), b"second");
    fails(File::create_new(disk.at("nAME")), Errno::EXIST);
    fails(fs::create_dir(disk.at("name")), Errno::EXIST);
    fs::rename(disk.at("name"), disk.at("moved")).unwrap();
    let listed: Vec<_> = fs::read_dir(disk.at("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(listed, ["moved"]);
    fs::remove_file(disk.at("MOVED")).unwrap();
    assert!(!disk.behind("moved").exists());
}

#[test]
fn a_slow_disk_takes_its_time() {
    let disk = Disk::with(Fault::Slow(Duration::from_millis(30)));
    let started = std::time::Instant::now();
    fs::write(disk.at("file"), "x").unwrap();
    assert!(started.elapsed() >= Duration::from_millis(60), "creating and writing are two requests at least");
}

#[test]
fn it_is_unmounted_when_it_is_dropped_also_while_something_uses_it_and_after_a_panic() {
    let mounted = |at: &PathBuf| {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.contains(at.to_str().unwrap())
    };
    let disk = Disk::new();
    let at = disk.at("").components().collect::<PathBuf>();
    let open = File::create(disk.at("open")).unwrap();
    assert!(mounted(&at));
    drop(disk);
    assert!(!mounted(&at));
    drop(open);
    let panicked = std::panic::catch_unwind(|| {
        let disk = Disk::new();
        let at = disk.at("").components().collect::<PathBuf>();
        let _open = File::create(disk.at("open")).unwrap();
        assert!(mounted(&at));
        std::panic::panic_any(at);
    });
    let at = *panicked.unwrap_err().downcast::<PathBuf>().unwrap();
    assert!(!mounted(&at));
}

#[test]
fn the_program_takes_faults_from_stdin_and_unmounts_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (backing, at) = (dir.path().join("backing"), dir.path().join("at"));
    fs::create_dir(&backing).unwrap();
    fs::create_dir(&at).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_faultfs"))
        .args([&backing, &at])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = io::BufRead::lines(io::BufReader::new(child.stdout.take().unwrap()));
    let mut input = child.stdin.take().unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    writeln!(input, "write-error 0 *").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "ok");
    fails(fs::write(at.join("file"), "x"), Errno::IO);
    writeln!(input, "clear").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "ok");
    fs::write(at.join("file"), "x").unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
    assert!(!at.join("file").exists());
    assert_eq!(fs::read(backing.join("file")).unwrap(), b"x");
}

#[test]
fn a_pattern_that_fits_all_is_a_star() {
    let disk = Disk::with(Fault::ReadError { byte: 0, files: everything() });
    fs::create_dir(disk.behind("deep")).unwrap();
    fs::write(disk.behind("deep/file"), "x").unwrap();
    fails(fs::read(disk.at("deep/file")), Errno::IO);
}

#[test]
fn an_aged_file_seems_unchanged_for_a_while_until_the_fault_ends() {
    let disk = Disk::new();
    for name in ["claim", "other"] {
        fs::write(disk.at(name), "").unwrap();
    }
    let changed = |name| fs::metadata(disk.at(name)).unwrap().ctime();
    let (claim, other) = (changed("claim"), changed("other"));
    disk.mounted.inject(Fault::Aged { seconds: 90, files: Pattern::new("claim") });
    assert_eq!((changed("claim"), changed("other")), (claim - 90, other));
    disk.mounted.clear();
    assert_eq!(changed("claim"), claim);
}

//! A volume that fails: programs keep the image's tree, and once the volume works, the next run completes the copy.

use std::fs;
use std::process::Command;

use faultfs::{Fault, Pattern};
use trees::Aspect;

use crate::fixture::{CommandOutput, Failing, Mount, Site, differences};

fn all() -> Pattern {
    Pattern::new("*")
}

#[test]
fn every_failure_of_the_volume_leaves_the_image_in_use_and_is_overcome_later() {
    let cases = [
        (Fault::WriteError { byte: 100, files: all() }, "Input/output error"),
        (Fault::SyncError { files: all() }, "Input/output error"),
        (Fault::SyncError { files: Pattern::new("*.partial") }, "cannot sync "),
        (Fault::NoSpace { after: 50_000 }, "No space left on device"),
        (Fault::Quota { after: 50_000 }, "Disk quota exceeded"),
        (Fault::NoInodes { after: 25 }, "No space left on device"),
        (Fault::ReadOnly, "Read-only file system"),
        (Fault::Truncate { byte: 900, files: all() }, "still differs from its source after"),
        (Fault::NoSymlinks, "the file system does not support symbolic links"),
        (Fault::Claim { bytes: 1_000, inodes: 1_000_000 }, "not enough space for micromamba"),
        (Fault::Claim { bytes: 1 << 40, inodes: 10 }, "inodes are needed"),
    ];
    for (fault, told) in cases {
        let failing = Failing::new();
        let (site, name) = (&failing.site, format!("{fault:?}"));
        let hint = "mount the volume writable, or start without WORKSPACE_SYNC=true";
        let is_read_only = fault == Fault::ReadOnly;
        let output = failing.run_with(fault);
        assert_eq!(output.stderr.contains(hint), is_read_only, "{name}: {}", output.stderr);
        assert!(!output.stderr.contains("link or file at this path"), "{name}: {}", output.stderr);
        assert_eq!(output.code, 1, "{name}: {output:?}");
        assert!(output.stdout.contains(told), "{name}: {}", output.stdout);
        assert!(!output.stdout.contains("/proc/self"), "{name}: {}", output.stdout);
        assert_eq!(site.leads_to(), site.image("micromamba"), "{name}");
        assert!(!site.copy().exists(), "{name}");
        site.sync();
        assert_eq!(site.leads_to(), site.copy(), "{name}");
        assert_eq!(site.copy_differs_from(&site.image("micromamba")), [""; 0], "{name}");
    }
}

/// Our own files are forced to the disk one by one, so the fault is about the tree's own files alone.
#[test]
fn no_copy_is_whole_before_its_files_are_on_the_disk() {
    let failing = Failing::new();
    let site = &failing.site;
    fs::write(site.image("micromamba").join("library"), "a library of the image").unwrap();
    let output = failing.run_with(Fault::SyncError { files: Pattern::new("*/library") });
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("library: Input/output error"), "{}", output.stdout);
    assert!(!site.copy().exists() && !site.partial().join(".move_complete").exists());
    site.sync();
    // Additions come along with a refresh, under a temporary name at first.
    fs::write(site.copy().join("added"), "by the user").unwrap();
    fs::remove_dir_all(site.root().join("memory")).unwrap();
    fs::write(site.image("micromamba").join("newer"), "2").unwrap();
    failing.volume.inject(Fault::SyncError { files: Pattern::new("*/.tree-copy.*") });
    let output = site.run(&["refresh", "micromamba"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output.stderr.contains(&format!("cannot copy {}", site.copy().join("added").display())),
        "{output:?}"
    );
    assert!(!site.copy().join("newer").exists());
}

#[test]
fn content_that_was_written_wrong_is_noticed_where_every_byte_is_compared() {
    let failing = Failing::new();
    fs::write(failing.site.image("micromamba").join("library"), "a library of the image").unwrap();
    // Under its name, and under the one that it has while it is copied again; not in what is ours.
    for files in ["*/library", "*/.tree-copy.*"] {
        failing.volume.inject(Fault::Corrupt { byte: 10, files: Pattern::new(files) });
    }
    let output = failing.site.run(&["run", "--verify", "hash"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("still differs from its source after"), "{}", output.stdout);
    assert_eq!(failing.site.leads_to(), failing.site.image("micromamba"));
}

#[test]
fn what_a_volume_cannot_keep_is_told_and_the_rest_is_kept() {
    let cases = [
        (Fault::NoOwners, &[Aspect::Owner][..], "owners are not kept"),
        (Fault::NoModes, &[Aspect::Mode], "permission bits are not kept"),
        (Fault::NoHardLinks, &[Aspect::HardLinks], "hard links become copies"),
        (Fault::CoarseTimes, &[Aspect::Time], "times are rounded"),
        (Fault::NoExchange, &[], ""),
    ];
    for (fault, lost, told) in cases {
        let failing = Failing::new();
        let site = &failing.site;
        let name = format!("{fault:?}");
        let image = site.image("micromamba");
        // Something that only other owners show.
        let status = Command::new("chown").args(["-hR", "1234:1234"]).arg(&image).status();
        assert!(status.unwrap().success());
        failing.volume.inject(fault);
        let output = site.run(&["run"]);
        assert_eq!(output.code, 0, "{name}: {output:?}");
        assert!(output.stderr.contains(told), "{name}: {}", output.stderr);
        assert_eq!(site.leads_to(), site.copy());
        let found: Vec<String> = trees::difference_except(&image, &site.copy(), lost)
            .into_iter()
            .filter(|line| !line.starts_with(".move_complete:") && !line.starts_with(".sync_manifest:"))
            .filter(|line| !line.starts_with(".: time"))
            .collect();
        assert_eq!(found, [""; 0], "{name}");
        assert_eq!(
            site.sync().stdout,
            format!("micromamba: {} is in use\n", site.copy().display()),
            "{name}"
        );
    }
}

#[test]
fn a_refresh_works_where_names_cannot_be_exchanged() {
    let failing = Failing::new();
    failing.volume.inject(Fault::NoExchange);
    let site = &failing.site;
    site.sync();
    fs::remove_dir_all(site.root().join("memory")).unwrap();
    fs::write(site.image("micromamba").join("newer"), "2").unwrap();
    assert_eq!(site.run(&["refresh", "micromamba"]).code, 0);
    assert_eq!(site.leads_to(), site.copy());
    assert_eq!(differences(&site.image("micromamba"), &site.copy()), [""; 0]);
    assert_eq!(site.run(&["rollback", "micromamba"]).code, 0);
    assert!(!site.copy().join("newer").exists());
    assert_eq!(site.leads_to(), site.copy());
}

#[test]
fn what_is_too_much_in_a_partial_copy_goes_also_where_listings_are_as_old_as_their_directory() {
    let failing = Failing::new();
    let site = &failing.site;
    assert_eq!(failing.run_with(Fault::NoSpace { after: 50_000 }).code, 1);
    fs::create_dir(site.partial().join("surplus")).unwrap();
    for name in ["surplus/one", "surplus/other", "file"] {
        fs::write(site.partial().join(name), "").unwrap();
    }
    site.sync();
    assert_eq!(site.copy_differs_from(&site.image("micromamba")), [""; 0]);
}

#[test]
fn a_volume_that_becomes_read_only_in_the_middle_ends_the_copy_and_is_gone_on_with_later() {
    let failing = Failing::new();
    let site = &failing.site;
    let run = failing.start();
    failing.volume.inject(Fault::ReadOnly);
    let output = CommandOutput::of(run.wait_with_output().unwrap());
    assert!(output.code == 1 && output.stdout.contains("Read-only file system"), "{output:?}");
    assert_eq!(site.leads_to(), site.image("micromamba"));
    assert!(site.partial().exists() && !site.copy().exists());
    failing.volume.clear();
    site.sync();
    assert_eq!(site.copy_differs_from(&site.image("micromamba")), [""; 0]);
}

#[test]
fn on_a_file_system_of_another_kind_of_system_the_copy_is_what_that_can_keep() {
    let site = Site::small();
    let image = site.image("micromamba");
    assert!(Command::new("chown").args(["-hR", "1234:1234"]).arg(&image).status().unwrap().success());
    let disk = site.root().join("disk");
    fs::File::create(&disk).unwrap().set_len(256 << 20).unwrap();
    let mut format = Command::new("mkfs.ntfs");
    assert!(format.args(["-q", "-F", "-f"]).arg(&disk).output().unwrap().status.success());
    let volume = site.volume();
    let _mount = Mount::ntfs(&disk, &volume);
    let output = site.sync();
    for lost in ["owners are not kept", "permission bits are not kept"] {
        assert!(output.stderr.contains(lost), "{output:?}");
    }
    assert_eq!(site.leads_to(), site.copy());
    let found: Vec<String> = trees::difference_except(
        &site.image("micromamba"),
        &site.copy(),
        &[Aspect::Owner, Aspect::Mode, Aspect::Time],
    )
    .into_iter()
    .filter(|line| !line.starts_with(".move_complete:") && !line.starts_with(".sync_manifest:"))
    .collect();
    assert_eq!(found, [""; 0]);
    assert_eq!(site.run(&["verify", "--hash"]).code, 0);
}

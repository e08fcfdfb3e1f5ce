//! The image's tree: a disk that cannot be read, and files that go while they are copied.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use faultfs::{Fault, FaultFs, Pattern};

use crate::fixture::{CommandOutput, Site};

/// A site whose image can be made to fail; dropped before the site's directory.
struct Failing {
    image: FaultFs,
    site: Site,
}

impl Failing {
    fn new() -> Self {
        let site = Site::small();
        // A tree that is a mount itself would stay where it is.
        let (images, behind) = (site.root().join("opt/.image"), site.root().join("behind"));
        fs::rename(&images, &behind).unwrap();
        fs::create_dir(&images).unwrap();
        Self { image: FaultFs::mount(&behind, &images).unwrap(), site }
    }

    fn behind(&self) -> PathBuf {
        self.site.root().join("behind/micromamba")
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_copy_is_completed_once_it_can() {
    let failing = Failing::new();
    let site = &failing.site;
    let bad = site.image("micromamba").join("library.so");
    fs::write(&bad, vec![7; 9_000]).unwrap();
    failing.image.inject(Fault::ReadError { byte: 5_000, files: Pattern::new("micromamba/library.so") });
    let output = site.run(&["run"]);
    assert_eq!(output.code, 1, "{output:?}");
    let told = format!("cannot read {}: Input/output error (os error 5)", bad.display());
    assert!(output.stdout.contains(&told), "{output:?}");
    assert_eq!(site.leads_to(), site.image("micromamba"));
    assert!(!site.copy().exists());
    failing.image.clear();
    site.sync();
    assert_eq!(site.copy_differs_from(&site.image("micromamba")), [""; 0]);
}

#[test]
fn files_that_vanish_while_they_are_copied_are_not_in_the_copy_and_no_failure() {
    let failing = Failing::new();
    let site = &failing.site;
    for directory in ["a", "z"] {
        fs::create_dir(failing.behind().join(directory)).unwrap();
        for number in 0..100 {
            fs::write(failing.behind().join(directory).join(number.to_string()), "x").unwrap();
        }
    }
    symlink("nowhere", failing.behind().join("z/link")).unwrap();
    failing.image.inject(Fault::Slow(Duration::from_millis(1)));
    let mut command = site.command(&["run"]);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    kit::wait::until(Duration::from_mins(1), "the first file of one of them", || {
        let begun =
            |name| fs::read_dir(site.partial().join(name)).is_ok_and(|mut names| names.next().is_some());
        (begun("a") || begun("z")).then_some(())
    })
    .unwrap();
    for number in 0..100 {
        fs::remove_file(failing.behind().join("a").join(number.to_string())).unwrap();
    }
    fs::remove_dir_all(failing.behind().join("z")).unwrap();
    failing.image.clear();
    let output = CommandOutput::of(run.wait_with_output().unwrap());
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(site.leads_to(), site.copy());
    assert!(!site.copy().join("z").exists());
    assert_eq!(site.copy_differs_from(&site.image("micromamba")), [""; 0]);
}

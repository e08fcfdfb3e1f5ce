//! A pass that is killed at any moment, and the one after it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tree_copy::{NoObserver, Options, pass, probe};

use crate::fixture::{Trees, describe};

const SOURCE: &str = "PASS_SOURCE";
const TARGET: &str = "PASS_TARGET";

/// A process of its own that can be killed: this test program, which runs the one test below over these trees. No other
/// program would be sure to be built, and to be today's.
fn start(trees: &Trees) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env_clear().env(SOURCE, &trees.source).env(TARGET, &trees.target);
    command.args(["--exact", "crash::one_pass_makes_the_trees_equal", "--quiet"]);
    command.stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn one_pass_makes_the_trees_equal() {
    let named = |name| std::env::var_os(name).map(PathBuf::from);
    let trees = Trees::new();
    let (source, target) = match (named(SOURCE), named(TARGET)) {
        (Some(source), Some(target)) => (source, target),
        _ => {
            grow(&trees);
            (trees.source.clone(), trees.target.clone())
        }
    };
    let can = probe(target.parent().unwrap()).unwrap();
    pass(&source, &target, &Options::new(&can), &NoObserver).unwrap();
    assert_eq!(describe(&source), describe(&target));
}

fn grow(trees: &Trees) {
    for directory in 0_u8..10 {
        let path = trees.source.join(format!("d{directory}"));
        fs::create_dir_all(path.join("below")).unwrap();
        for number in 0..30_usize {
            let size = [10, 3000, 70_000, 700_000][number % 4];
            fs::write(path.join(format!("f{number}")), vec![directory; size + number]).unwrap();
        }
        fs::hard_link(path.join("f1"), path.join("below/hard")).unwrap();
        symlink("f1", path.join("link")).unwrap();
    }
}

#[test]
fn after_a_kill_another_pass_makes_the_trees_equal() {
    const KILLS: u32 = 40;
    let trees = Trees::new();
    grow(&trees);
    let run = || start(&trees);
    let started = Instant::now();
    assert!(run().wait().unwrap().success());
    // Kills come at moments spread over this time, which follows what the machine needs.
    let mut window = started.elapsed();
    let mut killed = 0;
    while killed < KILLS {
        fs::remove_dir_all(&trees.target).unwrap();
        fs::create_dir(&trees.target).unwrap();
        // Several over the same half-made tree.
        for part in [killed % 10, (killed * 7 + 3) % 10, 5] {
            let mut child = run();
            // The moment is the input of the test, not something to wait for.
            std::thread::sleep(window.mul_f64(f64::from(part + 1) / 10.0));
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                window = window.mul_f64(0.9);
            } else {
                killed += 1;
            }
        }
        assert!(run().wait().unwrap().success());
        assert_eq!(describe(&trees.source), describe(&trees.target), "after {killed} kills");
    }
}

//! Plan of a tree, made before anything is written.

use std::path::{Path, PathBuf};

use crate::random::Random;
use crate::shape::Shape;

/// Path of an environment in the image, to which its absolute links point.
const PREFIX: &str = "/opt/micromamba";
/// Directories are not nested deeper than in real environments.
const DEEPEST: usize = 12;
/// 1 January 2022 and three years of seconds: when files of an environment were made.
const FIRST_SECOND: u64 = 1_640_995_200;
const SECONDS: u64 = 3 * 365 * 86_400;

const FOLDERS: &[&str] =
    &["lib", "site-packages", "share", "include", "bin", "tests", "data", "core", "_internal", "__pycache__"];
const STEMS: &[&str] = &["module", "libtensor", "kernel", "header", "locale", "README", "test_array", "init"];
const ENDINGS: &[&str] = &[".py", ".pyc", ".so", ".h", ".json", "", ".txt", ".so.12.1", " copy.py"];
/// Most modes are those of a package manager; some are set by users.
const FILE_MODES: &[u32] =
    &[0o644, 0o644, 0o644, 0o644, 0o644, 0o755, 0o755, 0o664, 0o664, 0o600, 0o444, 0o555];
const DIRECTORY_MODES: &[u32] = &[0o755, 0o755, 0o755, 0o775, 0o700, 0o2775];

/// A time as utimensat(2) takes it: seconds and nanoseconds since 1970.
pub type Time = (i64, i64);

/// A directory; its parent comes before it in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    pub path: PathBuf,
    pub mode: u32,
    pub time: Time,
}

/// A regular file under its first name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub path: PathBuf,
    /// The stream that its content comes from.
    pub stream: u64,
    pub size: u64,
    pub mode: u32,
    pub time: Time,
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub path: PathBuf,
    pub target: PathBuf,
    pub time: Time,
}

/// A planned tree; paths are relative to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub root: Directory,
    pub directories: Vec<Directory>,
    pub files: Vec<File>,
    /// Further names: the index of a file, and the name.
    pub hard_links: Vec<(usize, PathBuf)>,
    pub links: Vec<Link>,
}

/// Plans the tree.
pub fn plan(shape: &Shape, seed: u64) -> Plan {
    let mut random = Random::new(seed);
    let root = Directory { path: PathBuf::new(), mode: 0o755, time: time(&mut random) };
    let directories = directories(shape.directories, &mut random);
    let folder = |random: &mut Random| -> &Path {
        match random.index(directories.len() + 1) {
            0 => Path::new(""),
            number => &directories[number - 1].path,
        }
    };
    let own = shape.files - shape.hard_linked.min(shape.files);
    let mut files: Vec<File> = sizes(own, shape.bytes)
        .into_iter()
        .enumerate()
        .map(|(number, size)| File {
            path: folder(&mut random).join(name(number, &mut random)),
            stream: number as u64,
            size,
            mode: *random.pick(FILE_MODES),
            time: time(&mut random),
        })
        .collect();
    // So that the large ones are found anywhere in a walk.
    random.shuffle(&mut files);
    let hard_links = if own == 0 {
        Vec::new()
    } else {
        // Few enough that many have two names and some have several, as package caches give them.
        let linked = (shape.hard_linked * 4 / 5).clamp(1, own);
        (0..shape.hard_linked)
            .map(|number| (random.index(linked), folder(&mut random).join(name(own + number, &mut random))))
            .collect()
    };
    let links = (0..shape.links)
        .map(|number| Link {
            path: folder(&mut random).join(format!("link-{number}")),
            target: target(&files, &directories, &mut random),
            time: time(&mut random),
        })
        .map(|link| Link { target: seen_from(&link.path, link.target), ..link })
        .collect();
    Plan { root, directories, files, hard_links, links }
}

fn directories(count: usize, random: &mut Random) -> Vec<Directory> {
    let mut made: Vec<Directory> = Vec::with_capacity(count);
    for number in 0..count {
        let parent = match random.index(number + 1) {
            0 => Path::new(""),
            parent => &made[parent - 1].path,
        };
        let parent =
            if parent.components().count() < DEEPEST { parent } else { parent.parent().unwrap_or(parent) };
        let path = parent.join(format!("{}-{number}", random.pick(FOLDERS)));
        made.push(Directory { path, mode: *random.pick(DIRECTORY_MODES), time: time(random) });
    }
    made
}

/// Returns `count` sizes that sum up to `bytes`, smallest first: most are small, a few have a large part of all bytes.
///
/// They are quantiles of a log-logistic distribution of shape 1.1, so they depend on no seed.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn sizes(count: usize, bytes: u64) -> Vec<u64> {
    let quantile = |number: usize| {
        let part = (number as f64 + 0.5) / count as f64;
        (part / (1.0 - part)).powf(1.0 / 1.1)
    };
    let scale = bytes as f64 / (0..count).map(quantile).sum::<f64>();
    let mut sizes: Vec<u64> = (0..count).map(|number| (quantile(number) * scale) as u64).collect();
    // What rounding took goes to the largest.
    let left = bytes.saturating_sub(sizes.iter().sum());
    if let Some(largest) = sizes.last_mut() {
        *largest += left;
    }
    sizes
}

fn name(number: usize, random: &mut Random) -> String {
    format!("{}_{number}{}", random.pick(STEMS), random.pick(ENDINGS))
}

fn time(random: &mut Random) -> Time {
    let signed = |number: u64| i64::try_from(number).unwrap_or(0);
    (signed(FIRST_SECOND + random.below(SECONDS)), signed(random.below(1_000_000_000)))
}

/// Something in the tree, something in the image, or nothing; relative ones as seen from the root.
fn target(files: &[File], directories: &[Directory], random: &mut Random) -> PathBuf {
    let file = |random: &mut Random| match files {
        [] => PathBuf::from("nothing"),
        files => random.pick(files).path.clone(),
    };
    match random.below(100) {
        0..65 => file(random),
        65..80 if !directories.is_empty() => random.pick(directories).path.clone(),
        80..92 => Path::new(PREFIX).join(file(random)),
        _ => PathBuf::from(format!("gone/module_{}.so", random.below(1_000))),
    }
}

/// A target as the link at `link` must spell it.
fn seen_from(link: &Path, target: PathBuf) -> PathBuf {
    if target.is_absolute() {
        return target;
    }
    let up = link.components().count().saturating_sub(1);
    std::iter::repeat_n("..", up).collect::<PathBuf>().join(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_exactly_its_shape() {
        let shape = Shape::environment().scaled(1, 10);
        let plan = plan(&shape, 1);
        let planned = Shape {
            files: plan.files.len() + plan.hard_links.len(),
            hard_linked: plan.hard_links.len(),
            links: plan.links.len(),
            directories: plan.directories.len(),
            bytes: plan.files.iter().map(|file| file.size).sum(),
        };
        assert_eq!(planned, shape);
    }

    #[test]
    fn most_files_are_small_and_a_few_are_very_large() {
        let shape = Shape::environment();
        let sizes = sizes(shape.files - shape.hard_linked, shape.bytes);
        assert_eq!(sizes.iter().sum::<u64>(), shape.bytes);
        assert!((5_000..16_000).contains(&sizes[sizes.len() / 2]), "{}", sizes[sizes.len() / 2]);
        let last = sizes[sizes.len() - 1];
        assert!((500_000_000..600_000_000).contains(&last), "{last}");
        assert!(sizes[sizes.len() - 3] > 80_000_000);
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_one_another() {
        let shape = Shape::environment().scaled(1, 100);
        assert_eq!(plan(&shape, 1), plan(&shape, 1));
        assert_ne!(plan(&shape, 1), plan(&shape, 2));
    }

    #[test]
    fn a_tree_of_nothing_is_a_root() {
        let shape = Shape { files: 0, hard_linked: 0, links: 0, directories: 0, bytes: 0 };
        let plan = plan(&shape, 1);
        assert!(plan.files.is_empty() && plan.directories.is_empty());
    }

    #[test]
    fn a_relative_target_starts_at_the_link() {
        assert_eq!(seen_from(Path::new("a/b/link"), "c/file".into()), Path::new("../../c/file"));
        assert_eq!(seen_from(Path::new("link"), "c/file".into()), Path::new("c/file"));
        assert_eq!(seen_from(Path::new("a/link"), "/opt/x".into()), Path::new("/opt/x"));
    }
}

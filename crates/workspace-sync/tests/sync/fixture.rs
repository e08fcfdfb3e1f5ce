//! A container's `/opt` and a volume, in a temporary directory.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use faultfs::{Fault, FaultFs};
use tempfile::TempDir;
use trees::Shape;

/// Both, with the tree `micromamba` built into the image.
pub struct Site {
    /// Dropped before the directory that it is mounted on.
    #[expect(dead_code, reason = "unmounts when it is dropped")]
    memory: Option<Mount>,
    directory: TempDir,
    variables: Vec<(String, String)>,
}

/// The tool in a directory of its own: beside the one that cargo built is a fix-perms, which would correct the copies.
fn alone() -> &'static Path {
    static ALONE: OnceLock<PathBuf> = OnceLock::new();
    ALONE.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alone");
        fs::create_dir_all(&directory).unwrap();
        let (next, program) =
            (directory.join(std::process::id().to_string()), directory.join("workspace-sync"));
        fs::hard_link(env!("CARGO_BIN_EXE_workspace-sync"), &next).unwrap();
        fs::rename(&next, &program).unwrap();
        // Two names of one file are not replaced by each other.
        let _ = fs::remove_file(&next);
        program
    })
}

/// Returns the claim of a container of this name, in this start of it.
pub fn claim_of(container: &str) -> String {
    let instance = kit::start_id::id();
    format!(
        r#"{{"tree":"micromamba","container":"{container}","instance":"{instance}","host":"pod-b","boot":""}}"#
    )
}

/// A site whose volume can be made to fail; dropped before the site's directory.
pub struct Failing {
    pub volume: FaultFs,
    pub site: Site,
}

impl Failing {
    pub fn new() -> Self {
        Self::with(Site::small())
    }

    pub fn with(site: Site) -> Self {
        let backing = site.root().join("backing");
        fs::create_dir(&backing).unwrap();
        let volume = FaultFs::mount(&backing, &site.volume()).unwrap();
        Self { volume, site }
    }

    /// The partial copy behind the failing volume.
    pub fn behind_partial(&self) -> PathBuf {
        self.site.root().join("backing/environments/micromamba-base-image.partial")
    }

    /// Starts a run, the volume being slow, and returns when it is in the middle of its copy.
    pub fn start(&self) -> Child {
        self.volume.inject(Fault::Slow(Duration::from_millis(4)));
        let mut command = self.site.command(&["run"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let copied = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.path().is_dir());
        kit::wait::until(Duration::from_mins(1), "the first directory of the copy", || {
            fs::read_dir(self.behind_partial()).ok()?.any(copied).then_some(())
        })
        .unwrap();
        child
    }

    pub fn run_with(&self, fault: Fault) -> CommandOutput {
        self.volume.inject(fault);
        let output = self.site.run(&["run"]);
        self.volume.clear();
        output
    }
}

/// A file system of its own, unmounted when dropped.
pub struct Mount(PathBuf);

impl Mount {
    pub fn tmpfs(at: &Path, options: &str) -> Self {
        Self::new("tmpfs", at, options)
    }

    fn new(kind: &str, at: &Path, options: &str) -> Self {
        let status = Command::new("mount").args(["-t", kind, "-o", options, kind]).arg(at).status();
        assert!(status.unwrap().success(), "mounting needs root");
        Self(at.to_owned())
    }
}

impl Mount {
    /// Another place of the same file system.
    pub fn bind(from: &Path, at: &Path) -> Self {
        let status = Command::new("mount").arg("--bind").args([from, at]).status();
        assert!(status.unwrap().success(), "mounting needs root");
        Self(at.to_owned())
    }

    /// A disk in a file whose files can share blocks.
    pub fn xfs(disk: &Path, at: &Path) -> Self {
        let mut format = Command::new("mkfs.xfs");
        assert!(format.args(["-q", "-m", "reflink=1"]).arg(disk).status().unwrap().success());
        let status = Command::new("mount").args(["-o", "loop"]).args([disk, at]).status();
        assert!(status.unwrap().success(), "mounting needs root and xfs");
        Self(at.to_owned())
    }

    /// A formatted disk in a file.
    pub fn ntfs(disk: &Path, at: &Path) -> Self {
        let status = Command::new("ntfs-3g").args(["-o", "no_def_opts,silent"]).args([disk, at]).status();
        assert!(status.unwrap().success(), "mounting needs root and ntfs-3g");
        Self(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A start of the container, as `init` makes it, and late boot's first step.
#[track_caller]
pub fn start(site: &Site) {
    init(site);
    assert_eq!(site.run(&["snapshot"]).code, 0);
}

/// Does what `init` does, in a later tick of the clock than the image was made in.
#[track_caller]
pub fn init(site: &Site) {
    let tick = || {
        let probe = site.root().join("opt/probe");
        fs::write(&probe, "").unwrap();
        let changed = fs::metadata(&probe).unwrap().modified().unwrap();
        fs::remove_file(&probe).unwrap();
        changed
    };
    let before = tick();
    kit::wait::until(Duration::from_secs(10), "the next tick", || (tick() > before).then_some(())).unwrap();
    let workspace = workspace::Workspace {
        path: site.volume(),
        uid: 1000,
        gid: 1000,
        mounted: true,
        slug: "base-image".into(),
    };
    let (opt, memory) = (site.root().join("opt"), site.root().join("memory"));
    assert_eq!(workspace_sync::adopt(&opt, &workspace, &kit::Env::default(), &memory), []);
}

/// Result of a run.
#[derive(Debug)]
pub struct CommandOutput {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Site {
    /// An image with a tree of this shape, and an empty mounted volume.
    pub fn with(shape: &Shape, seed: u64) -> Self {
        Self::empty().and_tree(shape, seed)
    }

    /// The same in memory, for what is done many times: no disk is waited for.
    pub fn in_memory(shape: &Shape, seed: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mount = Mount::tmpfs(directory.path(), "size=2g");
        Self { memory: Some(mount), ..Self::at(directory) }.and_tree(shape, seed)
    }

    fn and_tree(self, shape: &Shape, seed: u64) -> Self {
        let site = self;
        let image = site.image("micromamba");
        trees::build(&image, shape, seed).unwrap();
        symlink(&image, site.active_link("micromamba")).unwrap();
        site
    }

    /// Makes what the image has so far the lower layer of an overlay, as an engine does for each container.
    pub fn layered(&self) -> Mount {
        let (opt, root) = (self.root().join("opt"), self.root().join("layers"));
        fs::create_dir_all(root.join("upper")).unwrap();
        fs::create_dir(root.join("work")).unwrap();
        fs::rename(&opt, root.join("lower")).unwrap();
        fs::create_dir(&opt).unwrap();
        let layer = |name: &str| format!("{name}dir={}", root.join(name).display());
        let options = ["lower", "upper", "work"].map(layer).join(",");
        Mount::new("overlay", &opt, &format!("{options},redirect_dir=off"))
    }

    /// A new container knows nothing of the one before.
    pub fn forget(&self) {
        let _ = fs::remove_dir_all(self.root().join("memory"));
        // Later changes than a container's first event are not its image's.
        let _ = fs::remove_file(self.root().join("boot.jsonl"));
    }

    /// The next container of the same image.
    pub fn layered_anew(&self, layers: Mount) -> Mount {
        drop(layers);
        let (opt, root) = (self.root().join("opt"), self.root().join("layers"));
        fs::remove_dir(&opt).unwrap();
        fs::rename(root.join("lower"), &opt).unwrap();
        fs::remove_dir_all(root).unwrap();
        self.forget();
        self.layered()
    }

    /// An image with a small tree.
    pub fn small() -> Self {
        Self::with(&Shape { files: 40, hard_linked: 6, links: 8, directories: 9, bytes: 200_000 }, 7)
    }

    fn empty() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(directory: TempDir) -> Self {
        fs::create_dir_all(directory.path().join("opt/.image")).unwrap();
        fs::create_dir(directory.path().join("ws")).unwrap();
        let variables = vec![
            ("WORKSPACE".to_owned(), directory.path().join("ws").to_str().unwrap().to_owned()),
            ("WORKSPACE_UID".to_owned(), "1000".to_owned()),
            ("WORKSPACE_GID".to_owned(), "1000".to_owned()),
            ("WORKSPACE_MOUNTED".to_owned(), "true".to_owned()),
            ("WORKSPACE_SYNC".to_owned(), "true".to_owned()),
        ];
        Self { memory: None, directory, variables }
    }

    /// Sets a variable of the tool's environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn volume(&self) -> PathBuf {
        self.root().join("ws")
    }

    pub fn active_link(&self, name: &str) -> PathBuf {
        self.root().join("opt").join(name)
    }

    pub fn image(&self, name: &str) -> PathBuf {
        self.root().join("opt/.image").join(name)
    }

    /// The copy of `micromamba`.
    pub fn copy(&self) -> PathBuf {
        self.volume().join("environments/micromamba-base-image")
    }

    pub fn partial(&self) -> PathBuf {
        self.volume().join("environments/micromamba-base-image.partial")
    }

    /// The tool with these arguments, not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(alone(), arguments)
    }

    /// The tool at a path of its own; it runs the programs that are beside it.
    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .args(arguments)
            .arg("--opt")
            .arg(self.root().join("opt"))
            .arg("--state-dir")
            .arg(self.root().join("memory"))
            .arg("--journal")
            .arg(self.root().join("boot.jsonl"))
            .arg("--provisioning")
            .arg(self.provisioning());
        command
    }

    /// The marker that exists until provisioning has ended.
    pub fn provisioning(&self) -> PathBuf {
        self.root().join("container_config")
    }

    /// Returns the output of `status --json` about `micromamba`.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let output = self.run(&["status", "--json"]);
        assert_eq!(output.code, 0, "{output:?}");
        serde_json::from_str(output.stdout.lines().next().unwrap()).unwrap()
    }

    pub fn run(&self, arguments: &[&str]) -> CommandOutput {
        CommandOutput::of(self.command(arguments).output().unwrap())
    }

    /// `run` as a root whom permissions bind.
    pub fn run_without_override(&self) -> CommandOutput {
        let tool = self.command(&["run"]);
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-dac_override,-dac_read_search"]);
        command.arg(tool.get_program()).args(tool.get_args()).env_clear();
        let variables = tool.get_envs().filter_map(|(name, value)| Some((name, value?)));
        CommandOutput::of(command.envs(variables).output().unwrap())
    }

    /// `run`, which must succeed.
    #[track_caller]
    pub fn sync(&self) -> CommandOutput {
        let output = self.run(&["run"]);
        assert_eq!(output.code, 0, "{output:?}");
        output
    }

    /// Returns the target of the active link of `micromamba`.
    pub fn leads_to(&self) -> PathBuf {
        fs::read_link(self.active_link("micromamba")).unwrap()
    }

    /// Every way in which the copy differs from `tree`, ours and the root's time left out.
    pub fn copy_differs_from(&self, tree: &Path) -> Vec<String> {
        differences(tree, &self.copy())
    }
}

/// Every way in which `copy` differs from `tree`, but what makes it a copy.
pub fn differences(tree: &Path, copy: &Path) -> Vec<String> {
    trees::difference(tree, copy)
        .into_iter()
        .filter(|line| {
            !line.starts_with(".move_complete:")
                && !line.starts_with(".sync_manifest:")
                && !line.starts_with(".: time")
        })
        .collect()
}

impl CommandOutput {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A program that works in a directory of the old tree, so that it is followed, until this is dropped.
pub struct Worker(Child);

impl Worker {
    pub fn at(directory: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read line"]).current_dir(directory).stdin(Stdio::piped());
        Self(shell.spawn().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Waits until a file has this content.
#[track_caller]
pub fn wait_for(file: &Path, content: &[u8]) {
    let is_there = || (fs::read(file).ok().as_deref() == Some(content)).then_some(());
    let waited = kit::wait::until(Duration::from_secs(30), "the follower", is_there);
    assert!(waited.is_ok(), "{} is {:?}", file.display(), fs::read(file));
}

/// A process that is killed when it is dropped, also by a test that fails.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    pub fn ends_well(mut self) {
        assert!(self.0.wait().unwrap().success());
    }

    /// Asks it to end, as supervisord does.
    #[track_caller]
    pub fn stop(self) {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        assert!(asked.unwrap().success());
        self.ends_well();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

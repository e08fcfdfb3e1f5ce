//! A pane of a private tmux server. The test writes to the pane's terminal as the pane's program would.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Command, Output};

use tempfile::TempDir;

pub const COLUMNS: usize = 400;
pub const ROWS: usize = 50;

pub struct Pane {
    directory: TempDir,
    terminal: File,
}

impl Pane {
    pub fn start() -> Pane {
        let directory = TempDir::new().unwrap();
        // The program keeps the terminal open, and leaves tmux's answers to the test.
        let program = "stty raw -echo opost onlcr && tmux wait-for -S ready; exec sleep infinity";
        let size = [COLUMNS, ROWS].map(|size| size.to_string());
        run(
            &directory,
            &["set", "-g", "history-limit", "100000", ";", "set", "-g", "status", "off", ";"],
            &["new-session", "-d", "-x", &size[0], "-y", &size[1], program],
        );
        run(&directory, &["wait-for", "ready"], &[]);
        let path = run(&directory, &["display", "-p", "#{pane_tty}"], &[]);
        let path = String::from_utf8(path.stdout).unwrap();
        let terminal = OpenOptions::new().read(true).write(true).open(path.trim_end()).unwrap();
        Pane { directory, terminal }
    }

    /// Returns all rows after this output, with the sequences of their styles.
    pub fn show(&self, output: &[u8]) -> Vec<u8> {
        // Everything is reset, the history and the saved cursor too. The question is answered after the output.
        let reset = b"\x1b[m\x1bc\x1b[3J\x1b[H\x1b7";
        let mut terminal = &self.terminal;
        terminal.write_all(&[&reset[..], output, b"\x1b[6n"].concat()).unwrap();
        let mut answer = [0; 64];
        let mut length = 0;
        while !answer[..length].ends_with(b"R") {
            length += terminal.read(&mut answer[length..]).unwrap();
        }
        run(&self.directory, &["capture-pane", "-p", "-e", "-S", "-"], &[]).stdout
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        run(&self.directory, &["kill-server"], &[]);
    }
}

fn run(directory: &TempDir, first: &[&str], more: &[&str]) -> Output {
    let mut tmux = Command::new("tmux");
    tmux.args(["-u", "-f", "/dev/null", "-S"]).arg(directory.path().join("socket")).args(first).args(more);
    tmux.env_remove("TMUX").env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
    let output = tmux.output().expect("tmux is installed by `cargo xtask test`");
    assert!(output.status.success(), "{tmux:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

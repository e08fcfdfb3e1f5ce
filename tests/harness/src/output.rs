//! Output and exit code of a command.

use std::process;

/// Exit code and both streams, with assertions that show all three.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl From<process::Output> for Output {
    fn from(output: process::Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Output {
    /// stdout as text, after a success.
    #[track_caller]
    pub fn text(&self) -> String {
        assert_eq!(self.code, Some(0), "failed: {}\n{}", self.stderr, String::from_utf8_lossy(&self.stdout));
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }

    /// stderr, after a failure with this code.
    #[track_caller]
    pub fn failure(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stderr, String::from_utf8_lossy(&self.stdout));
        &self.stderr
    }
}

//! Verdict on a script's end.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use kit::duration::words;
use nix::sys::signal::Signal;

use crate::failure::Failure;

const RERUN_HINT: &str = "to run it again: supervisorctl restart boot";

/// Reason for which `provision` ended the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    TimeLimit,
    /// `provision` received it.
    Signal(Signal),
}

/// Returns the advice about a script that failed.
pub fn rerun_hint(log: &Path) -> String {
    format!("read {}; {RERUN_HINT}", log.display())
}

/// Returns the failure that a script's end amounts to, or nothing after a success.
///
/// Everybody may read it, so it quotes nothing that the script printed.
pub fn failure_of(
    status: ExitStatus,
    stop: Option<StopReason>,
    limit: Option<Duration>,
    log: &Path,
) -> Option<Failure> {
    match (stop, status.success()) {
        (Some(StopReason::TimeLimit), _) => Some(Failure::new(
            format!(
                "the script exceeded PROVISIONING_TIMEOUT ({}) and was stopped",
                words(limit.unwrap_or_default().as_secs())
            ),
            "increase the limit, for example PROVISIONING_TIMEOUT=2h, or unset it",
        )),
        (Some(StopReason::Signal(signal)), _) => Some(Failure::new(
            format!("the script was stopped because provision received {signal}"),
            RERUN_HINT,
        )),
        (None, true) => None,
        (None, false) => Some(Failure::new(ended(status), rerun_hint(log))),
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (_, Some(9)) => "the script was killed (signal 9), often because memory was full".to_owned(),
        (_, Some(signal)) => format!("the script was terminated by signal {signal}"),
        (Some(126), _) => "the script failed with exit code 126: a command cannot be executed".to_owned(),
        (Some(127), _) => "the script failed with exit code 127: a command was not found".to_owned(),
        (Some(137), _) => {
            "the script failed with exit code 137: a program was killed (signal 9), often because memory was full"
                .to_owned()
        }
        (Some(code @ 129..=192), _) => {
            format!("the script failed with exit code {code}: a program was terminated by signal {}", code - 128)
        }
        (Some(code), _) => format!("the script failed with exit code {code}"),
        (None, None) => "the script exited in an unknown way".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(raw: i32, stop: Option<StopReason>) -> Option<String> {
        failure_of(ExitStatus::from_raw(raw), stop, Some(Duration::from_mins(30)), Path::new("/l"))
            .map(|failure| failure.cause)
    }

    #[test]
    fn every_end_but_a_good_one_has_its_words() {
        let exit = |code: i32| cause(code << 8, None);
        assert_eq!(exit(0), None);
        assert_eq!(exit(3).unwrap(), "the script failed with exit code 3");
        assert_eq!(exit(127).unwrap(), "the script failed with exit code 127: a command was not found");
        assert_eq!(
            exit(137).unwrap(),
            "the script failed with exit code 137: a program was killed (signal 9), often because memory was full"
        );
        assert_eq!(
            exit(143).unwrap(),
            "the script failed with exit code 143: a program was terminated by signal 15"
        );
        assert_eq!(
            cause(9, None).unwrap(),
            "the script was killed (signal 9), often because memory was full"
        );
        assert_eq!(cause(15, None).unwrap(), "the script was terminated by signal 15");
        assert_eq!(
            cause(0, Some(StopReason::TimeLimit)).unwrap(),
            "the script exceeded PROVISIONING_TIMEOUT (30 min) and was stopped"
        );
        assert_eq!(
            cause(15, Some(StopReason::Signal(Signal::SIGTERM))).unwrap(),
            "the script was stopped because provision received SIGTERM"
        );
    }
}

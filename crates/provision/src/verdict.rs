//! What an end of a script means, in words.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use kit::settings::words;
use nix::sys::signal::Signal;

use crate::child::{Cut, code_and_signal};

const AGAIN: &str = "to run it again: supervisorctl restart boot";

/// What was wrong, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    pub cause: String,
    pub hint: String,
}

/// What to do about a script that failed.
pub fn read_and_run_again(log: &Path) -> String {
    format!("read {}; {AGAIN}", log.display())
}

/// What was wrong with an end; nothing if it was a good one.
///
/// It has no word of the script's, because everybody may read it.
pub fn verdict(status: ExitStatus, cut: Option<Cut>, limit: Option<Duration>, log: &Path) -> Option<Verdict> {
    let (cause, hint) = match (cut, status.success()) {
        (Some(Cut::Limit), _) => (
            format!(
                "it ran longer than PROVISIONING_TIMEOUT, {}, and was ended",
                words(limit.unwrap_or_default().as_secs())
            ),
            "give it more time, such as PROVISIONING_TIMEOUT=2h, or leave the variable out".to_owned(),
        ),
        (Some(Cut::Told(signal)), _) => return Some(stopped(signal)),
        (None, true) => return None,
        (None, false) => (ended(status), read_and_run_again(log)),
    };
    Some(Verdict { cause, hint })
}

/// What a run comes to that was told to end.
pub fn stopped(signal: Signal) -> Verdict {
    Verdict { cause: format!("it was stopped, because provision received {signal}"), hint: AGAIN.to_owned() }
}

fn ended(status: ExitStatus) -> String {
    match code_and_signal(status) {
        (_, Some(9)) => "it was killed (signal 9), often because memory was full".to_owned(),
        (_, Some(signal)) => format!("it was ended by signal {signal}"),
        (Some(126), _) => "it ended with exit code 126: a command cannot be run".to_owned(),
        (Some(127), _) => "it ended with exit code 127: a command was not found".to_owned(),
        (Some(137), _) => {
            "it ended with exit code 137: a program was killed (signal 9), often because memory was full"
                .to_owned()
        }
        (Some(code @ 129..=192), _) => {
            format!("it ended with exit code {code}: a program was ended by signal {}", code - 128)
        }
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, None) => "it ended in an unknown way".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;
    use std::os::unix::process::ExitStatusExt;

    fn cause(raw: i32, cut: Option<Cut>) -> Option<String> {
        verdict(ExitStatus::from_raw(raw), cut, Some(Duration::from_mins(30)), Path::new("/l"))
            .map(|verdict| verdict.cause)
    }

    #[test]
    fn every_end_but_a_good_one_has_its_words() {
        let exit = |code: i32| cause(code << 8, None);
        assert_eq!(exit(0), None);
        assert_eq!(exit(3).unwrap(), "it ended with exit code 3");
        assert_eq!(exit(127).unwrap(), "it ended with exit code 127: a command was not found");
        assert_eq!(
            exit(137).unwrap(),
            "it ended with exit code 137: a program was killed (signal 9), often because memory was full"
        );
        assert_eq!(exit(143).unwrap(), "it ended with exit code 143: a program was ended by signal 15");
        assert_eq!(cause(9, None).unwrap(), "it was killed (signal 9), often because memory was full");
        assert_eq!(cause(15, None).unwrap(), "it was ended by signal 15");
        assert_eq!(
            cause(0, Some(Cut::Limit)).unwrap(),
            "it ran longer than PROVISIONING_TIMEOUT, 30 min, and was ended"
        );
        assert_eq!(
            cause(15, Some(Cut::Told(Signal::SIGTERM))).unwrap(),
            "it was stopped, because provision received SIGTERM"
        );
    }
}

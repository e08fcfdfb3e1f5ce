//! How each stage ends in this version.
//!
//! The workspace's and the provisioning's own tools are not part of the image yet. A user who asks for one of them is
//! told so, as a failed stage, instead of waiting for something that will not happen.

use journal::{Stage, StageResult};
use kit::{Env, Reader};

/// What the journal is told about a stage.
#[derive(Debug, PartialEq, Eq)]
pub struct Ending {
    /// How it ended.
    pub result: StageResult,
    /// Why, unless it simply went well.
    pub cause: Option<String>,
    /// What the user can do.
    pub hint: Option<String>,
}

/// Decides about a stage from what was asked for.
pub fn ending(stage: Stage, env: &Env) -> Ending {
    match stage {
        Stage::Sync if Reader::new(env).flag("WORKSPACE_SYNC", false) => {
            missing("WORKSPACE_SYNC=true", "copy what you want to keep to $WORKSPACE yourself")
        }
        Stage::Provisioning if env.text("PROVISIONING_SCRIPT").is_some() => {
            missing("PROVISIONING_SCRIPT", "fetch the script and run it over SSH")
        }
        Stage::Sync | Stage::Preflight | Stage::Provisioning => nothing_to_do(),
        Stage::Ready => Ending { result: StageResult::Done, cause: None, hint: None },
    }
}

fn nothing_to_do() -> Ending {
    Ending { result: StageResult::Skipped, cause: None, hint: None }
}

fn missing(setting: &str, hint: &str) -> Ending {
    Ending {
        result: StageResult::Failed,
        cause: Some(format!("{setting} is set, but this version of the image cannot do that yet")),
        hint: Some(hint.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StageResult::{Done, Failed, Skipped};

    #[test]
    fn nobody_waits_for_what_will_not_happen() {
        let asked: Env = [("WORKSPACE_SYNC", "true"), ("PROVISIONING_SCRIPT", "https://example/x.sh")]
            .into_iter()
            .collect();
        let results = |env: &Env| {
            [Stage::Sync, Stage::Preflight, Stage::Provisioning, Stage::Ready]
                .map(|stage| ending(stage, env).result)
        };
        assert_eq!(results(&asked), [Failed, Skipped, Failed, Done]);
        assert_eq!(results(&Env::default()), [Skipped, Skipped, Skipped, Done]);
    }
}

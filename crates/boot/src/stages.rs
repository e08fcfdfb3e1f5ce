//! Stages whose tools are not part of the image yet: who asks for one is told so, as a failed stage, instead of waiting
//! for something that will not happen.

use journal::Stage;
use kit::Env;

use crate::ending::Ending;

/// Decides about a stage from what was asked for.
pub fn ending(stage: Stage, env: &Env) -> Ending {
    match stage {
        Stage::Provisioning if env.text("PROVISIONING_SCRIPT").is_some() => Ending::failed(
            "PROVISIONING_SCRIPT is set, but this version of the image cannot do that yet",
            "fetch the script and run it over SSH",
        ),
        _ => Ending::skipped(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::StageResult::{Failed, Skipped};

    #[test]
    fn nobody_waits_for_what_will_not_happen() {
        let asked: Env = [("PROVISIONING_SCRIPT", "https://example/x.sh")].into_iter().collect();
        let results =
            |env: &Env| [Stage::Preflight, Stage::Provisioning].map(|stage| ending(stage, env).result);
        assert_eq!(results(&asked), [Skipped, Failed]);
        assert_eq!(results(&Env::default()), [Skipped, Skipped]);
    }
}

//! Decision about a run: a script that has run successfully does not run again by itself.

use crate::state::RunRecord;

#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    Unchanged,
    /// It has failed in this attempt, in a run that outlived a killed boot.
    HasFailed,
    /// Run it, for this reason.
    Run(&'static str),
}

/// Decides about the script with this digest.
pub fn decide(last: Option<&RunRecord>, digest: &str, attempt: Option<&str>, force: bool) -> Decision {
    match last {
        Some(last) if last.digest != digest => Decision::Run("because the script has changed"),
        Some(last) if last.ended.is_none() => Decision::Run("because the last run was interrupted"),
        Some(last) if !last.succeeded() && attempt.is_some() && last.attempt.as_deref() == attempt => {
            Decision::HasFailed
        }
        Some(last) if !last.succeeded() => Decision::Run("because the last run failed"),
        Some(_) if force => Decision::Run("because of --force"),
        Some(_) => Decision::Unchanged,
        None => Decision::Run("for the first time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::RunEnd;

    fn record(digest: &str, cause: Option<&str>) -> RunRecord {
        RunRecord {
            source: "s".into(),
            digest: digest.into(),
            began: "t".into(),
            attempt: Some("1".into()),
            ended: Some(RunEnd {
                at: "u".into(),
                exit_code: Some(0),
                signal: None,
                cause: cause.map(str::to_owned),
            }),
        }
    }

    #[test]
    fn only_the_very_script_that_ended_well_is_left_alone() {
        let well = record("a", None);
        let cut_short = RunRecord { ended: None, ..well.clone() };
        let failed = record("a", Some("x"));
        let by_hand = RunRecord { attempt: None, ..failed.clone() };
        assert_eq!(decide(Some(&well), "a", Some("1"), false), Decision::Unchanged);
        assert_eq!(decide(Some(&failed), "a", Some("1"), false), Decision::HasFailed);
        for (last, attempt) in
            [(&failed, Some("2")), (&failed, None), (&by_hand, Some("1")), (&by_hand, None)]
        {
            let again = Decision::Run("because the last run failed");
            assert_eq!(decide(Some(last), "a", attempt, false), again);
        }
        for (last, digest, force, why) in [
            (None, "a", false, "for the first time"),
            (Some(&well), "b", false, "because the script has changed"),
            (Some(&well), "a", true, "because of --force"),
            (Some(&cut_short), "a", false, "because the last run was interrupted"),
        ] {
            assert_eq!(decide(last, digest, Some("1"), force), Decision::Run(why));
        }
    }
}

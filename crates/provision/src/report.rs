//! Result of `provision run`, for people and for `boot`.

use journal::StageResult;
use redact::Redactor;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Kind of result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportOutcome {
    /// The script exited with code 0.
    Ran,
    /// The script has already run successfully.
    Unchanged,
    /// No script is configured.
    #[default]
    None,
    /// The workspace is locked against changes.
    Locked,
    /// The script was not run, or failed.
    Failed,
}

/// Result of one run; `--json` prints it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Kind of result.
    pub outcome: ReportOutcome,
    /// The script's address, without login and query, or its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// SHA-256 of the script as it was fetched, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Duration of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// The script's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal that terminated the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Reason, or other information for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Last line that a failed script printed; only for readers of the log.
    #[serde(default, rename = "said", skip_serializing_if = "Option::is_none")]
    pub last_line: Option<String>,
    /// Advice to the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Report {
    /// Returns a report with nothing but the outcome.
    #[must_use]
    pub fn new(outcome: ReportOutcome) -> Self {
        Self { outcome, ..Self::default() }
    }

    /// Returns the report of a failure.
    pub(crate) fn failed(self, failure: Failure) -> Self {
        let (cause, hint) = (Some(failure.cause), Some(failure.hint));
        Self { outcome: ReportOutcome::Failed, cause, hint, ..self }
    }

    /// Masks secrets in all texts: a redirect may repeat the secrets of another address.
    pub(crate) fn without_secrets(self, redactor: &Redactor) -> Self {
        let masked = |text: Option<String>| text.map(|text| redactor.redact_text(&text));
        let Self { source, cause, last_line, hint, .. } = self;
        Self {
            source: masked(source),
            cause: masked(cause),
            last_line: masked(last_line),
            hint: masked(hint),
            ..self
        }
    }

    /// Returns the cause with the last line, for readers of the log.
    #[must_use]
    pub fn full_cause(&self) -> Option<String> {
        let cause = self.cause.as_ref()?;
        Some(match &self.last_line {
            Some(last_line) => format!("{cause}; last output: {last_line}"),
            None => cause.clone(),
        })
    }

    /// Returns the result of late boot's stage.
    #[must_use]
    pub fn result(&self) -> StageResult {
        match self.outcome {
            ReportOutcome::Ran => StageResult::Done,
            ReportOutcome::Unchanged | ReportOutcome::Locked | ReportOutcome::None => StageResult::Skipped,
            ReportOutcome::Failed => StageResult::Failed,
        }
    }

    /// Returns the reason, without anything that the script printed.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self.outcome {
            ReportOutcome::Unchanged | ReportOutcome::Locked => Some(self.summary_line()),
            ReportOutcome::Ran | ReportOutcome::None | ReportOutcome::Failed => self.cause.clone(),
        }
    }

    /// Returns the report as one line, for readers of the log.
    #[must_use]
    pub fn summary_line(&self) -> String {
        let source = self.source.as_deref().unwrap_or("the script");
        let mut line = match self.outcome {
            ReportOutcome::Ran => {
                format!("{source} ran for {}", kit::duration::words(self.seconds.unwrap_or(0)))
            }
            ReportOutcome::Unchanged => format!("{source} has already run successfully; skipped"),
            ReportOutcome::None => "no script is configured".to_owned(),
            ReportOutcome::Locked => format!("{source} was not run"),
            ReportOutcome::Failed => format!("{source} failed"),
        };
        if let Some(cause) = self.full_cause() {
            line.extend([": ", &cause]);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_form_is_an_interface() {
        let report = Report {
            source: Some("https://example/x.sh".into()),
            digest: Some("ab".into()),
            seconds: Some(61),
            exit_code: Some(3),
            cause: Some("the script failed with exit code 3".into()),
            last_line: Some("no space".into()),
            hint: Some("read the log".into()),
            ..Report::new(ReportOutcome::Failed)
        };
        let text = r#"{"outcome":"failed","source":"https://example/x.sh","digest":"ab","seconds":61,"exit_code":3,"cause":"the script failed with exit code 3","said":"no space","hint":"read the log"}"#;
        assert_eq!(serde_json::to_string(&report).unwrap(), text);
        assert_eq!(serde_json::from_str::<Report>(text).unwrap(), report);
        assert_eq!(
            report.summary_line(),
            "https://example/x.sh failed: the script failed with exit code 3; last output: no space"
        );
        assert_eq!(
            serde_json::to_string(&Report::new(ReportOutcome::None)).unwrap(),
            r#"{"outcome":"none"}"#
        );
    }
}

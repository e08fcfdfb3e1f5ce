//! Results of actions, until the browser has followed the redirect to the page that shows them.
//!
//! They are kept here and not in the URL: a link must not be able to show a text of its author on this page.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use process_control::{Action, Outcome, Refusal};

/// Number of results that are kept.
const KEPT: usize = 32;

static RESULTS: Mutex<(u64, VecDeque<(u64, ActionResult)>)> = Mutex::new((0, VecDeque::new()));

/// Result of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionResult {
    /// True if the programs are in the requested state.
    pub ok: bool,
    /// False if the action continues.
    pub finished: bool,
    /// One sentence for people.
    pub message: String,
}

impl ActionResult {
    /// Returns the result of an action that ends the connection over which it was requested.
    pub fn begun(action: Action, name: &str) -> Self {
        let message = format!("{action} of {name} was requested; this page continues in some seconds");
        Self { ok: true, finished: false, message }
    }

    /// Returns the class of the message.
    pub fn class(&self) -> &'static str {
        match (self.ok, self.finished) {
            (true, _) => "good",
            (false, true) => "bad",
            (false, false) => "busy",
        }
    }
}

impl From<Result<Outcome, Refusal>> for ActionResult {
    fn from(result: Result<Outcome, Refusal>) -> Self {
        match result {
            Ok(Outcome { ok, finished, message, .. }) => Self { ok, finished, message },
            Err(refusal) => Self { ok: false, finished: true, message: refusal.message },
        }
    }
}

/// Keeps a result; returns its id.
pub fn keep(result: ActionResult) -> u64 {
    let mut results = RESULTS.lock().unwrap_or_else(PoisonError::into_inner);
    let (last, kept) = &mut *results;
    *last += 1;
    kept.push_back((*last, result));
    if kept.len() > KEPT {
        kept.pop_front();
    }
    *last
}

/// Returns the result with this id.
pub fn get(id: u64) -> Option<ActionResult> {
    let results = RESULTS.lock().unwrap_or_else(PoisonError::into_inner);
    results.1.iter().find(|(kept, _)| *kept == id).map(|(_, result)| result.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_results_are_found_by_their_id() {
        let result = |name: &str| ActionResult::begun(Action::Start, name);
        let first = keep(result("first"));
        assert_eq!(get(first), Some(result("first")));
        let last = (0..KEPT).fold(first, |_, _| keep(result("last")));
        assert_eq!((get(first), get(last)), (None, Some(result("last"))));
    }
}

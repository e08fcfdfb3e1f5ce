//! Plans an action for an entry from its state: a pure decision.
//!
//! Reading more facts costs system calls, so a plan may request one; the caller reads it and plans again.

use crate::capabilities::Capabilities;
use crate::compare::{ChangeTimes, Verdict, compare, difference};
use crate::entry_state::{EntryState, Inspection, Pairing};
use crate::metadata::Metadata;
use crate::observer::Difference;
use crate::options::Check;

/// Options of a pass that affect a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanOptions<'a> {
    pub write: bool,
    pub check: Check,
    pub can: &'a Capabilities,
    pub moments: ChangeTimes,
}

/// The next step with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryPlan {
    /// Read this and plan again.
    Inspect(Inspection),
    /// Do this and be done.
    Do(EntryAction),
}

/// Action on an entry of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryAction {
    /// Nothing: it equals the source's.
    Keep,
    /// Give it the source's extended attributes.
    SetAttributes,
    /// Give it the source's owner, mode, time and attributes.
    Adjust,
    /// Make it; replaces an existing entry.
    Make,
    /// Make it a further name of a file that the target has.
    Link,
    /// Skip it: it cannot be made there.
    Skip,
    /// Count the difference.
    Report(Difference),
}

/// Plans the next step with an entry.
pub(crate) fn plan(state: &EntryState, options: &PlanOptions<'_>) -> EntryPlan {
    let may_write = options.write && state.has_target_directory;
    let Some(target) = &state.target else { return EntryPlan::Do(without_target(state, may_write)) };
    let own = state.pairing == Pairing::Own;
    let mut verdict = Verdict::Other;
    match state.pairing {
        Pairing::NameOf(first) if first == Some(target.inode) => return EntryPlan::Do(EntryAction::Keep),
        Pairing::NameOf(first) if may_write => return EntryPlan::Do(linked(first)),
        Pairing::Own => verdict = compare(&state.source, target, options.can),
        Pairing::NameOf(_) | Pairing::Foreign => {}
    }
    if verdict != Verdict::Other {
        let look_closer =
            options.check == Check::Content || options.moments.may_be_another(&state.source, target);
        let (equal, inspection) = match () {
            () if state.source.is_link() => (state.link_text_equal, Inspection::LinkText),
            () if state.source.is_file() && look_closer => (state.content_equal, Inspection::Content),
            () => (Some(true), Inspection::Content),
        };
        match equal {
            None => return EntryPlan::Inspect(inspection),
            Some(true) => {}
            Some(false) => verdict = Verdict::Other,
        }
    }
    match verdict {
        Verdict::Other if may_write => EntryPlan::Do(EntryAction::Make),
        Verdict::Access if may_write => EntryPlan::Do(EntryAction::Adjust),
        Verdict::Other | Verdict::Access => report(state, target, verdict, own, options),
        Verdict::Same => {
            let look_closer = options.check == Check::Content
                || options.moments.attributes_may_differ(&state.source, target, options.can);
            match state.attributes_equal {
                _ if !look_closer => EntryPlan::Do(EntryAction::Keep),
                None => EntryPlan::Inspect(Inspection::Attributes),
                Some(true) => EntryPlan::Do(EntryAction::Keep),
                Some(false) if may_write => EntryPlan::Do(EntryAction::SetAttributes),
                Some(false) => report(state, target, verdict, own, options),
            }
        }
    }
}

fn without_target(state: &EntryState, may_write: bool) -> EntryAction {
    let is_ordinary = state.source.is_file() || state.source.is_link();
    match state.pairing {
        Pairing::NameOf(first) if may_write => linked(first),
        Pairing::NameOf(_) => EntryAction::Report(Difference::Missing),
        _ if may_write => EntryAction::Make,
        _ if is_ordinary => EntryAction::Report(Difference::Missing),
        _ => EntryAction::Skip,
    }
}

/// A further name of a file that could not be made cannot be made either.
fn linked(first: Option<u64>) -> EntryAction {
    if first.is_some() { EntryAction::Link } else { EntryAction::Skip }
}

/// Counts a difference; where names alone seem to differ, the bytes may have to be read first.
fn report(
    state: &EntryState,
    target: &Metadata,
    verdict: Verdict,
    own: bool,
    options: &PlanOptions<'_>,
) -> EntryPlan {
    let how = difference(&state.source, target, Some(verdict), own, options.can);
    let look_closer =
        how == Difference::HardLinks && state.source.is_file() && options.check == Check::Content;
    match state.content_equal {
        None if look_closer => EntryPlan::Inspect(Inspection::Content),
        Some(false) if look_closer => EntryPlan::Do(EntryAction::Report(Difference::Content)),
        _ => EntryPlan::Do(EntryAction::Report(how)),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use dirfd::FileType;

    use super::EntryAction::{Adjust, Keep, Link, Make, Report, SetAttributes, Skip};
    use super::Inspection::{Attributes, Content, LinkText};
    use super::*;
    use crate::metadata::FILE;

    const LINK: Metadata = Metadata { kind: FileType::Symlink, ..FILE };
    const FIFO: Metadata = Metadata { kind: FileType::Fifo, ..FILE };
    /// The copy of it, made later.
    const COPY: Metadata = Metadata { inode: 7, changed: (300, 0), ..FILE };
    const TOUCHED: Metadata = Metadata { mode: 0o600, ..COPY };
    const OTHER: Metadata = Metadata { size: 11, ..COPY };
    /// A pass long after both were changed: the time of change is trusted.
    const LATER: ChangeTimes = ChangeTimes { recently: (1_000, 0), started: (1_000, 0) };
    /// A pass in the moment of the change.
    const AT_ONCE: ChangeTimes = ChangeTimes { recently: (0, 0), started: (0, 0) };

    fn state(source: Metadata, target: Option<Metadata>) -> EntryState {
        EntryState {
            source,
            link_text: OsString::new(),
            target,
            has_target_directory: true,
            pairing: Pairing::Own,
            link_text_equal: None,
            content_equal: None,
            attributes_equal: None,
        }
    }

    fn options(write: bool, check: Check, moments: ChangeTimes) -> PlanOptions<'static> {
        PlanOptions { write, check, can: &Capabilities::FULL, moments }
    }

    #[test]
    fn each_state_has_one_next_step() {
        let write = options(true, Check::Metadata, LATER);
        let closely = options(true, Check::Content, LATER);
        let at_once = options(true, Check::Metadata, AT_ONCE);
        let look = options(false, Check::Metadata, LATER);
        let look_closely = options(false, Check::Content, LATER);
        let same = || state(FILE, Some(COPY));
        let link = || state(LINK, Some(Metadata { kind: FileType::Symlink, ..COPY }));
        let name_of = |first, target| EntryState { pairing: Pairing::NameOf(first), ..state(FILE, target) };
        let foreign = || EntryState { pairing: Pairing::Foreign, ..same() };
        let content = |equal| EntryState { content_equal: Some(equal), ..same() };
        let attributes = |equal| EntryState { attributes_equal: Some(equal), ..content(true) };
        let cases = [
            // Nothing is there.
            (state(FILE, None), &write, EntryPlan::Do(Make)),
            (state(FIFO, None), &write, EntryPlan::Do(Make)),
            (state(FILE, None), &look, EntryPlan::Do(Report(Difference::Missing))),
            (state(LINK, None), &look, EntryPlan::Do(Report(Difference::Missing))),
            (state(FIFO, None), &look, EntryPlan::Do(Skip)),
            (
                EntryState { has_target_directory: false, ..state(FILE, None) },
                &write,
                EntryPlan::Do(Report(Difference::Missing)),
            ),
            // The metadata decides.
            (same(), &write, EntryPlan::Do(Keep)),
            (same(), &look, EntryPlan::Do(Keep)),
            (state(FILE, Some(TOUCHED)), &write, EntryPlan::Do(Adjust)),
            (state(FILE, Some(TOUCHED)), &look, EntryPlan::Do(Report(Difference::Metadata))),
            (state(FILE, Some(OTHER)), &write, EntryPlan::Do(Make)),
            (state(FILE, Some(OTHER)), &look, EntryPlan::Do(Report(Difference::Content))),
            (state(LINK, Some(COPY)), &look, EntryPlan::Do(Report(Difference::Kind))),
            // More has to be read.
            (link(), &write, EntryPlan::Inspect(LinkText)),
            (EntryState { link_text_equal: Some(true), ..link() }, &write, EntryPlan::Do(Keep)),
            (EntryState { link_text_equal: Some(false), ..link() }, &write, EntryPlan::Do(Make)),
            (
                EntryState { link_text_equal: Some(false), ..link() },
                &look,
                EntryPlan::Do(Report(Difference::Modified)),
            ),
            (same(), &closely, EntryPlan::Inspect(Content)),
            (same(), &at_once, EntryPlan::Inspect(Content)),
            (content(false), &closely, EntryPlan::Do(Make)),
            (content(false), &look_closely, EntryPlan::Do(Report(Difference::Content))),
            (content(true), &closely, EntryPlan::Inspect(Attributes)),
            (attributes(true), &closely, EntryPlan::Do(Keep)),
            (attributes(false), &closely, EntryPlan::Do(SetAttributes)),
            (attributes(false), &look_closely, EntryPlan::Do(Report(Difference::Metadata))),
            // It stands for another file.
            (foreign(), &write, EntryPlan::Do(Make)),
            (foreign(), &look, EntryPlan::Do(Report(Difference::HardLinks))),
            (foreign(), &look_closely, EntryPlan::Inspect(Content)),
            (
                EntryState { content_equal: Some(false), ..foreign() },
                &look_closely,
                EntryPlan::Do(Report(Difference::Content)),
            ),
            // A further name.
            (name_of(Some(7), Some(COPY)), &write, EntryPlan::Do(Keep)),
            (name_of(Some(8), Some(COPY)), &write, EntryPlan::Do(Link)),
            (name_of(Some(8), None), &write, EntryPlan::Do(Link)),
            (name_of(None, Some(COPY)), &write, EntryPlan::Do(Skip)),
            (name_of(Some(8), Some(COPY)), &look, EntryPlan::Do(Report(Difference::HardLinks))),
            (name_of(Some(8), None), &look, EntryPlan::Do(Report(Difference::Missing))),
        ];
        for (state, options, expected) in cases {
            assert_eq!(plan(&state, options), expected, "{state:?} {options:?}");
        }
    }

    #[test]
    fn a_plan_that_may_not_write_never_acts() {
        for pairing in [Pairing::Own, Pairing::Foreign, Pairing::NameOf(None), Pairing::NameOf(Some(7))] {
            for target in [None, Some(COPY), Some(TOUCHED), Some(OTHER), Some(FIFO)] {
                for source in [FILE, LINK, FIFO] {
                    for known in [None, Some(false), Some(true)] {
                        let state = EntryState {
                            pairing,
                            link_text_equal: known,
                            content_equal: known,
                            attributes_equal: known,
                            ..state(source, target)
                        };
                        for check in [Check::Metadata, Check::Content] {
                            let next = plan(&state, &options(false, check, AT_ONCE));
                            let acts = matches!(next, EntryPlan::Do(SetAttributes | Adjust | Make | Link));
                            assert!(!acts, "{state:?}: {next:?}");
                        }
                    }
                }
            }
        }
    }
}

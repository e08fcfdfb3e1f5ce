//! Notes about a tree, in the log and in the boot journal: each once, however often an attempt repeats it.

use journal::{Event, Journal};

use kit::quote::escape_control_line;

/// Writes a note about `tree`, unless the journal has it.
pub fn add(journal: &Journal, tree: &str, message: &str) {
    let message = escape_control_line(message);
    let event = Event::SyncNote { tree: tree.to_owned(), message, pending: false };
    let is_known = journal.read().is_ok_and(|entries| entries.iter().any(|entry| entry.event == event));
    write(journal, event, is_known);
}

/// Writes the reason why `tree` is not on the workspace yet; replaces an earlier one.
pub fn set_pending(journal: &Journal, tree: &str, message: &str) {
    let message = escape_control_line(message);
    let is_known = latest(journal, tree).as_ref() == Some(&message);
    write(journal, Event::SyncNote { tree: tree.to_owned(), message, pending: true }, is_known);
}

/// Clears the note of [`set_pending`]: the tree is used from the workspace.
pub fn clear_pending(journal: &Journal, tree: &str) {
    if latest(journal, tree).is_some() {
        append(journal, Event::SyncSwitched { tree: tree.to_owned() });
    }
}

/// Returns the latest pending note, unless the tree was switched since.
fn latest(journal: &Journal, tree: &str) -> Option<String> {
    let entries = journal.read().ok()?;
    let latest = entries.into_iter().rev().find_map(|entry| match entry.event {
        Event::SyncNote { tree: about, message, pending: true } if about == tree => Some(Some(message)),
        Event::SyncSwitched { tree: about } if about == tree => Some(None),
        _ => None,
    });
    latest.flatten()
}

fn write(journal: &Journal, event: Event, is_known: bool) {
    let Event::SyncNote { tree, message, .. } = &event else { return };
    if is_known {
        log::debug!("{tree}: {message}");
        return;
    }
    log::warn!("{tree}: {message}");
    append(journal, event);
}

fn append(journal: &Journal, event: Event) {
    if let Err(error) = journal.append(event) {
        log::debug!("{error:#}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_written_once_and_a_pending_one_until_it_changes_or_the_tree_is_switched() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(&dir.path().join("boot.jsonl"));
        clear_pending(&journal, "app");
        for message in ["no room", "no room", "an I/O error", "no room"] {
            add(&journal, "app", "owners are lost");
            set_pending(&journal, "app", message);
        }
        clear_pending(&journal, "app");
        clear_pending(&journal, "app");
        set_pending(&journal, "app", "no room");
        let note =
            |message: &str, pending| Event::SyncNote { tree: "app".into(), message: message.into(), pending };
        let written: Vec<Event> = journal.read().unwrap().into_iter().map(|entry| entry.event).collect();
        let expected = [
            note("owners are lost", false),
            note("no room", true),
            note("an I/O error", true),
            note("no room", true),
            Event::SyncSwitched { tree: "app".into() },
            note("no room", true),
        ];
        assert_eq!(written, expected);
    }
}

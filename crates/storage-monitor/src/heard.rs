//! Hints as they are gathered, and which events are hints.

use std::path::{Path, PathBuf};

use notify::Event;
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RemoveKind};

use crate::changes::Changes;

/// More hints than that are told faster by looking at everything.
const MANY: usize = 16_384;

/// What was heard since the last time.
#[derive(Debug, Default)]
pub struct Heard {
    /// Changes, as absolute paths.
    pub changes: Changes,
    /// Something was lost, or is too much: look at everything.
    pub everything: bool,
    /// We were asked to look at everything.
    pub asked: bool,
    /// We were asked to stop.
    pub stop: bool,
    /// How many hints there were.
    count: usize,
}

impl Heard {
    /// As if something had been lost.
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// Whether there is no reason to wake anybody.
    pub fn is_nothing(&self) -> bool {
        self.changes.is_empty() && !self.everything && !self.asked && !self.stop
    }

    /// Takes an event of the kernel.
    pub fn hear(&mut self, event: notify::Result<Event>, mappings: &Path) {
        let Ok(event) = event else {
            self.everything = true;
            return;
        };
        self.everything |= event.need_rescan();
        let may_be_directory = match event.kind {
            EventKind::Create(CreateKind::File) | EventKind::Remove(RemoveKind::File) => false,
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                // Changes no link, but may be an edit of the mapping, which not every editor replaces.
                let edits = event.paths.into_iter().filter(|path| path == mappings);
                edits.for_each(|path| self.add(path, false));
                return;
            }
            // Whatever else happens to the content of files changes no link.
            _ => return,
        };
        event.paths.into_iter().for_each(|path| self.add(path, may_be_directory));
    }

    fn add(&mut self, path: PathBuf, may_be_directory: bool) {
        self.count += 1;
        if self.count > MANY {
            self.changes = Changes::default();
            self.everything = true;
        }
        if !self.everything {
            self.changes.add(path, may_be_directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, Flag, RenameMode};

    use super::*;
    use crate::changes::Names;

    fn heard(kind: EventKind, path: &str) -> Heard {
        let mut heard = Heard::default();
        heard.hear(Ok(Event::new(kind).add_path(path.into())), Path::new("/etc/mappings.sh"));
        heard
    }

    #[test]
    fn what_changes_names_is_heard_and_what_changes_content_is_not() {
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        for kind in [
            EventKind::Access(AccessKind::Read),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
            written,
        ] {
            assert!(heard(kind, "/s/a").is_nothing());
        }
        assert!(!heard(written, "/etc/mappings.sh").is_nothing(), "but of the mapping");
        let file = heard(EventKind::Create(CreateKind::File), "/s/a");
        let contents = [(PathBuf::from("/s"), Names::one(b"a"))].into();
        assert_eq!((file.changes.contents, file.changes.names), (contents, [].into()));
        let name = heard(EventKind::Modify(ModifyKind::Name(RenameMode::To)), "/s/a");
        assert_eq!(name.changes.names, [PathBuf::from("/s/a")].into());
    }

    #[test]
    fn what_was_lost_or_is_too_much_asks_for_a_look_at_everything() {
        let mut lost = Heard::default();
        lost.hear(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)), Path::new(""));
        assert!(lost.everything);
        let mut crowd = Heard::default();
        for number in 0..=MANY {
            let path = PathBuf::from(format!("/s/{number}"));
            crowd.hear(Ok(Event::new(EventKind::Create(CreateKind::Folder)).add_path(path)), Path::new(""));
        }
        assert!(crowd.everything && crowd.changes.is_empty());
    }
}

//! Brings a directory tree into the state of another, in parallel, and may be killed at any instant.
//!
//! There is one operation, the [`pass`]: it looks at every entry of both trees and makes the target's like the
//! source's where they differ. A first copy is a pass over an empty target; going on after a kill, catching up with
//! changes and verifying (`write: false`) are passes too. [`replicate`] carries a single entry over, atomically, into a
//! tree that is in use.
//!
//! Before the first pass, [`survey`] counts what the source needs, [`probe`] tries what the target can, [`check_compatibility`]
//! finds what would be lost or why it cannot be, and [`fits`] compares with the [`free_space`] there is.
//!
//! # What is kept
//!
//! Content with its holes; mode, owner and time (in nanoseconds) of files, directories and links; the text of symbolic
//! links; hard links; extended attributes `user.*`, `trusted.*` and `security.capability`; POSIX access control lists;
//! FIFOs, and sockets and devices where they may be made. A name that is a hard link to a file outside the tree becomes
//! an ordinary file. What is mounted below the source, by bind mounts too, is left out and noted; what is mounted below
//! the target is never emptied. Labels of security modules and marks of overlay mounts stay where they are.
//!
//! # What counts as equal
//!
//! | [`Check`] | files | everything |
//! |---|---|---|
//! | `Metadata` | size, time | type, mode, owner, text of links; hidden attributes where they may differ |
//! | `Content` | every byte as well | hidden attributes always |
//!
//! `Metadata` reads the bytes, too, of a file whose inode was changed no earlier than its copy's (it may have been
//! renamed over another of the same size and time), and of one whose copy the pass itself has just changed, because its
//! names are linked otherwise now. It looks at the hidden attributes of these and of whatever has several names or
//! changed in the last minute. A file that came with a renamed directory, and has the size and time of the one that was
//! there, shows in `Content` alone.
//!
//! Attributes that the target cannot keep (see [`Capabilities`]) are no difference. The root's own time is set, not
//! compared, because kept names change it.
//!
//! # After a kill
//!
//! A file gets its time last, so half a file never looks like its source, and the next pass copies it again. What was
//! there is never written into: the new file is made beside it and renamed over. Only a directory that makes way for
//! something else is gone for a moment. Temporary names (`.tree-copy.START-PROCESS-NUMBER-CONTAINER.tmp`) that a kill
//! left are surplus to the next pass that prunes; a probe and [`sweep`] remove those of this start of the container, of
//! earlier ones after a quarter of an hour, and of other containers after a day.
//!
//! # While the source changes
//!
//! A file whose size, time or inode changed while it was copied is copied again, three times at most; after that it is
//! counted as unstable and gets a time that the next pass will not take for its source's. What vanishes is noted. The
//! digest of a tree that changes meanwhile means nothing.
//!
//! # Links
//!
//! Below the two roots nothing is reached by a path: directories are opened one in another without following links and
//! without crossing mount points, and every name is used in an open directory. A link that is put into either tree, at
//! any moment, is copied or replaced.
//!
//! # Speed and memory
//!
//! Several threads for each processor, because a cold disk answers many questions at once. New small files take as few
//! calls as possible. Large ones go past the page cache unless they are in it: fresh pages are what a copy spends most
//! time on. Blocks are shared where the file system can; where it is neither that nor a local disk, it copies by
//! itself. Directories are walked depth first and listed in parts, so memory does not grow with the tree, but for the
//! hard-linked files whose other names have not come yet; the number of open directories is bounded by the limit of the
//! process. Who copies in the background calls [`lower_priority`] first.

mod attributes;
mod capabilities;
mod compare;
mod compatibility;
mod copier;
mod copy_directory;
mod copy_file;
mod direct_io;
mod disk_sync;
mod entry_execute;
mod entry_plan;
mod entry_state;
mod error;
mod file_content;
mod free_space;
mod hard_links;
mod kernel_copy;
mod make_entry;
mod metadata;
mod observer;
mod open_directories;
mod options;
mod pass;
mod pass_context;
mod priority;
mod probe;
mod prune;
mod replace_entry;
mod replicate;
mod space_check;
mod survey;
mod surveyor;
mod temporary_names;
mod tree_digest;
mod tree_walk;

pub use capabilities::Capabilities;
pub use compatibility::{Degradation, Refusal, check_compatibility};
pub use disk_sync::sync_to_disk;
pub use error::{CallError, Error, Result};
pub use free_space::FreeSpace;
pub use observer::{Counters, Difference, NoObserver, Note, NoteKind, Observer};
pub use options::{Check, Options, PassStats, default_threads};
pub use pass::pass;
pub use priority::lower_priority;
pub use probe::probe;
pub use replicate::{Replicated, is_temporary, replicate, sweep};
pub use space_check::{Shortage, fits, free_space, shares_blocks};
pub use survey::{Needs, Survey};
pub use surveyor::survey;
pub use temporary_names::{file_system_time, set_container_id};

//! Brings a directory tree into the state of another, in parallel, and may be killed at any instant.
//!
//! There is one operation, the [`pass`]: it compares every entry of both trees and corrects the target where they
//! differ. A first copy is a pass over an empty target; resuming after a kill, following changes and verifying (`write:
//! false`) are passes too. [`replicate`] copies a single entry atomically into a tree that is in use.
//!
//! Before the first pass, [`survey`] counts the needs of the source, [`probe`] tests the target,
//! [`check_compatibility`] lists what would be lost, and [`fits`] compares the needs with the [`free_space`].
//!
//! # What is kept
//!
//! Content with its holes; mode, owner and time (in nanoseconds) of files, directories and links; the text of symbolic
//! links; hard links; extended attributes `user.*`, `trusted.*` and `security.capability`; POSIX access control lists;
//! FIFOs, and sockets and devices if they can be created. A hard link to a file outside the tree becomes an ordinary
//! file. Mounts below the source, bind mounts included, are skipped and noted; mounts below the target are never
//! emptied. Labels of security modules and attributes of overlay mounts are not copied.
//!
//! # What counts as equal
//!
//! | [`Check`] | files | everything |
//! |---|---|---|
//! | `Metadata` | size, time | type, mode, owner, text of links; hidden attributes where they may differ |
//! | `Content` | every byte as well | hidden attributes always |
//!
//! `Metadata` also reads the content of a file whose inode changed no earlier than its copy's (it may have been renamed
//! over another of the same size and time), and of a file whose copy this pass has just changed, because its hard links
//! changed. It reads the hidden attributes of these, of hard-linked files, and of entries that changed in the last
//! minute. A file in a renamed directory that has the size and time of the old file is found by `Content` only.
//!
//! Attributes that the target cannot keep (see [`Capabilities`]) are not a difference. The root's own time is set, not
//! compared, because kept names change it.
//!
//! # After a kill
//!
//! A file gets its time last, so an incomplete file never looks like its source, and the next pass copies it again.
//! Existing files are never written: the new file is created beside the old one and renamed over it. Only a directory
//! that is replaced by another kind of entry is missing for a moment. A pass that prunes removes the temporary names
//! (`.tree-copy.START-PROCESS-NUMBER-CONTAINER.tmp`) of killed processes; a probe and [`sweep`] remove those of this
//! start of the container at once, of earlier starts after 15 minutes, and of other containers after a day.
//!
//! # While the source changes
//!
//! A file whose size, time or inode changed while it was copied is copied again, three times at most. Then it is
//! counted as unstable; its time is set to an impossible value so that the next pass copies it again. Vanished entries
//! are noted. The digest of a changing tree is meaningless.
//!
//! # Links
//!
//! Below the two roots no path is used: directories are opened one in another without following links and without
//! crossing mount points, and every name is used in an open directory. A link that appears in either tree at any moment
//! is copied or replaced.
//!
//! # Speed and memory
//!
//! There are several threads for each processor, because a cold disk serves many requests at once. Small new files take
//! as few system calls as possible. Large files bypass the page cache unless they are in it, because new pages take
//! most of the time. Blocks are shared if the file system supports that; network and memory file systems copy by
//! `copy_file_range`. Directories are walked depth first and listed in parts, so memory does not grow with the tree,
//! except for hard-linked files with names not visited yet; the number of open directories is bounded by the limit of
//! the process. For copies in the background, call [`lower_priority`] first.

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

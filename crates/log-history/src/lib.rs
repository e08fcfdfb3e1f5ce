//! Read logs with their history: rotated and compressed files, by time and by pattern.
//!
//! A log has a name (`caddy`, `config`) and files: rotated ones, oldest first, then the current one. [`Log`] reads them as one
//! sequence of bytes, forwards and backwards, in bounded memory. A [`Position`] names a byte and survives rotation.
//!
//! `logtail follow` records when it read which byte ([`time_index`]). Without that record, times at the beginning of lines
//! count ([`line_time`]), and the last change of a file.
//!
//! No link is followed and nothing is mapped into memory; a file may be rotated, truncated or removed while it is read.

pub mod clock;
mod content;
pub mod file_id;
pub mod file_name;
mod gzip;
mod last_lines;
mod level;
pub mod line_time;
mod log;
pub mod log_directory;
pub mod log_files;
mod logs;
mod pieces;
mod position;
pub mod safe_text;
mod search;
pub mod time_index;

pub use last_lines::last_lines;
pub use level::{Level, LevelSet};
pub use log::{Change, Line, Log};
pub use logs::{LogInfo, Logs, MERGED_LOG};
pub use position::{FileKey, Position, PositionGone};
pub use search::{Budget, Ended, Event, Order, Pattern, Query, search};

//! Read logs with their history: rotated and compressed files, by time and by pattern.

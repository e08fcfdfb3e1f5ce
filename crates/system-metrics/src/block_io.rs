//! Bytes that the container read from and wrote to block devices.

use serde::Serialize;

use crate::cgroup::{Cgroup, Directory};
use crate::kernel_files::KernelFiles;

/// Bytes read and written; what the file cache has is not read. Network file systems are not block devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BlockIo {
    /// Bytes read; grows.
    pub read: Option<u64>,
    /// Bytes written; grows.
    pub written: Option<u64>,
    /// Bytes read in a second, since the last sample.
    pub read_rate: Option<f64>,
    /// Bytes written in a second, since the last sample.
    pub written_rate: Option<f64>,
}

/// Reads the counters.
pub fn read(files: &KernelFiles, cgroup: &Cgroup) -> BlockIo {
    // A request to a mapped device is also counted at the device below.
    let is_stacked = |device: &str| !files.names(format!("sys/dev/block/{device}/slaves")).is_empty();
    let counted = match cgroup.directory("blkio") {
        Some(Directory::V2(path)) => files.text(path.join("io.stat")).map(|text| parse_v2(&text, is_stacked)),
        Some(Directory::V1(path)) => files
            .text(path.join("blkio.throttle.io_service_bytes_recursive"))
            .or_else(|| files.text(path.join("blkio.throttle.io_service_bytes")))
            .and_then(|text| parse_v1(&text, is_stacked)),
        None => None,
    };
    BlockIo {
        read: counted.map(|(read, _)| read),
        written: counted.map(|(_, written)| written),
        ..BlockIo::default()
    }
}

/// Parses `8:0 rbytes=1 wbytes=2 rios=3 …`; a device without requests has a line without numbers.
fn parse_v2(text: &str, is_stacked: impl Fn(&str) -> bool) -> (u64, u64) {
    let (mut read, mut written) = (0_u64, 0_u64);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next().is_none_or(&is_stacked) {
            continue;
        }
        for (name, number) in words.filter_map(|word| word.split_once('=')) {
            let number: u64 = number.parse().unwrap_or(0);
            match name {
                "rbytes" => read = read.saturating_add(number),
                "wbytes" => written = written.saturating_add(number),
                _ => {}
            }
        }
    }
    (read, written)
}

/// Parses `8:0 Read 1`, one line for each device and operation. Newer kernels count only with a limit: then there is none.
fn parse_v1(text: &str, is_stacked: impl Fn(&str) -> bool) -> Option<(u64, u64)> {
    let mut counted: Option<(u64, u64)> = None;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(device), Some(operation), Some(number)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let number: u64 = number.parse().unwrap_or(0);
        let (read, written) = counted.unwrap_or_default();
        match operation {
            "Read" if !is_stacked(device) => counted = Some((read.saturating_add(number), written)),
            "Write" if !is_stacked(device) => counted = Some((read, written.saturating_add(number))),
            _ => {}
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_added_and_mapped_ones_are_not_counted_twice() {
        let v2 = "254:0 rbytes=1048576 wbytes=4096 rios=9 wios=1 dbytes=0 dios=0\n253:0 rbytes=1048576 wbytes=4096\n7:0\n\
            8:0 rbytes=10 wbytes=20 rios=1\n";
        let v1 = "254:0 Read 1048576\n254:0 Write 4096\n254:0 Sync 1\n254:0 Total 1052672\n253:0 Read 1048576\n8:0 Read 10\n8:0 Write 20\n\
            Total 1052702\n";
        let is_mapped = |device: &str| device == "253:0";
        assert_eq!(parse_v2(v2, is_mapped), (1_048_586, 4116));
        assert_eq!(parse_v1(v1, is_mapped), Some((1_048_586, 4116)));
        assert_eq!(parse_v1("Total 0\n", is_mapped), None, "a kernel that counts nothing");
        let huge =
            "8:0 rbytes=18446744073709551615 wbytes=x\n8:1 rbytes=7 wbytes=99999999999999999999\n\n=\n";
        assert_eq!(parse_v2(huge, is_mapped), (u64::MAX, 0));
    }
}

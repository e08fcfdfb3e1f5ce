//! Rows of several logs in the order of their times.

/// Merges lists, each of which stays in its order. An entry without a time, or with one that is earlier than that of the entry
/// before it, belongs to that entry.
pub fn by_time<T>(lists: Vec<Vec<T>>, time: impl Fn(&T) -> Option<f64>) -> Vec<T> {
    let mut timed = Vec::with_capacity(lists.iter().map(Vec::len).sum());
    for list in lists {
        // Entries before the first time get that time.
        let mut latest = list.iter().find_map(&time).unwrap_or(f64::NEG_INFINITY);
        for entry in list {
            latest = time(&entry).map_or(latest, |time| latest.max(time));
            timed.push((latest, entry));
        }
    }
    timed.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    timed.into_iter().map(|(_, entry)| entry).collect()
}

/// Returns the number of entries that each list may keep, so that all together keep at most `limit`: long lists are cut, short
/// ones are not.
pub fn fair_share(lengths: &[usize], limit: usize) -> usize {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let mut left = limit;
    for (index, &length) in sorted.iter().enumerate() {
        let share = left / (sorted.len() - index);
        if length > share {
            return share;
        }
        left -= length;
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_merged_and_each_list_keeps_its_order() {
        let list = |entries: &[(&'static str, Option<f64>)]| entries.to_vec();
        let one =
            list(&[("a0", None), ("a1", Some(1.0)), ("a2", None), ("a3", Some(0.5)), ("a4", Some(9.0))]);
        let other = list(&[("b1", Some(0.9)), ("b2", Some(5.0))]);
        let merged: Vec<&str> =
            by_time(vec![one, other], |entry| entry.1).into_iter().map(|entry| entry.0).collect();
        assert_eq!(merged, ["b1", "a0", "a1", "a2", "a3", "b2", "a4"]);
    }

    #[test]
    fn a_long_list_leaves_short_ones_complete() {
        for (lengths, share) in [
            (&[5, 10][..], 300),
            (&[1_000, 10], 290),
            (&[1_000, 10, 1_000], 145),
            (&[300], 300),
            (&[301], 300),
            (&[], 300),
        ] {
            assert_eq!(fair_share(lengths, 300), share, "{lengths:?}");
        }
    }
}

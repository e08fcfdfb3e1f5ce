//! Median, minimum, maximum and 99th percentile of a few measurements.
use std::fmt;
use std::time::Duration;

/// Measurements of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Sorts the measurements; `None` without any.
    #[must_use]
    pub fn new(mut measured: Vec<Duration>) -> Option<Self> {
        measured.sort_unstable();
        if measured.is_empty() { None } else { Some(Self(measured)) }
    }

    /// The median; of an even number, the lower of the two in the middle.
    #[must_use]
    pub fn median(&self) -> Duration {
        self.0[(self.0.len() - 1) / 2]
    }

    /// The 99th percentile.
    #[must_use]
    pub fn p99(&self) -> Duration {
        self.0[(self.0.len() * 99).div_ceil(100) - 1]
    }

    /// The shortest.
    #[must_use]
    pub fn min(&self) -> Duration {
        self.0[0]
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.0[self.0.len() - 1]
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, min, max) = (self.median(), self.min(), self.max());
        let [median, min, max] = [median, min, max].map(|time| time.as_secs_f64());
        write!(formatter, "{median:.2} s  (min {min:.2}, max {max:.2}, n {})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_shown_with_both_ends() {
        let samples = Samples::new([3, 1, 2, 9, 4].map(Duration::from_secs).to_vec()).unwrap();
        assert_eq!(samples.to_string(), "3.00 s  (min 1.00, max 9.00, n 5)");
        assert_eq!(Samples::new(Vec::new()), None);
    }

    #[test]
    fn one_of_a_hundred_may_take_longer() {
        let of = |count: u64| Samples::new((1..=count).map(Duration::from_secs).collect()).unwrap().p99();
        assert_eq!([1, 3, 100, 200].map(of), [1, 3, 99, 198].map(Duration::from_secs));
    }
}

//! What can go wrong in the core; every variant carries the values that a message needs.

use std::{fmt, io};

/// The core's only error for images and poses; a binding decides which exception each kind becomes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A buffer does not have the number of elements that its shape asks for.
    #[error("{argument} must hold {expected} elements, got {got}")]
    Length {
        argument: &'static str,
        expected: usize,
        got: usize,
    },

    /// A number lies outside the range that it may take.
    #[error("{argument} must be in {expected}, got {got}")]
    OutOfRange {
        argument: &'static str,
        expected: Interval,
        got: f64,
    },

    /// A bone names a keypoint that the skeleton does not have.
    #[error("bones[{bone}] must join two of the {num_keypoints} keypoints, got ({parent}, {child})")]
    BoneIndex {
        bone: usize,
        num_keypoints: usize,
        parent: i64,
        child: i64,
    },

    /// A joint that is marked visible has a coordinate that is NaN or infinite.
    #[error("joint {joint} is visible but not finite: ({x}, {y})")]
    NotFinite {
        record: usize,
        joint: usize,
        x: f32,
        y: f32,
    },

    /// A picture is neither grey nor RGB.
    #[error("image must have 1 or 3 channels, got {got}")]
    Channels { got: usize },

    /// A size that the kernel does not take.
    #[error("{argument} must be {expected}, got {got}")]
    Size {
        argument: &'static str,
        expected: &'static str,
        got: usize,
    },

    /// There are no vector instructions of this name, or this CPU does not have them.
    #[error("this CPU has no level {got:?}")]
    Level { got: String },

    /// The system gave no threads.
    #[error("cannot start {workers} worker threads: {reason}")]
    Threads { workers: usize, reason: io::Error },
}

/// Result of the core's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// The numbers that an argument may take; `high` is one of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    /// Whether `low` itself is allowed.
    pub closed: bool,
    pub high: f64,
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracket = if self.closed { '[' } else { '(' };
        write!(f, "{bracket}{}, {}]", self.low, self.high)
    }
}

impl Interval {
    /// `[low, high]`
    #[must_use]
    pub const fn closed(low: f64, high: f64) -> Self {
        let closed = true;
        Self { low, closed, high }
    }

    /// `(low, high]`
    #[must_use]
    pub const fn above(low: f64, high: f64) -> Self {
        let closed = false;
        Self { low, closed, high }
    }

    /// Checks that `got` lies inside; NaN does not.
    pub(crate) fn check(self, argument: &'static str, got: f64) -> Result<()> {
        let above = if self.closed {
            got >= self.low
        } else {
            got > self.low
        };
        if above && got <= self.high {
            return Ok(());
        }
        Err(Error::OutOfRange {
            argument,
            expected: self,
            got,
        })
    }
}

/// Checks a size that a kernel does not take every value of.
pub(crate) fn check_size(
    argument: &'static str,
    expected: &'static str,
    got: usize,
    fits: bool,
) -> Result<()> {
    if fits {
        Ok(())
    } else {
        Err(Error::Size {
            argument,
            expected,
            got,
        })
    }
}

/// Checks that a buffer has the number of elements that its shape asks for.
pub(crate) fn check_length(argument: &'static str, got: usize, expected: usize) -> Result<()> {
    if got == expected {
        Ok(())
    } else {
        Err(Error::Length {
            argument,
            expected,
            got,
        })
    }
}

//! Why reading stopped.

use std::io;

/// Why reading stopped.
#[derive(Debug)]
pub(in crate::coco) enum Reason {
    Io(io::Error),
    /// Not JSON, cut off, or past a limit: nobody can tell how it goes on.
    Text(String),
    /// JSON, but not what should be here. A lenient parser has read the value to its end.
    Value(String),
}

/// The reason behind a pointer, so that results stay small.
#[derive(Debug)]
pub(in crate::coco) struct Fault(Box<Reason>);

impl Fault {
    /// Something is missing or wrong that has no byte of its own.
    pub fn value(why: String) -> Self {
        Reason::Value(why).into()
    }

    /// Whether one can read on behind it, given a lenient parser.
    pub fn is_value(&self) -> bool {
        matches!(*self.0, Reason::Value(_))
    }

    pub fn into_reason(self) -> Reason {
        *self.0
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self(Box::new(reason))
    }
}

pub(in crate::coco) type Parsed<T> = Result<T, Fault>;

//! The error of this module and the place in the file it points to.

use std::fmt;

/// Longest message; a hostile string must not be echoed in full.
const MAX_MESSAGE_CHARS: usize = 300;

/// Part of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Section {
    #[default]
    Top,
    Images,
    Annotations,
    Categories,
}

impl Section {
    /// Its key in the file; empty for the top level.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Top => "",
            Self::Images => "images",
            Self::Annotations => "annotations",
            Self::Categories => "categories",
        }
    }
}

/// Where something is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub section: Section,
    /// 0-based index in the section's array.
    pub record: Option<usize>,
    /// Key in the record; empty if the record as a whole is meant.
    pub field: String,
}

impl Place {
    #[must_use]
    pub fn new(section: Section, record: usize, field: &str) -> Self {
        Self {
            section,
            record: Some(record),
            field: field.to_owned(),
        }
    }

    /// Field for a message: a bare key for annotations (`keypoints`), with its section elsewhere (`images.width`).
    #[must_use]
    pub fn field_name(&self) -> Option<String> {
        let section = self.section.key();
        match (self.section, self.field.as_str()) {
            (Section::Top, "") => None,
            (_, "") => Some(section.to_owned()),
            (Section::Top | Section::Annotations, field) => Some(field.to_owned()),
            (_, field) => Some(format!("{section}.{field}")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(record) = self.record {
            write!(f, "record {record}: ")?;
        }
        if let Some(field) = self.field_name() {
            write!(f, "{field}: ")?;
        }
        Ok(())
    }
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CocoError {
    /// There is no file that can be opened: the caller named a wrong one.
    #[error("{0}")]
    Open(#[source] std::io::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{place}{message}")]
    Malformed { place: Place, message: String },
}

impl CocoError {
    /// An error in one record.
    pub(super) fn at(place: Place, message: impl Into<String>) -> Self {
        Self::Malformed {
            place,
            message: message.into(),
        }
    }

    /// An error of the file as a whole.
    pub(super) fn top(message: impl Into<String>) -> Self {
        Self::at(Place::default(), message)
    }
}

/// `text` without its middle, if it is longer than a message should be.
pub(super) fn shorten(text: &str) -> String {
    let length = text.chars().count();
    if length <= MAX_MESSAGE_CHARS {
        return text.to_owned();
    }
    let head: String = text.chars().take(MAX_MESSAGE_CHARS / 2).collect();
    let tail: String = text.chars().skip(length - MAX_MESSAGE_CHARS / 2).collect();
    format!("{head}...{tail}")
}

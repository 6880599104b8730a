//! COCO keypoints JSON: a strict reader and a writer whose output it reads back bit for bit.
//!
//! The reader streams: it holds the numbers of the poses and the ids of the images, never the text.
//! Every error says in which record and field it arose. Convention: coordinates are the file's own
//! numbers, rounded once to `f32`; nothing is shifted by half a pixel.

mod assemble;
mod document;
mod error;
mod ids;
mod json;
mod number;
mod parse;
mod text;
mod values;
mod write;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub use document::{BadRecord, BadRecords};
pub use error::{CocoError, Place, Section};
pub use write::{write, WriteInput};

/// Largest magnitude of a labelled coordinate, in pixels. Anything beyond is a broken file, not a person.
pub const MAX_COORDINATE: f32 = 1e7;
/// Largest width and height of an image, in pixels.
pub const MAX_IMAGE_SIDE: i64 = 1_000_000;
/// Most keypoints that one category may name.
pub const MAX_KEYPOINTS: usize = 1024;
/// Most bones that one category may have.
pub const MAX_BONES: usize = 1024;
/// Longest class label, in bytes.
pub const MAX_LABEL_BYTES: usize = 1024;
/// Longest name of a category or a keypoint, in bytes.
pub const MAX_NAME_BYTES: usize = 1024;

/// Annotation fields that may carry the class of a pose, the first one in use wins.
pub const LABEL_FIELDS: [&str; 3] = ["action", "label", "class"];

/// What was in the file and what of it became poses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Records of `annotations`.
    pub annotations: usize,
    /// Records of `images`.
    pub images: usize,
    /// Annotations left out because `iscrowd` is 1.
    pub crowd: usize,
    /// Annotations left out because they have no `keypoints`, or none of them is labelled.
    pub unlabelled: usize,
    /// Annotations whose `num_keypoints` differs from the number of labelled keypoints.
    pub count_mismatch: usize,
    /// Poses whose image gives no width and height.
    pub unknown_size: usize,
}

/// Class labels: a table of distinct texts and one index into it for each pose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    pub table: Vec<String>,
    pub codes: Vec<u32>,
}

/// The poses of one file, in file order.
#[derive(Clone, Debug, PartialEq)]
pub struct CocoPoses {
    /// K names, or `None` if no category in use names its keypoints.
    pub names: Option<Vec<String>>,
    /// Name of the category that gives the names.
    pub category: Option<String>,
    /// Its bones, counted from 1 as in the file and not checked against K.
    pub bones: Vec<[i64; 2]>,
    /// K.
    pub num_keypoints: usize,
    /// `[N, K, 2]`; (0, 0) where the visibility is 0.
    pub keypoints: Vec<f32>,
    /// `[N, K]`; 0 not labelled, 1 occluded, 2 visible.
    pub visibility: Vec<u8>,
    /// `[N, 2]` width and height; (0, 0) where the file gives none.
    pub image_size: Vec<i32>,
    /// `[N]` annotation ids.
    pub ids: Vec<i64>,
    pub labels: Option<Labels>,
    pub counts: ReadCounts,
    /// Annotations that were left out since something is wrong with them; none unless it was asked for.
    pub bad: BadRecords,
}

/// How to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Annotation field that holds the class; `None` takes the first of [`LABEL_FIELDS`] in use, else the
    /// category's name where several categories are in use.
    pub label_field: Option<&'a str>,
    /// Leave out annotations with something wrong in them, NaN and Infinity included, and say which; without
    /// it the first one is an error. What is wrong elsewhere, or not JSON, always is.
    pub leave_out_bad: bool,
}

/// Read the keypoint annotations of a COCO JSON file, or of a pipe; it is read once, front to back.
///
/// # Errors
/// [`CocoError::Open`] if there is no such file or it may not be read, [`CocoError::Io`] if reading fails
/// half way, [`CocoError::Malformed`] with the place otherwise.
pub fn read_path(path: &Path, options: &Options<'_>) -> Result<CocoPoses, CocoError> {
    let file = File::open(path).map_err(CocoError::Open)?;
    if file.metadata()?.is_dir() {
        return Err(CocoError::Open(io::ErrorKind::IsADirectory.into()));
    }
    read(file, options)
}

/// Read COCO JSON from any byte stream; see [`read_path`].
///
/// # Errors
/// As [`read_path`].
pub fn read(mut source: impl Read, options: &Options<'_>) -> Result<CocoPoses, CocoError> {
    let mut head = Vec::with_capacity(4);
    source.by_ref().take(4).read_to_end(&mut head)?;
    if let Some(message) = text::not_json(&head) {
        return Err(CocoError::top(message));
    }
    let document = parse::document(head, source, options)?;
    assemble::assemble(document, options)
}

#[cfg(test)]
mod tests;

//! The records of a file as the parser leaves them.

use std::collections::{HashMap, HashSet};

use super::error::Place;
use super::LABEL_FIELDS;

/// Longest part of a key that is kept for messages.
const MAX_FIELD_CHARS: usize = 64;

/// Code of an absent label.
pub(super) const NO_LABEL: u32 = u32::MAX;

pub(super) struct Category {
    pub id: i64,
    pub name: Option<String>,
    /// Not empty if there.
    pub keypoints: Option<Vec<String>>,
    /// Pairs of keypoints, counted from 1 as they are in the file; their range is not checked.
    pub bones: Vec<[i64; 2]>,
}

pub(super) struct Annotation {
    pub id: i64,
    pub image_id: i64,
    pub category_id: i64,
    /// (x, y, v) triples; `None` without the key.
    pub points: Option<usize>,
    /// Triples with v > 0.
    pub labelled: usize,
    pub num_keypoints: Option<u64>,
    pub crowd: bool,
    /// Codes into the label table, one for each candidate field.
    pub labels: [u32; LABEL_FIELDS.len()],
}

impl Annotation {
    /// Whether it becomes a pose.
    pub(super) fn kept(&self) -> bool {
        !self.crowd && self.labelled > 0
    }
}

/// All records; keypoints only of annotations that are kept.
#[derive(Default)]
pub(super) struct Document {
    /// Where the parser is.
    pub place: Place,
    /// Sections seen.
    pub sections: HashSet<&'static str>,
    /// Size by image id; (0, 0) if unknown.
    pub images: HashMap<i64, (i32, i32)>,
    pub categories: Vec<Category>,
    /// Index into `categories` by id.
    pub category_index: HashMap<i64, usize>,
    pub annotations: Vec<Annotation>,
    pub annotation_ids: HashSet<i64>,
    pub coordinates: Vec<f32>,
    pub visibility: Vec<u8>,
    /// Annotation fields that may hold the label.
    pub label_fields: Vec<String>,
    /// A label of a wrong type is an error only in a field that was asked for.
    pub strict_label: bool,
    label_codes: HashMap<String, u32>,
    pub label_table: Vec<String>,
}

impl Document {
    /// Empty, with the fields that may hold labels.
    pub fn new(label_field: Option<&str>) -> Self {
        Self {
            label_fields: match label_field {
                Some(field) => vec![field.to_owned()],
                None => LABEL_FIELDS.map(str::to_owned).to_vec(),
            },
            strict_label: label_field.is_some(),
            ..Self::default()
        }
    }

    /// Note the key that is read now, for messages.
    pub fn enter(&mut self, key: &str) {
        self.place.field.clear();
        self.place.field.extend(key.chars().take(MAX_FIELD_CHARS));
    }

    /// Code of a label, the same for the same text.
    pub fn label_code(&mut self, label: &str) -> u32 {
        if let Some(&code) = self.label_codes.get(label) {
            return code;
        }
        let code = self.label_table.len() as u32;
        self.label_codes.insert(label.to_owned(), code);
        self.label_table.push(label.to_owned());
        code
    }
}

//! The records of a file as the parser leaves them.

use std::collections::HashMap;
use std::str::Utf8Error;

use super::error::{Place, Section};
use super::ids::Ids;
use super::LABEL_FIELDS;

/// Longest part of a key that is kept for messages.
const MAX_FIELD_CHARS: usize = 64;
/// Most bad records that are described; the others are counted.
const MAX_BAD: usize = 10_000;

/// Code of an absent label.
pub(super) const NO_LABEL: u32 = u32::MAX;

/// Keys of records that mean something, and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Between two keys.
    None,
    Id,
    ImageId,
    CategoryId,
    Keypoints,
    NumKeypoints,
    IsCrowd,
    Bbox,
    Width,
    Height,
    Name,
    Skeleton,
    /// Index into the label fields.
    Label(usize),
    Other,
}

pub(super) struct Category {
    pub id: i64,
    pub name: Option<String>,
    /// Not empty if there.
    pub keypoints: Option<Vec<String>>,
    /// Pairs of keypoints, counted from 1 as they are in the file; their range is not checked.
    pub bones: Vec<[i64; 2]>,
}

pub(super) struct Annotation {
    /// 0-based index in the file.
    pub record: usize,
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
    /// What it refers to is not there, or does not fit.
    pub bad: bool,
}

impl Annotation {
    /// Whether it becomes a pose.
    pub(super) fn kept(&self) -> bool {
        !self.bad && !self.crowd && self.labelled > 0
    }
}

/// An annotation that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// 0-based index in `annotations`.
    pub record: usize,
    /// Key that is wrong; `annotations` if the record as a whole is meant.
    pub field: Option<String>,
    pub reason: String,
}

/// What was left out: the first of them described, all of them counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadRecords {
    /// In the order of the file.
    pub first: Vec<BadRecord>,
    pub count: usize,
}

impl BadRecords {
    pub(super) fn add(&mut self, record: usize, field: Option<String>, reason: String) {
        self.count += 1;
        if self.first.len() < MAX_BAD {
            self.first.push(BadRecord {
                record,
                field,
                reason,
            });
        }
    }
}

/// Distinct labels in the order of their codes.
#[derive(Default)]
pub(super) struct LabelTable {
    codes: HashMap<String, u32>,
    pub table: Vec<String>,
}

impl LabelTable {
    /// Code of a label, the same for the same text.
    pub fn code(&mut self, label: &str) -> u32 {
        if let Some(&code) = self.codes.get(label) {
            return code;
        }
        let code = self.table.len() as u32;
        self.codes.insert(label.to_owned(), code);
        self.table.push(label.to_owned());
        code
    }
}

/// All records; keypoints only of annotations that are kept.
pub(super) struct Document {
    section: Section,
    record: Option<usize>,
    /// The key that is read now.
    pub key: Key,
    /// Its text, if it is `Other`.
    other: String,
    pub image_ids: Ids,
    /// Width and height; (0, 0) if unknown.
    pub images: Vec<(i32, i32)>,
    pub category_ids: Ids,
    pub categories: Vec<Category>,
    pub annotation_ids: Ids,
    pub annotations: Vec<Annotation>,
    pub coordinates: Vec<f32>,
    pub visibility: Vec<u8>,
    /// Annotation fields that may hold the label.
    label_fields: Vec<String>,
    /// A label of a wrong type is an error only in a field that was asked for.
    pub strict_label: bool,
    pub labels: LabelTable,
    pub bad: BadRecords,
}

impl Document {
    /// Empty, with the fields that may hold labels.
    pub fn new(label_field: Option<&str>) -> Self {
        Self {
            section: Section::Top,
            record: None,
            key: Key::None,
            other: String::new(),
            image_ids: Ids::default(),
            images: Vec::new(),
            category_ids: Ids::default(),
            categories: Vec::new(),
            annotation_ids: Ids::default(),
            annotations: Vec::new(),
            coordinates: Vec::new(),
            visibility: Vec::new(),
            label_fields: match label_field {
                Some(field) => vec![field.to_owned()],
                None => LABEL_FIELDS.map(str::to_owned).to_vec(),
            },
            strict_label: label_field.is_some(),
            labels: LabelTable::default(),
            bad: BadRecords::default(),
        }
    }

    /// Go to a section as a whole; `Section::Top` leaves one.
    pub fn enter_section(&mut self, section: Section) {
        (self.section, self.record, self.key) = (section, None, Key::None);
    }

    /// Go to a record of the section.
    pub fn enter_record(&mut self, record: usize) {
        (self.record, self.key) = (Some(record), Key::None);
    }

    /// Note the key of the record that is read now.
    #[inline]
    pub fn enter(&mut self, key: &[u8]) -> Result<(), Utf8Error> {
        self.key = match key {
            b"id" => Key::Id,
            b"image_id" => Key::ImageId,
            b"category_id" => Key::CategoryId,
            b"keypoints" => Key::Keypoints,
            b"num_keypoints" => Key::NumKeypoints,
            b"iscrowd" => Key::IsCrowd,
            b"bbox" => Key::Bbox,
            b"width" => Key::Width,
            b"height" => Key::Height,
            b"name" => Key::Name,
            b"skeleton" => Key::Skeleton,
            _ => {
                let label = self.label_fields.iter().position(|field| field.as_bytes() == key);
                if label.is_none() {
                    self.enter_field(std::str::from_utf8(key)?);
                }
                label.map_or(Key::Other, Key::Label)
            }
        };
        Ok(())
    }

    /// Note a key that has no meaning of its own, or go back to one.
    pub fn enter_field(&mut self, field: &str) {
        let end = field.char_indices().nth(MAX_FIELD_CHARS);
        self.other.clear();
        self.other
            .push_str(&field[..end.map_or(field.len(), |(end, _)| end)]);
        self.key = Key::Other;
    }

    /// Where the parser is.
    pub fn place(&self) -> Place {
        let field = match self.key {
            Key::None => "",
            Key::Id => "id",
            Key::ImageId => "image_id",
            Key::CategoryId => "category_id",
            Key::Keypoints => "keypoints",
            Key::NumKeypoints => "num_keypoints",
            Key::IsCrowd => "iscrowd",
            Key::Bbox => "bbox",
            Key::Width => "width",
            Key::Height => "height",
            Key::Name => "name",
            Key::Skeleton => "skeleton",
            Key::Label(index) => &self.label_fields[index],
            Key::Other => &self.other,
        };
        Place {
            section: self.section,
            record: self.record,
            field: field.to_owned(),
        }
    }
}

//! JSON to records: types, ranges and required keys of each record by itself.
//!
//! Each visitor borrows the one [`Document`], which also remembers the place that was reached.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::error::{shorten, CocoError, Place, Section};
use super::{LABEL_FIELDS, MAX_BONES, MAX_COORDINATE, MAX_IMAGE_SIDE, MAX_KEYPOINTS, MAX_LABEL_BYTES};

/// Most keys at the top level; each is kept, to find a repeated one.
const MAX_TOP_KEYS: usize = 1000;
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
    place: Place,
    sections: HashSet<&'static str>,
    /// Size by image id; (0, 0) if unknown.
    pub images: HashMap<i64, (i32, i32)>,
    pub categories: Vec<Category>,
    pub annotations: Vec<Annotation>,
    annotation_ids: HashSet<i64>,
    pub coordinates: Vec<f32>,
    pub visibility: Vec<u8>,
    label_fields: Vec<String>,
    /// A label of a wrong type is an error only in a field that was asked for.
    strict_label: bool,
    label_codes: HashMap<String, u32>,
    pub label_table: Vec<String>,
}

impl Document {
    fn enter(&mut self, key: &str) {
        self.place.field.clear();
        self.place.field.extend(key.chars().take(MAX_FIELD_CHARS));
    }

    fn label_code(&mut self, label: &str) -> u32 {
        if let Some(&code) = self.label_codes.get(label) {
            return code;
        }
        let code = self.label_table.len() as u32;
        self.label_codes.insert(label.to_owned(), code);
        self.label_table.push(label.to_owned());
        code
    }
}

/// Parse the whole stream.
pub(super) fn document<'de, R: serde_json::de::Read<'de>>(
    json: &mut serde_json::Deserializer<R>,
    label_field: Option<&str>,
) -> Result<Document, CocoError> {
    let mut document = Document {
        label_fields: match label_field {
            Some(field) => vec![field.to_owned()],
            None => LABEL_FIELDS.map(str::to_owned).to_vec(),
        },
        strict_label: label_field.is_some(),
        ..Document::default()
    };
    let parsed = json.deserialize_any(Top(&mut document)).and_then(|()| json.end());
    if let Err(error) = parsed {
        return Err(CocoError::from_json(error, document.place));
    }
    for section in [Section::Images, Section::Annotations, Section::Categories] {
        if !document.sections.contains(section.key()) {
            return Err(CocoError::at(
                Place {
                    section,
                    ..Place::default()
                },
                "missing at the top level",
            ));
        }
    }
    Ok(document)
}

/// Values of a record read so far: a second one under the same key is an error.
fn set<T, E: serde::de::Error>(slot: &mut Option<T>, value: T, key: &str) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom(format_args!("key `{key}` is repeated"))),
    }
}

/// The value of a required key.
fn require<T, E: serde::de::Error>(document: &mut Document, slot: Option<T>, key: &str) -> Result<T, E> {
    slot.ok_or_else(|| {
        document.enter(key);
        E::custom("missing")
    })
}

/// Bind a seed to its visitor for values of any JSON type, so that a wrong type gets our own words.
macro_rules! seed {
    ($name:ident $(<$life:lifetime>)?, $value:ty, $method:ident) => {
        impl<'de> DeserializeSeed<'de> for $name $(<$life>)? {
            type Value = $value;
            fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<$value, D::Error> {
                value.$method(self)
            }
        }
    };
}

/// The top-level object.
struct Top<'a>(&'a mut Document);

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `images`, `annotations` and `categories`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(
            "expected an object with `images`, `annotations` and `categories`, got an array \
             (a list of detection results has no joint names)",
        ))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let document = self.0;
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            document.enter(&key);
            match key.as_str() {
                "images" => section(document, &mut map, Section::Images)?,
                "annotations" => section(document, &mut map, Section::Annotations)?,
                "categories" => section(document, &mut map, Section::Categories)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            if seen.len() >= MAX_TOP_KEYS {
                return Err(A::Error::custom(format_args!(
                    "more than {MAX_TOP_KEYS} keys at the top level"
                )));
            }
            if !seen.insert(key) {
                return Err(A::Error::custom("the key is repeated at the top level"));
            }
            document.place = Place::default();
        }
        Ok(())
    }
}

/// One of the three arrays; a repeated one is refused before it is read, or its ids would clash first.
fn section<'de, A: MapAccess<'de>>(
    document: &mut Document,
    map: &mut A,
    section: Section,
) -> Result<(), A::Error> {
    if !document.sections.insert(section.key()) {
        return Err(A::Error::custom("the key is repeated at the top level"));
    }
    document.place = Place {
        section,
        ..Place::default()
    };
    map.next_value_seed(Records(document))?;
    document.place = Place::default();
    Ok(())
}

/// The array of the current section.
struct Records<'a>(&'a mut Document);
seed!(Records<'_>, (), deserialize_any);

impl<'de> Visitor<'de> for Records<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let document = self.0;
        let mut record = 0;
        loop {
            document.place.record = Some(record);
            document.place.field.clear();
            if seq.next_element_seed(Record(document))?.is_none() {
                return Ok(());
            }
            record += 1;
        }
    }
}

/// One object of the current section.
struct Record<'a>(&'a mut Document);
seed!(Record<'_>, (), deserialize_any);

impl<'de> Visitor<'de> for Record<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        match self.0.place.section {
            Section::Images => image(self.0, map),
            Section::Annotations => annotation(self.0, map),
            _ => category(self.0, map),
        }
    }
}

/// Keys that mean something; `Other` is skipped.
#[derive(Clone, Copy)]
enum Key {
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
    Label(usize),
    Other,
}

/// Reads a key without keeping it, except as the place that was reached.
struct KeySeed<'a>(&'a mut Document);
seed!(KeySeed<'_>, Key, deserialize_identifier);

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        self.0.enter(key);
        Ok(match key {
            "id" => Key::Id,
            "image_id" => Key::ImageId,
            "category_id" => Key::CategoryId,
            "keypoints" => Key::Keypoints,
            "num_keypoints" => Key::NumKeypoints,
            "iscrowd" => Key::IsCrowd,
            "bbox" => Key::Bbox,
            "width" => Key::Width,
            "height" => Key::Height,
            "name" => Key::Name,
            "skeleton" => Key::Skeleton,
            _ => self
                .0
                .label_fields
                .iter()
                .position(|field| field == key)
                .map_or(Key::Other, Key::Label),
        })
    }
}

fn image<'de, A: MapAccess<'de>>(document: &mut Document, mut map: A) -> Result<(), A::Error> {
    let (mut id, mut width, mut height) = (None, None, None);
    while let Some(key) = map.next_key_seed(KeySeed(document))? {
        match key {
            Key::Id => set(&mut id, map.next_value_seed(Integer)?, "id")?,
            Key::Width => set(&mut width, map.next_value_seed(Side)?, "width")?,
            Key::Height => set(&mut height, map.next_value_seed(Side)?, "height")?,
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    let id = require(document, id, "id")?;
    let size = match (width, height) {
        (None, None) => (0, 0),
        (width, height) => (
            require(document, width, "width")?,
            require(document, height, "height")?,
        ),
    };
    if document.images.insert(id, size).is_some() {
        document.enter("id");
        return Err(A::Error::custom(format_args!(
            "ids must be unique, {id} came before"
        )));
    }
    Ok(())
}

fn category<'de, A: MapAccess<'de>>(document: &mut Document, mut map: A) -> Result<(), A::Error> {
    let (mut id, mut name, mut keypoints, mut bones) = (None, None, None, None);
    while let Some(key) = map.next_key_seed(KeySeed(document))? {
        match key {
            Key::Id => set(&mut id, map.next_value_seed(Integer)?, "id")?,
            Key::Name => set(&mut name, map.next_value::<String>()?, "name")?,
            Key::Keypoints => set(&mut keypoints, map.next_value_seed(Names)?, "keypoints")?,
            Key::Skeleton => set(&mut bones, map.next_value_seed(Bones)?, "skeleton")?,
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    let id = require(document, id, "id")?;
    if document.categories.iter().any(|category| category.id == id) {
        document.enter("id");
        return Err(A::Error::custom(format_args!(
            "ids must be unique, {id} came before"
        )));
    }
    let keypoints = keypoints.filter(|names| !names.is_empty());
    document.categories.push(Category {
        id,
        name,
        keypoints,
        bones: bones.unwrap_or_default(),
    });
    Ok(())
}

fn annotation<'de, A: MapAccess<'de>>(document: &mut Document, mut map: A) -> Result<(), A::Error> {
    let (mut id, mut image_id, mut category_id) = (None, None, None);
    let (mut points, mut num_keypoints, mut crowd, mut bbox) = (None, None, None, None);
    let mut labels = [None; LABEL_FIELDS.len()];
    let start = document.visibility.len();
    while let Some(key) = map.next_key_seed(KeySeed(document))? {
        match key {
            Key::Id => set(&mut id, map.next_value_seed(Integer)?, "id")?,
            Key::ImageId => set(&mut image_id, map.next_value_seed(Integer)?, "image_id")?,
            Key::CategoryId => set(&mut category_id, map.next_value_seed(Integer)?, "category_id")?,
            Key::Keypoints => set(
                &mut points,
                map.next_value_seed(Keypoints(document))?,
                "keypoints",
            )?,
            Key::NumKeypoints => set(&mut num_keypoints, map.next_value_seed(Count)?, "num_keypoints")?,
            Key::IsCrowd => set(&mut crowd, map.next_value_seed(Flag)?, "iscrowd")?,
            Key::Bbox => set(&mut bbox, map.next_value_seed(Bbox)?, "bbox")?,
            Key::Label(index) => set(&mut labels[index], map.next_value_seed(Label(document))?, "label")?,
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    let id = require(document, id, "id")?;
    let annotation = Annotation {
        id,
        image_id: require(document, image_id, "image_id")?,
        category_id: require(document, category_id, "category_id")?,
        points,
        labelled: document.visibility[start..]
            .iter()
            .filter(|&&visibility| visibility > 0)
            .count(),
        num_keypoints,
        crowd: crowd.unwrap_or(false),
        labels: labels.map(|label| label.unwrap_or(NO_LABEL)),
    };
    if !document.annotation_ids.insert(id) {
        document.enter("id");
        return Err(A::Error::custom(format_args!(
            "ids must be unique, {id} came before"
        )));
    }
    if !annotation.kept() {
        document.visibility.truncate(start);
        document.coordinates.truncate(2 * start);
    }
    document.annotations.push(annotation);
    Ok(())
}

/// A whole number that fits 64 bits.
struct Integer;
seed!(Integer, i64, deserialize_i64);

impl Visitor<'_> for Integer {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer of 64 bits")
    }

    fn visit_i64<E>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }
}

/// A width or height.
struct Side;
seed!(Side, i32, deserialize_i64);

impl Visitor<'_> for Side {
    type Value = i32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer from 1 to {MAX_IMAGE_SIDE}")
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<i32, E> {
        match i32::try_from(value) {
            Ok(side) if (1..=MAX_IMAGE_SIDE).contains(&value) => Ok(side),
            _ => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<i32, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
        }
    }
}

/// A number of keypoints.
struct Count;
seed!(Count, u64, deserialize_u64);

impl Visitor<'_> for Count {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, 0 or more")
    }

    fn visit_u64<E>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }
}

/// 0 or 1, or the JSON words for them, which some tools write.
struct Flag;
seed!(Flag, bool, deserialize_any);

impl Visitor<'_> for Flag {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0 or 1")
    }

    fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<bool, E> {
        match value {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
        }
    }
}

/// A finite number, rounded once from its decimal digits to `f32`.
struct Number;
seed!(Number, f32, deserialize_f32);

impl Visitor<'_> for Number {
    type Value = f32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a finite number")
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<f32, E> {
        let rounded = value as f32; // exact: the parser has rounded already
        if rounded.is_finite() {
            Ok(rounded)
        } else {
            Err(E::invalid_value(Unexpected::Float(value), &self))
        }
    }

    fn visit_i64<E>(self, value: i64) -> Result<f32, E> {
        Ok(value as f32)
    }

    fn visit_u64<E>(self, value: u64) -> Result<f32, E> {
        Ok(value as f32)
    }
}

/// 0, 1 or 2, also written as 2.0.
struct Visibility;
seed!(Visibility, u8, deserialize_f64);

impl Visitor<'_> for Visibility {
    type Value = u8;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a visibility of 0, 1 or 2")
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<u8, E> {
        match value {
            0.0 => Ok(0),
            1.0 => Ok(1),
            2.0 => Ok(2),
            _ => Err(E::invalid_value(Unexpected::Float(value), &self)),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<u8, E> {
        Err(E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u8, E> {
        match value {
            0..=2 => Ok(value as u8),
            _ => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
        }
    }
}

/// x, y, v of each keypoint, appended to the document; gives the number of triples.
struct Keypoints<'a>(&'a mut Document);
seed!(Keypoints<'_>, usize, deserialize_any);

impl<'de> Visitor<'de> for Keypoints<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of x, y, visibility of each keypoint")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
        let uneven = |rest: usize| {
            A::Error::custom(format_args!(
                "must hold 3 numbers a keypoint (x, y, visibility), got {rest} too many"
            ))
        };
        let mut points = 0;
        while let Some(x) = seq.next_element_seed(Number)? {
            let y = seq.next_element_seed(Number)?.ok_or_else(|| uneven(1))?;
            let v = seq.next_element_seed(Visibility)?.ok_or_else(|| uneven(2))?;
            if points == MAX_KEYPOINTS {
                return Err(A::Error::custom(format_args!(
                    "more than {MAX_KEYPOINTS} keypoints"
                )));
            }
            let (x, y) = if v == 0 { (0.0, 0.0) } else { (x, y) };
            if x.abs() > MAX_COORDINATE || y.abs() > MAX_COORDINATE {
                return Err(A::Error::custom(format_args!(
                    "coordinates must lie within {MAX_COORDINATE} pixels, keypoint {points} has ({x:e}, {y:e})"
                )));
            }
            self.0.coordinates.extend([x, y]);
            self.0.visibility.push(v);
            points += 1;
        }
        Ok(points)
    }
}

/// x, y, width, height; checked, not kept.
struct Bbox;
seed!(Bbox, (), deserialize_any);

impl<'de> Visitor<'de> for Bbox {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of 4 finite numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0..4 {
            if seq.next_element_seed(Number)?.is_none() {
                return Err(A::Error::invalid_length(index, &self));
            }
        }
        match seq.next_element::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(A::Error::custom(
                "expected an array of 4 finite numbers, got more",
            )),
        }
    }
}

/// Names of a category's keypoints.
struct Names;
seed!(Names, Vec<String>, deserialize_any);

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let mut names: Vec<String> = Vec::new();
        while let Some(name) = seq.next_element::<String>()? {
            if name.is_empty() || names.contains(&name) {
                return Err(A::Error::custom(format_args!(
                    "keypoint names must be unique and not empty, got `{}`",
                    shorten(&name)
                )));
            }
            if names.len() == MAX_KEYPOINTS {
                return Err(A::Error::custom(format_args!(
                    "more than {MAX_KEYPOINTS} keypoints"
                )));
            }
            names.push(name);
        }
        Ok(names)
    }
}

/// Bones of a category.
struct Bones;
seed!(Bones, Vec<[i64; 2]>, deserialize_any);

impl<'de> Visitor<'de> for Bones {
    type Value = Vec<[i64; 2]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of pairs of keypoints, counted from 1")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<[i64; 2]>, A::Error> {
        let mut bones = Vec::new();
        while let Some(bone) = seq.next_element()? {
            if bones.len() == MAX_BONES {
                return Err(A::Error::custom(format_args!("more than {MAX_BONES} bones")));
            }
            bones.push(bone);
        }
        Ok(bones)
    }
}

/// A class label: text, or an integer as text.
struct Label<'a>(&'a mut Document);
seed!(Label<'_>, u32, deserialize_any);

impl Label<'_> {
    fn skip<E: serde::de::Error>(self, got: Unexpected<'_>) -> Result<u32, E> {
        if self.0.strict_label {
            return Err(E::invalid_type(got, &self));
        }
        Ok(NO_LABEL)
    }
}

impl<'de> Visitor<'de> for Label<'_> {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a class label: a string or an integer")
    }

    fn visit_str<E: serde::de::Error>(self, label: &str) -> Result<u32, E> {
        if label.len() > MAX_LABEL_BYTES {
            return Err(E::custom(format_args!(
                "labels may have {MAX_LABEL_BYTES} bytes, got {}",
                label.len()
            )));
        }
        Ok(self.0.label_code(label))
    }

    fn visit_i64<E>(self, label: i64) -> Result<u32, E> {
        Ok(self.0.label_code(&label.to_string()))
    }

    fn visit_u64<E>(self, label: u64) -> Result<u32, E> {
        Ok(self.0.label_code(&label.to_string()))
    }

    fn visit_unit<E>(self) -> Result<u32, E> {
        Ok(NO_LABEL)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<u32, E> {
        self.skip(Unexpected::Bool(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<u32, E> {
        self.skip(Unexpected::Float(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<u32, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.skip(Unexpected::Seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u32, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.skip(Unexpected::Map)
    }
}

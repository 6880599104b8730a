//! JSON to records: types, ranges and required keys of each record by itself.
//!
//! Each visitor borrows the one [`Document`], which also remembers the place that was reached.

use std::collections::HashSet;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::document::{Annotation, Category, Document, NO_LABEL};
use super::error::{CocoError, Place, Section};
use super::values::{seed, Bbox, Bones, Count, Flag, Integer, Name, Names, Number, Side, Visibility};
use super::{LABEL_FIELDS, MAX_COORDINATE, MAX_KEYPOINTS, MAX_LABEL_BYTES};

/// Most keys at the top level, and the longest in bytes; each is kept, to find a repeated one.
const MAX_TOP_KEYS: usize = 1000;
const MAX_TOP_KEY_BYTES: usize = 256;

/// Parse the whole stream.
pub(super) fn document<'de, R: serde_json::de::Read<'de>>(
    json: &mut serde_json::Deserializer<R>,
    label_field: Option<&str>,
) -> Result<Document, CocoError> {
    let mut document = Document::new(label_field);
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

/// Read the value of a key into its slot; a second one under the same key is an error.
fn fill<'de, S, A>(slot: &mut Option<S::Value>, map: &mut A, seed: S) -> Result<(), A::Error>
where
    S: DeserializeSeed<'de>,
    A: MapAccess<'de>,
{
    if slot.is_some() {
        return Err(A::Error::custom("the key is repeated in the record"));
    }
    *slot = Some(map.next_value_seed(seed)?);
    Ok(())
}

/// The value of a required key.
fn require<T, E: serde::de::Error>(document: &mut Document, slot: Option<T>, key: &str) -> Result<T, E> {
    slot.ok_or_else(|| {
        document.enter(key);
        E::custom("missing")
    })
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
            if seen.len() >= MAX_TOP_KEYS || key.len() > MAX_TOP_KEY_BYTES {
                return Err(A::Error::custom(format_args!(
                    "there may be {MAX_TOP_KEYS} keys of {MAX_TOP_KEY_BYTES} bytes at the top level"
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
            Key::Id => fill(&mut id, &mut map, Integer)?,
            Key::Width => fill(&mut width, &mut map, Side)?,
            Key::Height => fill(&mut height, &mut map, Side)?,
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        document.place.field.clear();
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
            Key::Id => fill(&mut id, &mut map, Integer)?,
            Key::Name => fill(&mut name, &mut map, Name)?,
            Key::Keypoints => fill(&mut keypoints, &mut map, Names)?,
            Key::Skeleton => fill(&mut bones, &mut map, Bones)?,
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        document.place.field.clear();
    }
    let id = require(document, id, "id")?;
    let index = document.categories.len();
    if document.category_index.insert(id, index).is_some() {
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
            Key::Id => fill(&mut id, &mut map, Integer)?,
            Key::ImageId => fill(&mut image_id, &mut map, Integer)?,
            Key::CategoryId => fill(&mut category_id, &mut map, Integer)?,
            Key::Keypoints => fill(&mut points, &mut map, Keypoints(document))?,
            Key::NumKeypoints => fill(&mut num_keypoints, &mut map, Count)?,
            Key::IsCrowd => fill(&mut crowd, &mut map, Flag)?,
            Key::Bbox => fill(&mut bbox, &mut map, Bbox)?,
            Key::Label(index) => fill(&mut labels[index], &mut map, Label(document))?,
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        document.place.field.clear();
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

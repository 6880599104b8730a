//! A slow reader of COCO JSON on serde, and what must hold for any bytes; shared with the fuzz target.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;

use flexpose_core::coco::{self, CocoPoses, Options, WriteInput};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Everything that must hold when `bytes` are read, whatever they are.
pub fn check(bytes: &[u8]) {
    let strict = coco::read(bytes, &Options::default());
    let step = 1 + bytes.len() % 7;
    let parts = coco::read(Trickle(bytes, step), &Options::default());
    match (&strict, &parts) {
        (Ok(whole), Ok(parts)) => assert_eq!(whole, parts, "chunks change the poses"),
        (Err(whole), Err(parts)) => assert_eq!(whole.to_string(), parts.to_string()),
        _ => panic!("chunks change the outcome: {strict:?} {parts:?}"),
    }
    let lenient = coco::read(
        bytes,
        &Options {
            leave_out_bad: true,
            ..Options::default()
        },
    );
    match (&strict, &lenient) {
        (Ok(strict), Ok(lenient)) => assert_eq!(strict, lenient, "nothing is bad, and yet it matters"),
        (Ok(_), Err(error)) => panic!("leaving out bad records finds {error}"),
        (Err(error), Ok(lenient)) => assert!(lenient.bad.count > 0, "{error}, but no record is bad"),
        (Err(_), Err(_)) => {}
    }
    match (&strict, twin(bytes)) {
        (Ok(poses), Ok(twin)) => {
            assert_eq!(bits(&poses.keypoints), bits(&twin.keypoints));
            assert_eq!(poses.visibility, twin.visibility);
            assert_eq!(poses.image_size, twin.image_size);
            assert_eq!(poses.ids, twin.ids);
            come_back(poses);
        }
        (Err(_), Err(_)) => {}
        (ours, twin) => panic!("the twin disagrees: {ours:?} {:?}", twin.err()),
    }
}

/// What was read and can be written is read again, bit for bit.
fn come_back(poses: &CocoPoses) {
    let Some(names) = poses.names.as_deref().filter(|_| !poses.image_size.contains(&0)) else {
        return;
    };
    let input = WriteInput {
        keypoints: &poses.keypoints,
        visibility: &poses.visibility,
        image_size: &poses.image_size,
        ids: &poses.ids,
        labels: None,
        names,
        bones: &[],
        category: "",
        version: "",
        description: "",
    };
    let mut bytes = Vec::new();
    coco::write(&input, &mut bytes).unwrap();
    let again = coco::read(bytes.as_slice(), &Options::default()).unwrap();
    assert_eq!(bits(&again.keypoints), bits(&poses.keypoints));
    assert_eq!((&again.visibility, &again.ids), (&poses.visibility, &poses.ids));
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Gives a few bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let take = self.1.min(buffer.len()).min(self.0.len());
        buffer[..take].copy_from_slice(&self.0[..take]);
        self.0 = &self.0[take..];
        Ok(take)
    }
}

/// What the twin makes of a file.
#[derive(Default)]
struct Twin {
    keypoints: Vec<f32>,
    visibility: Vec<u8>,
    image_size: Vec<i32>,
    ids: Vec<i64>,
}

/// A JSON object that takes its values one by one.
trait Fields: Default {
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

/// A value of an object and of nothing else: serde's derive would take an array as well.
#[derive(Default)]
struct Object<T>(T);

impl<'de, T: Fields> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Fields> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut fields = T::default();
        while let Some(key) = map.next_key::<String>()? {
            fields.take(&key, &mut map)?;
        }
        Ok(fields)
    }
}

fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    slot: &mut Option<T>,
    map: &mut A,
) -> Result<(), A::Error> {
    if slot.replace(map.next_value()?).is_some() {
        return Err(A::Error::custom("twice"));
    }
    Ok(())
}

fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

#[derive(Default)]
struct File {
    keys: HashSet<String>,
    images: Option<Vec<Object<Image>>>,
    annotations: Option<Vec<Object<Annotation>>>,
    categories: Option<Vec<Object<Category>>>,
}

impl Fields for File {
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if key.len() > 256 || self.keys.len() == 1000 || !self.keys.insert(key.to_owned()) {
            return Err(A::Error::custom("top level"));
        }
        match key {
            "images" => once(&mut self.images, map),
            "annotations" => once(&mut self.annotations, map),
            "categories" => once(&mut self.categories, map),
            _ => skip(map),
        }
    }
}

#[derive(Default)]
struct Image {
    id: Option<i64>,
    width: Option<i32>,
    height: Option<i32>,
}

impl Fields for Image {
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "id" => once(&mut self.id, map),
            "width" => once(&mut self.width, map),
            "height" => once(&mut self.height, map),
            _ => skip(map),
        }
    }
}

#[derive(Default)]
struct Category {
    id: Option<i64>,
    name: Option<String>,
    keypoints: Option<Vec<String>>,
    skeleton: Option<Vec<[i64; 2]>>,
}

impl Fields for Category {
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "id" => once(&mut self.id, map),
            "name" => once(&mut self.name, map),
            "keypoints" => once(&mut self.keypoints, map),
            "skeleton" => once(&mut self.skeleton, map),
            _ => skip(map),
        }
    }
}

#[derive(Default)]
struct Annotation {
    id: Option<i64>,
    image_id: Option<i64>,
    category_id: Option<i64>,
    keypoints: Option<Vec<f32>>,
    num_keypoints: Option<u64>,
    iscrowd: Option<serde_json::Value>,
    bbox: Option<[f32; 4]>,
    labels: [Option<Label>; 3],
}

impl Fields for Annotation {
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "id" => once(&mut self.id, map),
            "image_id" => once(&mut self.image_id, map),
            "category_id" => once(&mut self.category_id, map),
            "keypoints" => once(&mut self.keypoints, map),
            "num_keypoints" => once(&mut self.num_keypoints, map),
            "iscrowd" => once(&mut self.iscrowd, map),
            "bbox" => once(&mut self.bbox, map),
            "action" => once(&mut self.labels[0], map),
            "label" => once(&mut self.labels[1], map),
            "class" => once(&mut self.labels[2], map),
            _ => skip(map),
        }
    }
}

/// Any value, but no text of more than 1024 bytes.
struct Label;

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(LabelVisitor)
    }
}

struct LabelVisitor;

impl<'de> Visitor<'de> for LabelVisitor {
    type Value = Label;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a label")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Label, E> {
        (text.len() <= 1024)
            .then_some(Label)
            .ok_or_else(|| E::custom("long"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Label, E> {
        Ok(Label)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Label, E> {
        Ok(Label)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Label, E> {
        Ok(Label)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Label, E> {
        Ok(Label)
    }

    fn visit_unit<E>(self) -> Result<Label, E> {
        Ok(Label)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Label, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Label)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Label, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Label)
    }
}

fn ensure(good: bool, what: &str) -> Result<(), String> {
    good.then_some(()).ok_or_else(|| what.to_owned())
}

/// The whole file in memory, one check after the other.
fn twin(bytes: &[u8]) -> Result<Twin, String> {
    let file: Object<File> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let file = file.0;
    let mut sizes = HashMap::new();
    for Object(image) in file.images.ok_or("no images")? {
        let range = 1..=1_000_000;
        let size = match (image.width, image.height) {
            (None, None) => (0, 0),
            (Some(width), Some(height)) if range.contains(&width) && range.contains(&height) => {
                (width, height)
            }
            _ => return Err("size".to_owned()),
        };
        ensure(
            sizes.insert(image.id.ok_or("image id")?, size).is_none(),
            "image id twice",
        )?;
    }
    let mut categories = HashMap::new();
    for Object(category) in file.categories.ok_or("no categories")? {
        let names = category.keypoints.unwrap_or_default();
        ensure(
            category.name.is_none_or(|name| name.len() <= 1024),
            "category name",
        )?;
        ensure(
            names.iter().all(|name| (1..=1024).contains(&name.len())),
            "joint name",
        )?;
        ensure(
            names.iter().collect::<HashSet<_>>().len() == names.len(),
            "joint twice",
        )?;
        ensure(names.len() <= 1024, "joints")?;
        ensure(category.skeleton.is_none_or(|bones| bones.len() <= 1024), "bones")?;
        let id = category.id.ok_or("category id")?;
        ensure(categories.insert(id, names).is_none(), "category id twice")?;
    }
    let mut twin = Twin::default();
    let (mut ids, mut skeletons) = (HashSet::new(), HashSet::new());
    for Object(annotation) in file.annotations.ok_or("no annotations")? {
        let id = annotation.id.ok_or("id")?;
        ensure(ids.insert(id), "id twice")?;
        let size = sizes
            .get(&annotation.image_id.ok_or("image_id")?)
            .ok_or("image")?;
        let names = categories
            .get(&annotation.category_id.ok_or("category_id")?)
            .ok_or("category")?;
        let there = annotation.keypoints.is_some();
        let numbers = annotation.keypoints.unwrap_or_default();
        ensure(numbers.len() % 3 == 0 && numbers.len() <= 3 * 1024, "triples")?;
        let expected = if names.is_empty() {
            numbers.len() / 3
        } else {
            names.len()
        };
        ensure(!there || numbers.len() == 3 * expected, "number of joints")?;
        let count = annotation.num_keypoints.unwrap_or(0);
        ensure(!there || count <= expected as u64, "num_keypoints")?;
        let boxed = annotation.bbox.unwrap_or_default();
        ensure(
            boxed.iter().chain(&numbers).all(|number| number.is_finite()),
            "finite",
        )?;
        for triple in numbers.chunks_exact(3) {
            ensure([0.0, 1.0, 2.0].contains(&triple[2]), "visibility")?;
            let far = triple[..2].iter().any(|number| number.abs() > 1e7);
            ensure(triple[2] == 0.0 || !far, "far")?;
        }
        let crowd = match annotation.iscrowd {
            None => false,
            Some(serde_json::Value::Bool(crowd)) => crowd,
            Some(number) => match number.as_u64() {
                Some(flag @ 0..=1) => flag == 1,
                _ => return Err("iscrowd".to_owned()),
            },
        };
        if crowd || numbers.chunks_exact(3).all(|triple| triple[2] == 0.0) {
            continue;
        }
        skeletons.insert((names, expected));
        for triple in numbers.chunks_exact(3) {
            let point = if triple[2] == 0.0 { &[0.0; 2] } else { &triple[..2] };
            twin.keypoints.extend(point);
            twin.visibility.push(triple[2] as u8);
        }
        twin.image_size.extend([size.0, size.1]);
        twin.ids.push(id);
    }
    if twin.ids.is_empty() {
        skeletons = categories
            .values()
            .filter(|names| !names.is_empty())
            .map(|names| (names, 0))
            .collect();
    }
    ensure(skeletons.len() <= 1, "skeletons")?;
    Ok(twin)
}

//! Values of single keys: their JSON types and ranges, each with our own words for what was expected.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, SeqAccess, Unexpected, Visitor};

use super::error::shorten;
use super::{MAX_BONES, MAX_IMAGE_SIDE, MAX_KEYPOINTS, MAX_NAME_BYTES};

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

/// A whole number that fits 64 bits.
pub(super) struct Integer;
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
pub(super) struct Side;
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
pub(super) struct Count;
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
pub(super) struct Flag;
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
pub(super) struct Number;
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
pub(super) struct Visibility;
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

/// x, y, width, height; checked, not kept.
pub(super) struct Bbox;
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

/// The name of a category or a keypoint.
pub(super) struct Name;
seed!(Name, String, deserialize_str);

impl Visitor<'_> for Name {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name of at most {MAX_NAME_BYTES} bytes")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<String, E> {
        if name.len() > MAX_NAME_BYTES {
            return Err(E::invalid_length(name.len(), &self));
        }
        Ok(name.to_owned())
    }
}

/// Names of a category's keypoints.
pub(super) struct Names;
seed!(Names, Vec<String>, deserialize_any);

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let mut names: Vec<String> = Vec::new();
        while let Some(name) = seq.next_element_seed(Name)? {
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
pub(super) struct Bones;
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

pub(super) use seed;

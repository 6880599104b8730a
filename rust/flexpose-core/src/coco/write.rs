//! Poses to COCO JSON, written as it is made.

use std::collections::HashSet;
use std::io::{self, Write};

use super::error::{CocoError, Place, Section};
use super::{MAX_COORDINATE, MAX_IMAGE_SIDE, MAX_LABEL_BYTES};

/// What goes into the file. N poses of K keypoints.
#[derive(Clone, Copy, Debug)]
pub struct WriteInput<'a> {
    /// `[N, K, 2]`.
    pub keypoints: &'a [f32],
    /// `[N, K]`.
    pub visibility: &'a [u8],
    /// `[N, 2]` width and height.
    pub image_size: &'a [i32],
    /// `[N]`, unique.
    pub ids: &'a [i64],
    /// `[N]`, written as `action`.
    pub labels: Option<&'a [String]>,
    /// K names.
    pub names: &'a [String],
    /// 0-based pairs.
    pub bones: &'a [(usize, usize)],
    /// Name of the one category.
    pub category: &'a str,
    /// Version of the program, for `info`.
    pub version: &'a str,
    pub description: &'a str,
}

impl WriteInput<'_> {
    /// Check sizes and values, so that whatever is written can be read back.
    fn validate(&self) -> Result<(), CocoError> {
        let (n, k) = (self.ids.len(), self.names.len());
        let sizes = [
            ("keypoints", self.keypoints.len(), n * k * 2),
            ("visibility", self.visibility.len(), n * k),
            ("image_size", self.image_size.len(), n * 2),
            ("labels", self.labels.map_or(n, <[String]>::len), n),
        ];
        for (field, got, expected) in sizes {
            if got != expected {
                return Err(CocoError::top(format!(
                    "{field} must hold {expected} values, got {got}"
                )));
            }
        }
        let mut ids = HashSet::with_capacity(n);
        for (record, &id) in self.ids.iter().enumerate() {
            let fail = |field: &str, message: String| {
                Err(CocoError::at(
                    Place::new(Section::Annotations, record, field),
                    message,
                ))
            };
            if !ids.insert(id) {
                return fail("ids", format!("must be unique in a COCO file, {id} came before"));
            }
            let points = self.keypoints[record * k * 2..(record + 1) * k * 2].chunks_exact(2);
            for (point, &v) in points.zip(&self.visibility[record * k..(record + 1) * k]) {
                if v > 2 {
                    return fail("visibility", format!("must be 0, 1 or 2, got {v}"));
                }
                if v > 0 && point.iter().any(|c| c.is_nan() || c.abs() > MAX_COORDINATE) {
                    let message =
                        format!("coordinates must lie within {MAX_COORDINATE} pixels, got {point:?}");
                    return fail("keypoints", message);
                }
            }
            let size = &self.image_size[record * 2..record * 2 + 2];
            if size
                .iter()
                .any(|&side| !(1..=MAX_IMAGE_SIDE).contains(&i64::from(side)))
            {
                return fail(
                    "image_size",
                    format!("must be 1 to {MAX_IMAGE_SIDE} pixels, got {size:?}"),
                );
            }
            if let Some(label) = self.labels.map(|labels| &labels[record]) {
                if label.len() > MAX_LABEL_BYTES {
                    return fail(
                        "labels",
                        format!("may have {MAX_LABEL_BYTES} bytes, got {}", label.len()),
                    );
                }
            }
        }
        Ok(())
    }
}

/// Write COCO keypoints JSON: one image and one annotation a pose, image id = annotation id.
///
/// Numbers have the fewest digits that give the same `f32` again.
///
/// # Errors
/// [`CocoError::Malformed`] before the first byte if [`super::read`] would not take the file back,
/// [`CocoError::Io`] if `out` fails.
pub fn write(input: &WriteInput<'_>, mut out: impl Write) -> Result<(), CocoError> {
    input.validate()?;
    head(input, &mut out)?;
    for (row, id) in input.ids.iter().enumerate() {
        let (width, height) = (input.image_size[2 * row], input.image_size[2 * row + 1]);
        let comma = if row == 0 { "" } else { "," };
        write!(
            out,
            r#"{comma}{{"id":{id},"file_name":"{id:012}.jpg","width":{width},"height":{height}}}"#
        )?;
    }
    write!(out, r#"],"annotations":["#)?;
    for row in 0..input.ids.len() {
        if row > 0 {
            out.write_all(b",")?;
        }
        annotation(input, row, &mut out)?;
    }
    out.write_all(b"]}\n")?;
    out.flush()?;
    Ok(())
}

fn head(input: &WriteInput<'_>, out: &mut impl Write) -> io::Result<()> {
    out.write_all(br#"{"info":{"description":"#)?;
    serde_json::to_writer(&mut *out, input.description)?;
    out.write_all(br#","version":"#)?;
    serde_json::to_writer(&mut *out, &format!("flexpose {}", input.version))?;
    out.write_all(br#"},"licenses":[],"categories":[{"id":1,"name":"#)?;
    serde_json::to_writer(&mut *out, input.category)?;
    out.write_all(br#","supercategory":"#)?;
    serde_json::to_writer(&mut *out, input.category)?;
    out.write_all(br#","keypoints":"#)?;
    serde_json::to_writer(&mut *out, input.names)?;
    let bones: Vec<[usize; 2]> = input.bones.iter().map(|&(a, b)| [a + 1, b + 1]).collect(); // COCO counts from 1
    out.write_all(br#","skeleton":"#)?;
    serde_json::to_writer(&mut *out, &bones)?;
    out.write_all(br#"}],"images":["#)
}

fn annotation(input: &WriteInput<'_>, row: usize, out: &mut impl Write) -> io::Result<()> {
    let k = input.names.len();
    let points = &input.keypoints[row * k * 2..(row + 1) * k * 2];
    let visibility = &input.visibility[row * k..(row + 1) * k];
    let id = input.ids[row];
    let labelled = visibility.iter().filter(|&&v| v > 0).count();
    write!(
        out,
        r#"{{"id":{id},"image_id":{id},"category_id":1,"iscrowd":0,"num_keypoints":{labelled},"keypoints":["#
    )?;
    let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
    for (index, (point, &v)) in points.chunks_exact(2).zip(visibility).enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        if v == 0 {
            out.write_all(b"0,0,0")?;
            continue;
        }
        for axis in 0..2 {
            low[axis] = low[axis].min(point[axis]);
            high[axis] = high[axis].max(point[axis]);
            number(point[axis], out)?;
        }
        write!(out, "{v}")?;
    }
    let bbox = if labelled == 0 {
        [0.0; 4]
    } else {
        [low[0], low[1], high[0] - low[0], high[1] - low[1]]
    };
    out.write_all(br#"],"bbox":["#)?;
    let [x, y, width, height] = bbox;
    write!(out, r#"{x},{y},{width},{height}],"area":{}"#, width * height)?;
    if let Some(labels) = input.labels {
        out.write_all(br#","action":"#)?;
        serde_json::to_writer(&mut *out, &labels[row])?;
    }
    out.write_all(b"}")
}

/// A coordinate and a comma; the sign of -0 is kept by writing it as a fraction.
fn number(value: f32, out: &mut impl Write) -> io::Result<()> {
    if value == 0.0 && value.is_sign_negative() {
        return out.write_all(b"-0.0,");
    }
    write!(out, "{value},")
}

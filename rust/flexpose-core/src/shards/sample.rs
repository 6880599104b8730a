//! What a pose becomes in each kind of data set.

use std::fs::File;
use std::path::Path;

use super::disk::Disk;
use super::error::{At, Malformed, ShardError, ShardResult};
use super::picture::Picture;
use super::plan::{Image, Kind, Plan};
use super::poses::Poses;
use super::tar;
use crate::png::{RowEncoder, Shape};
use crate::raster::{PoseBatch, Skeleton};

/// Stem of the names of a pose, from its row in the input.
pub(super) fn key(row: i64) -> String {
    format!("{row:08}")
}

/// Text that is the same for all poses of a data set.
#[derive(Debug, Clone)]
pub(super) struct Words {
    skeleton: String,
    labels: Option<Vec<String>>,
}

impl Words {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            skeleton: plan.skeleton_name.clone(),
            labels: plan.labels.clone(),
        }
    }
}

/// A thread's own tools.
#[derive(Debug)]
pub(super) struct Artist<'a> {
    size_px: usize,
    /// None where no pictures are stored.
    image: Option<Image>,
    picture: Picture<'a>,
    encoder: Option<RowEncoder>,
    pixels: Vec<f32>,
}

/// What some poses became: bytes to be appended to the file of their shard, or the names, lengths and hashes of their
/// own files.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) bytes: Vec<u8>,
    pub(super) files: Vec<(String, u64, blake3::Hash)>,
}

impl<'a> Artist<'a> {
    pub(super) fn new(plan: &Plan, skeleton: &'a Skeleton) -> ShardResult<Self> {
        let drawing = plan.drawing()?;
        let picture = drawing.painter(skeleton)?;
        if let Some(image) = plan.image {
            picture.check(drawing.size_px, image)?;
        }
        let encoder = match (plan.kind, plan.image) {
            (Kind::Webdataset | Kind::Png, Some(image)) => {
                let shape = Shape::new(image.height, image.width, image.channels)?;
                Some(RowEncoder::new(shape))
            }
            _ => None,
        };
        Ok(Self {
            size_px: drawing.size_px,
            image: plan.image,
            picture,
            encoder,
            pixels: Vec::new(),
        })
    }

    /// Draws `poses`; a PNG a pose goes to a file in `folder`, which must be there, or nowhere without it.
    pub(super) fn make(
        &mut self,
        kind: Kind,
        poses: &Poses<'_>,
        words: &Words,
        disk: &Disk,
        folder: Option<&Path>,
    ) -> ShardResult<Made> {
        let mut pixels = std::mem::take(&mut self.pixels);
        poses.pixels(self.size_px, &mut pixels);
        let made = self.make_from(&pixels, kind, poses, words, disk, folder);
        self.pixels = pixels;
        made
    }

    fn make_from(
        &mut self,
        pixels: &[f32],
        kind: Kind,
        poses: &Poses<'_>,
        words: &Words,
        disk: &Disk,
        folder: Option<&Path>,
    ) -> ShardResult<Made> {
        let batch = PoseBatch::new(pixels, Some(poses.visibility), poses.num_keypoints)?;
        let mut made = Made::default();
        for (pose, &row) in poses.index.iter().enumerate() {
            let key = key(row);
            match kind {
                Kind::Webdataset => {
                    tar::append(&mut made.bytes, &format!("{key}.json"), |out| {
                        self.describe(out, pixels, poses, pose, words)
                    })?;
                    tar::append(&mut made.bytes, &format!("{key}.png"), |out| {
                        self.png(out, &batch, pose)
                    })?;
                }
                Kind::Png => {
                    made.bytes.clear();
                    self.png(&mut made.bytes, &batch, pose)?;
                    let (name, bytes) = (format!("{key}.png"), &made.bytes);
                    if let Some(path) = folder.map(|folder| folder.join(&name)) {
                        let mut file = File::create(&path).at(&path)?;
                        disk.write(&mut file, bytes, &path, "write")?;
                        disk.sync(&file, &path, "png-fsync")?;
                    }
                    made.files.push((name, bytes.len() as u64, blake3::hash(bytes)));
                }
                Kind::Npy => self.raw(&mut made.bytes, &batch, pose)?,
                Kind::Keypoints => {}
            }
        }
        Ok(made)
    }

    fn png(&mut self, out: &mut Vec<u8>, batch: &PoseBatch<'_>, pose: usize) -> ShardResult<()> {
        let Some(encoder) = &mut self.encoder else {
            return Err(ShardError::Usage("this kind has no PNG".into()));
        };
        self.picture
            .paint(batch, pose, |band| Ok(encoder.push(band.pixels, band.spans)?))?;
        Ok(encoder.finish(out)?)
    }

    fn raw(&mut self, out: &mut Vec<u8>, batch: &PoseBatch<'_>, pose: usize) -> ShardResult<()> {
        let Some(image) = self.image else {
            return Err(ShardError::Usage("this kind has no pictures".into()));
        };
        let (start, row) = (out.len(), image.width * image.channels);
        out.resize(start + image.len(), 0);
        self.picture.paint(batch, pose, |band| {
            let first = start + band.first_row * row;
            out[first..first + band.pixels.len()].copy_from_slice(band.pixels);
            Ok(())
        })
    }

    /// The JSON beside a picture. Numbers are the shortest that give the same `f32`, so what is drawn from them is
    /// the same picture.
    fn describe(
        &self,
        out: &mut Vec<u8>,
        pixels: &[f32],
        poses: &Poses<'_>,
        pose: usize,
        words: &Words,
    ) -> ShardResult<()> {
        let k = poses.num_keypoints;
        let (joints, _) = pixels[pose * k * 2..(pose + 1) * k * 2].as_chunks::<2>();
        field(out, "{\"id\":", &poses.id[pose])?;
        field(out, ",\"keypoints\":", joints)?;
        if let Some(labels) = &words.labels {
            let label = usize::try_from(poses.label[pose])
                .ok()
                .and_then(|label| labels.get(label));
            field(out, ",\"label\":", label.map_or("", String::as_str))?;
        }
        field(out, ",\"size\":", &[self.size_px; 2])?;
        field(out, ",\"skeleton\":", &words.skeleton)?;
        field(
            out,
            ",\"visibility\":",
            &poses.visibility[pose * k..(pose + 1) * k],
        )?;
        out.push(b'}');
        Ok(())
    }
}

/// Appends a key, as it is, and a value.
fn field<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, key: &str, value: &T) -> ShardResult<()> {
    out.extend_from_slice(key.as_bytes());
    serde_json::to_writer(out, value)
        .map_err(|err| ShardError::Usage(format!("cannot be written as JSON: {err}")))
}

/// Checks the JSON beside a picture.
pub(super) fn check_description(text: &[u8], num_keypoints: usize) -> Result<(), Malformed> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)] // that they are there and of this type is what is checked
    struct Description {
        id: i64,
        keypoints: Vec<[f32; 2]>,
        #[serde(default)]
        label: String,
        size: [u32; 2],
        skeleton: String,
        visibility: Vec<u8>,
    }
    let about: Description =
        serde_json::from_slice(text).map_err(|err| Malformed::file(format!("JSON: {err}")))?;
    let joints = [about.keypoints.len(), about.visibility.len()];
    if joints != [num_keypoints; 2] {
        return Err(Malformed::file(format!(
            "JSON: must have {num_keypoints} joints, got {joints:?}"
        )));
    }
    Ok(())
}

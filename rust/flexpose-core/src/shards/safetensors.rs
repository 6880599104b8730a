//! Files with the poses of a shard, in the format of the `safetensors` library.
//!
//! Tensors `frame` f64 `[n, 3]`, `id` and `index` i64 `[n]`, `keypoints` f32 `[n, K, 2]`, `label` i32 `[n]` and
//! `visibility` u8 `[n, K]`, in this order and without gaps; metadata `format`, `labels` (a JSON list, or "null" where
//! poses have no classes) and `skeleton` (TOML).

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::error::{Malformed, ReadError};
use super::poses::{OwnedPoses, Poses};

/// Longest header that is read: a skeleton of 1,024 joints and some thousand class names fit.
const MAX_HEADER: u64 = 16 << 20;

/// What a file says about its poses besides the numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub skeleton: String,
    pub labels: Option<Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    format: String,
    labels: String,
    skeleton: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// In the order of the data; the fields of JSON come out in this order, too.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: Metadata,
    frame: Tensor,
    id: Tensor,
    index: Tensor,
    keypoints: Tensor,
    label: Tensor,
    visibility: Tensor,
}

impl Header {
    fn new(n: u64, k: u64, about: &About) -> Self {
        let mut end = 0;
        let mut tensor = |dtype: &str, width: u64, shape: &[u64]| {
            let start = end;
            end += width * shape.iter().product::<u64>();
            Tensor {
                dtype: dtype.into(),
                shape: shape.into(),
                data_offsets: [start, end],
            }
        };
        Self {
            metadata: Metadata {
                format: super::FORMAT.to_string(),
                labels: serde_json::json!(about.labels).to_string(),
                skeleton: about.skeleton.clone(),
            },
            frame: tensor("F64", 8, &[n, 3]),
            id: tensor("I64", 8, &[n]),
            index: tensor("I64", 8, &[n]),
            keypoints: tensor("F32", 4, &[n, k, 2]),
            label: tensor("I32", 4, &[n]),
            visibility: tensor("U8", 1, &[n, k]),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        // Text, numbers and lists only: nothing that JSON cannot hold.
        let text = serde_json::to_string(self).unwrap_or_default();
        let length = text.len().next_multiple_of(8);
        let mut bytes = (length as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes.resize(8 + length, b' ');
        bytes
    }
}

/// Bytes of the numbers of `n` poses with `k` joints.
#[must_use]
pub fn data_len(n: usize, k: usize) -> usize {
    n * (3 * 8 + 8 + 8 + k * 2 * 4 + 4 + k)
}

/// Writes the file in pieces of some ten kilobytes.
///
/// # Errors
/// Whatever `sink` returns.
pub fn write<E>(
    poses: &Poses<'_>,
    about: &About,
    mut sink: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    sink(&Header::new(poses.len() as u64, poses.num_keypoints as u64, about).bytes())?;
    in_pieces(poses.frame, f64::to_le_bytes, &mut sink)?;
    in_pieces(poses.id, i64::to_le_bytes, &mut sink)?;
    in_pieces(poses.index, i64::to_le_bytes, &mut sink)?;
    in_pieces(poses.keypoints, f32::to_le_bytes, &mut sink)?;
    in_pieces(poses.label, i32::to_le_bytes, &mut sink)?;
    poses.visibility.chunks(1 << 16).try_for_each(sink)
}

fn in_pieces<T: Copy, const N: usize, E>(
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
    sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut piece = Vec::with_capacity(1 << 16);
    for values in values.chunks((1 << 16) / N) {
        piece.clear();
        piece.extend(values.iter().flat_map(|&value| bytes(value)));
        sink(&piece)?;
    }
    Ok(())
}

/// Reads a file of `length` bytes, at most `max_bytes`.
///
/// # Errors
/// [`ReadError::Malformed`] for anything that [`write`] would not have written; no memory is taken before the sizes are
/// known to be true.
pub fn read(mut source: impl Read, length: u64, max_bytes: u64) -> Result<(OwnedPoses, About), ReadError> {
    let refuse = |message: String| ReadError::from(Malformed::file(message));
    if length > max_bytes {
        return Err(refuse(format!(
            "must not be larger than {max_bytes} bytes, got {length}"
        )));
    }
    let mut size = [0; 8];
    source
        .read_exact(&mut size)
        .map_err(|_| refuse("must begin with the length of its header".into()))?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER.min(length.saturating_sub(8)) {
        return Err(refuse(format!("the header claims {size} bytes of {length}")));
    }
    let mut text = vec![0; size as usize];
    source
        .read_exact(&mut text)
        .map_err(|_| refuse("ends inside its header".into()))?;
    let header: Header =
        serde_json::from_slice(&text).map_err(|err| Malformed::field("header", err.to_string()))?;
    let (n, k) = match header.keypoints.shape[..] {
        [n, k @ 1..=1024, 2] if n <= length => (n, k),
        _ => return Err(Malformed::field("keypoints", "must have the shape [n, K, 2]").into()),
    };
    let labels: Option<Vec<String>> = serde_json::from_str(&header.metadata.labels)
        .map_err(|err| Malformed::field("labels", format!("must be a JSON list of text: {err}")))?;
    let about = About {
        skeleton: header.metadata.skeleton.clone(),
        labels,
    };
    let expected = Header::new(n, k, &about).bytes();
    if expected.get(8..) != Some(&text[..]) || 8 + size + data_len(n as usize, k as usize) as u64 != length {
        let message = format!("must be that of {n} poses with {k} joints in a file of this length");
        return Err(Malformed::field("header", message).into());
    }
    let (n, k) = (n as usize, k as usize);
    let poses = OwnedPoses {
        num_keypoints: k,
        frame: numbers(&mut source, n * 3, f64::from_le_bytes)?,
        id: numbers(&mut source, n, i64::from_le_bytes)?,
        index: numbers(&mut source, n, i64::from_le_bytes)?,
        keypoints: numbers(&mut source, n * k * 2, f32::from_le_bytes)?,
        label: numbers(&mut source, n, i32::from_le_bytes)?,
        visibility: numbers(&mut source, n * k, |[byte]: [u8; 1]| byte)?,
    };
    check(&poses, &about)?;
    Ok((poses, about))
}

fn numbers<T, const N: usize>(
    source: &mut impl Read,
    count: usize,
    value: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, ReadError> {
    let mut values = Vec::with_capacity(count);
    let mut piece = vec![0; (1 << 16) / N * N];
    while values.len() < count {
        let part = (piece.len() / N).min(count - values.len()) * N;
        source.read_exact(&mut piece[..part])?;
        values.extend(piece[..part].chunks_exact(N).map(|bytes| {
            let mut copy = [0; N];
            copy.copy_from_slice(bytes);
            value(copy)
        }));
    }
    Ok(values)
}

fn check(poses: &OwnedPoses, about: &About) -> Result<(), Malformed> {
    let num_labels = about.labels.as_ref().map_or(0, Vec::len);
    poses
        .view(0)
        .check(num_labels)
        .map_err(|err| Malformed::file(err.to_string()))?;
    let all = [
        ("keypoints", poses.keypoints.iter().all(|x| x.is_finite())),
        ("frame", poses.frame.iter().all(|x| x.is_finite())),
        ("visibility", poses.visibility.iter().all(|&seen| seen <= 2)),
    ];
    match all.iter().find(|(_, fine)| !fine) {
        Some((name, _)) => Err(Malformed::field(
            *name,
            "must be finite, and visibility 0, 1 or 2",
        )),
        None => Ok(()),
    }
}

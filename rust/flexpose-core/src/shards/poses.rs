//! The poses of a data set in memory.

use super::error::{ShardError, ShardResult};

/// All poses that are drawn, or a stretch of them, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Poses<'a> {
    /// Number of the first one here among all that the plan has.
    pub first: usize,
    pub num_keypoints: usize,
    /// `[N, K, 2]`, in [-1, 1] inside the frame.
    pub keypoints: &'a [f32],
    /// `[N, K]`, 0 not labelled, 1 occluded, 2 visible.
    pub visibility: &'a [u8],
    /// `[N]`, row in the input, ascending.
    pub index: &'a [i64],
    /// `[N]`, the input's own name of the pose.
    pub id: &'a [i64],
    /// `[N, 3]`, centre x, centre y and half the side of the frame in the input's pixels.
    pub frame: &'a [f64],
    /// `[N]`, number of the class name, -1 for none.
    pub label: &'a [i32],
}

impl<'a> Poses<'a> {
    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// [`ShardError::Usage`] names the part that does not.
    pub fn check(&self, num_labels: usize) -> ShardResult<()> {
        let (n, k) = (self.index.len(), self.num_keypoints);
        let lengths = [
            ("keypoints", self.keypoints.len(), n * k * 2),
            ("visibility", self.visibility.len(), n * k),
            ("id", self.id.len(), n),
            ("frame", self.frame.len(), n * 3),
            ("label", self.label.len(), n),
        ];
        for (name, got, expected) in lengths {
            if got != expected {
                return Err(ShardError::Usage(format!(
                    "{name} must hold {expected} elements, got {got}"
                )));
            }
        }
        let rows_ascend = self.index.windows(2).all(|pair| pair[0] < pair[1]);
        if !rows_ascend || self.index.first().is_some_and(|&row| row < 0) {
            return Err(ShardError::Usage("index must ascend from 0 on".into()));
        }
        let known =
            |&label: &i32| label == -1 || usize::try_from(label).is_ok_and(|label| label < num_labels);
        if !self.label.iter().all(known) {
            return Err(ShardError::Usage(format!(
                "label must be -1 to {}",
                num_labels.wrapping_sub(1).cast_signed()
            )));
        }
        Ok(())
    }

    /// Number of poses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// BLAKE3 of all numbers.
    #[must_use]
    pub fn hash(&self) -> String {
        fn update<T: Copy, const N: usize>(
            hasher: &mut blake3::Hasher,
            values: &[T],
            bytes: fn(T) -> [u8; N],
        ) {
            let mut piece = Vec::with_capacity(N << 12);
            for values in values.chunks(1 << 12) {
                piece.clear();
                piece.extend(values.iter().flat_map(|&value| bytes(value)));
                hasher.update(&piece);
            }
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.num_keypoints as u64).to_le_bytes());
        update(&mut hasher, self.keypoints, f32::to_le_bytes);
        hasher.update(self.visibility);
        update(&mut hasher, self.index, i64::to_le_bytes);
        update(&mut hasher, self.id, i64::to_le_bytes);
        update(&mut hasher, self.frame, f64::to_le_bytes);
        update(&mut hasher, self.label, i32::to_le_bytes);
        hasher.finalize().to_hex().to_string()
    }

    /// The poses `range`, by their numbers in the plan.
    pub(super) fn slice(&self, range: std::ops::Range<usize>) -> Poses<'a> {
        let (k, start, end) = (
            self.num_keypoints,
            range.start - self.first,
            range.end - self.first,
        );
        Poses {
            first: range.start,
            num_keypoints: k,
            keypoints: &self.keypoints[start * k * 2..end * k * 2],
            visibility: &self.visibility[start * k..end * k],
            index: &self.index[start..end],
            id: &self.id[start..end],
            frame: &self.frame[start * 3..end * 3],
            label: &self.label[start..end],
        }
    }

    /// Fills `out` with the joints in the pixels of a picture of side `size_px`; 0 where they are not labelled.
    ///
    /// As `flexpose.raster.pixels_from_normalized` has it: in `f64`, rounded once.
    pub(super) fn pixels(&self, size_px: usize, out: &mut Vec<f32>) {
        let size = size_px as f64;
        out.clear();
        out.extend(self.keypoints.iter().zip(0..).map(|(&x, i): (_, usize)| {
            let labelled = self.visibility[i / 2] != 0;
            if labelled {
                ((f64::from(x) + 1.0) * 0.5 * size) as f32
            } else {
                0.0
            }
        }));
    }
}

/// Poses that own their memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OwnedPoses {
    pub num_keypoints: usize,
    pub keypoints: Vec<f32>,
    pub visibility: Vec<u8>,
    pub index: Vec<i64>,
    pub id: Vec<i64>,
    pub frame: Vec<f64>,
    pub label: Vec<i32>,
}

impl OwnedPoses {
    /// A view; `first` is the number of the first pose in the plan.
    #[must_use]
    pub fn view(&self, first: usize) -> Poses<'_> {
        Poses {
            first,
            num_keypoints: self.num_keypoints,
            keypoints: &self.keypoints,
            visibility: &self.visibility,
            index: &self.index,
            id: &self.id,
            frame: &self.frame,
            label: &self.label,
        }
    }
}

//! Skeleton rasteriser, PNG encoding and pose file readers of flexpose.
//!
//! Invariant: no Python in this crate, and no `unsafe`.

pub mod coco;
pub mod png;
pub mod raster;

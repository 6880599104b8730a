//! Skeleton rasteriser, PNG encoding and pose file readers of flexpose.
//!
//! Invariant: no Python in this crate, and no `unsafe`.

pub mod coco;
pub mod error;
pub mod png;
pub mod raster;
pub mod shards;
pub mod threads;

pub use error::{Error, Result};

//! Skeleton rasteriser, PNG encoding and pose file readers of flexpose.
//!
//! Invariants: no Python in this crate, and no `unsafe` outside of [`dispatch`].

pub mod coco;
pub mod convolution;
mod dispatch;
pub mod error;
pub mod filter;
pub mod png;
pub mod raster;
pub mod shards;
pub mod styles;
pub mod threads;

pub use dispatch::{Level, WideLevel};
pub use error::{Error, Result};

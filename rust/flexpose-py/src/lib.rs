//! `flexpose._rust`: converts, releases the GIL, calls `flexpose-core`, maps errors.

#![forbid(unsafe_code)]

use pyo3::prelude::*;

mod coco;
mod convert;
mod convolution;
mod errors;
mod filter;
mod png;
mod raster;
mod shards;
mod styles;

#[pymodule]
fn _rust(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    coco::register(module)?;
    convolution::register(module)?;
    filter::register(module)?;
    png::register(module)?;
    raster::register(module)?;
    shards::register(module)?;
    styles::register(module)?;
    Ok(())
}

//! Data sets of poses on disk: written in shards, the same bytes from any number of threads, nothing lost or doubled
//! when the process dies.
//!
//! ```text
//! OUT/plan.json           written first and never changed: settings, hashes of the inputs, which pose lies in which shard
//! OUT/journal*.jsonl      one line a finished shard, with the length and the hash of its files
//! OUT/index.json          written last: where it is, the data set is complete
//! OUT/shard-00000.tar, .npy or 00000/        pictures
//! OUT/shard-00000.safetensors                the poses of the shard, of every kind of data set
//! OUT/.lock               who writes now
//! ```
//!
//! A shard is written to `NAME.tmp-<pid>`, synced and renamed; then the folder is synced, and only then does the
//! journal get its line. What has a line is therefore whole, and what has none is written again.

mod check;
mod chunks;
mod disk;
mod error;
mod estimate;
mod index;
mod journal;
mod lock;
mod mend;
mod merge;
mod one_tar;
mod ordered;
mod picture;
mod plan;
mod poses;
mod publisher;
mod sample;
mod write;

pub mod npy;
pub mod png_check;
pub mod safetensors;
pub mod tar;

pub use check::{verify, Problem, Verification};
pub use disk::hash_file;
pub use error::{Malformed, ReadError, ShardError, ShardResult};
pub use estimate::{estimate, Estimate};
pub use index::{Index, IndexShard};
pub use journal::{Entry, FileEntry};
pub use mend::{drop_torn, sweep_and_index, Mended};
pub use merge::merge;
pub use one_tar::write_tar;
pub use picture::{Drawing, Style};
pub use plan::{Image, Input, Kind, Plan};
pub use poses::{OwnedPoses, Poses};
pub use write::{finish, write, Job, Report};

/// Number of the layout described above.
pub const FORMAT: u32 = 1;

//! The plan of a data set: everything that decides its bytes, written before the first of them.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::disk::{canonical, read_text, Disk};
use super::error::{At, Malformed, ShardError, ShardResult};
use super::picture::Drawing;
use super::FORMAT;

/// Name of the plan in the folder of its data set.
pub const PLAN: &str = "plan.json";
/// Name of the list of poses that were left out.
const BAD: &str = "bad.jsonl";

/// What a shard consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A tar file with a JSON and a PNG a pose.
    Webdataset,
    /// One array of all pictures.
    Npy,
    /// A folder with a PNG a pose.
    Png,
    /// The poses alone, to be drawn when they are loaded.
    Keypoints,
}

impl Kind {
    /// Name of the file or folder with the pictures of a shard; of the poses if there are no pictures.
    #[must_use]
    pub fn file(self, shard: usize) -> String {
        match self {
            Self::Webdataset => format!("shard-{shard:05}.tar"),
            Self::Npy => format!("shard-{shard:05}.npy"),
            Self::Png => format!("{shard:05}"),
            Self::Keypoints => poses_file(shard),
        }
    }

    /// Names of all that belongs to a shard; the pictures come first.
    #[must_use]
    pub fn files(self, shard: usize) -> Vec<String> {
        match self {
            Self::Keypoints => vec![poses_file(shard)],
            _ => vec![self.file(shard), poses_file(shard)],
        }
    }
}

/// Name of the file with the poses of a shard.
fn poses_file(shard: usize) -> String {
    format!("shard-{shard:05}.safetensors")
}

/// Number of the shard that a file of the data set belongs to.
pub(super) fn shard_of(name: &str) -> Option<usize> {
    let stem = name
        .strip_prefix("shard-")
        .map_or(name, |rest| rest.split('.').next().unwrap_or(rest));
    let digits = stem.len() >= 5 && stem.bytes().all(|byte| byte.is_ascii_digit());
    stem.parse().ok().filter(|_| digits)
}

/// Size of the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Image {
    /// Bytes of a picture.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether a picture has no pixels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where poses came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub name: String,
    pub bytes: u64,
    pub blake3: String,
    pub poses: u64,
}

/// See the fields; their order is that of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Poses left out because they cannot be drawn.
    pub bad: u64,
    /// Everything that was asked for, by the names of the options.
    pub config: Map<String, Value>,
    /// BLAKE3 of `config`, canonical.
    #[serde(default)]
    pub config_hash: String,
    /// BLAKE3 of the drawn poses themselves.
    pub content: String,
    /// Number of poses drawn.
    pub count: u64,
    pub format: u32,
    /// None where no pictures are stored.
    pub image: Option<Image>,
    pub inputs: Vec<Input>,
    pub kind: Kind,
    /// The class names that the labels count; None if the poses have none.
    pub labels: Option<Vec<String>>,
    /// First drawn pose and one past the last of each shard.
    pub shards: Vec<[u64; 2]>,
    /// The skeleton's definition, TOML.
    pub skeleton: String,
    /// Its name.
    pub skeleton_name: String,
    /// Version of the writer: another one may encode pictures into other bytes.
    pub writer: String,
}

impl Plan {
    /// Takes the JSON of all fields but `config_hash`, `format` and `writer`, which are filled in here.
    ///
    /// # Errors
    /// [`ShardError::Usage`] if a field is missing or wrong.
    pub fn new(text: &str) -> ShardResult<Self> {
        let wrong = |message: String| ShardError::Usage(format!("plan: {message}"));
        let mut fields: Map<String, Value> =
            serde_json::from_str(text).map_err(|err| wrong(err.to_string()))?;
        fields.insert("format".into(), FORMAT.into());
        fields.insert("writer".into(), env!("CARGO_PKG_VERSION").into());
        let mut plan: Self =
            serde_json::from_value(Value::Object(fields)).map_err(|err| wrong(err.to_string()))?;
        plan.config_hash = plan.hash_of_config();
        plan.check().map_err(|what| wrong(what.to_string()))?;
        Ok(plan)
    }

    /// Reads the plan of the data set in `folder`.
    ///
    /// # Errors
    /// [`ShardError::Usage`] if there is none, [`ShardError::Data`] if it is not valid.
    pub fn read(folder: &Path) -> ShardResult<Self> {
        let path = folder.join(PLAN);
        if !path.is_file() {
            let message = format!("{}: is no data set: there is no {PLAN} in it", folder.display());
            return Err(ShardError::Usage(message));
        }
        let text = read_text(&path)?;
        let plan: Self =
            serde_json::from_str(&text).map_err(|err| Malformed::file(err.to_string()).at(&path))?;
        plan.check().map_err(|what| what.at(&path))?;
        if plan.config_hash != plan.hash_of_config() {
            return Err(Malformed::field("config_hash", "does not fit the config").at(&path));
        }
        if plan.text() != text {
            return Err(Malformed::file("is not as it was written").at(&path));
        }
        Ok(plan)
    }

    /// The bytes of `plan.json`.
    #[must_use]
    pub fn text(&self) -> String {
        canonical(self)
    }

    /// BLAKE3 of `plan.json`.
    #[must_use]
    pub fn hash(&self) -> String {
        blake3::hash(self.text().as_bytes()).to_hex().to_string()
    }

    /// What the config says about the pen.
    ///
    /// # Errors
    /// [`ShardError::Usage`] for a style or a number that does not exist.
    pub fn drawing(&self) -> ShardResult<Drawing> {
        serde_json::from_value(Value::Object(self.config.clone()))
            .map_err(|err| ShardError::Usage(format!("config: {err}")))
    }

    /// Number of poses of a shard.
    #[must_use]
    pub fn shard_len(&self, shard: usize) -> usize {
        let [first, end] = self.shards[shard];
        (end - first) as usize
    }

    fn hash_of_config(&self) -> String {
        blake3::hash(canonical(&self.config).as_bytes())
            .to_hex()
            .to_string()
    }

    fn check(&self) -> Result<(), Malformed> {
        if self.format != FORMAT {
            let message = format!(
                "must be {FORMAT}, got {}: written by a newer flexpose?",
                self.format
            );
            return Err(Malformed::field("format", message));
        }
        let mut end = 0;
        for (shard, &[first, last]) in self.shards.iter().enumerate() {
            if first != end || last <= first {
                let message = format!("must go on at {end} and not be empty, got [{first}, {last}]");
                return Err(Malformed::field(format!("shards[{shard}]"), message));
            }
            end = last;
        }
        if end != self.count {
            let message = format!("must be the {end} poses of the shards, got {}", self.count);
            return Err(Malformed::field("count", message));
        }
        let pictures = self.kind != Kind::Keypoints;
        let fits = |image: &Image| matches!(image.channels, 1..=1024) && image.height == image.width;
        if self.image.is_some() != pictures || !self.image.iter().all(fits) {
            let message = format!(
                "must be a square for pictures and null without, got {:?}",
                self.image
            );
            return Err(Malformed::field("image", message));
        }
        Ok(())
    }

    /// Writes the plan down, or compares it with the one that is there; `bad` becomes `bad.jsonl`, a line a pose that
    /// was left out, unless it is empty.
    ///
    /// # Errors
    /// [`ShardError::Usage`] if the folder holds anything else, or a data set and neither `resume` nor `shared`;
    /// [`ShardError::Settings`] if it holds another data set; what the disk says.
    pub fn publish(&self, folder: &Path, bad: &str, resume: bool, shared: bool) -> ShardResult<()> {
        std::fs::create_dir_all(folder).at(folder)?;
        let (path, disk) = (folder.join(PLAN), Disk::new());
        if path.exists() {
            self.compare(folder, resume || shared)?;
        } else {
            refuse_strangers(folder)?;
            disk.publish(&path, self.text().as_bytes(), "plan")?;
        }
        let path = folder.join(BAD);
        if !bad.is_empty() && !path.exists() {
            disk.publish(&path, bad.as_bytes(), "bad")?;
        }
        Ok(())
    }

    fn compare(&self, folder: &Path, go_on: bool) -> ShardResult<()> {
        if !go_on {
            let message = format!(
                "{}: holds a data set already; go on with it by --resume, or name another folder",
                folder.display()
            );
            return Err(ShardError::Usage(message));
        }
        let differences = Self::read(folder)?.differences(self);
        if differences.is_empty() {
            return Ok(());
        }
        let message = format!(
            "{}: was begun with other settings or inputs: {}",
            folder.join(PLAN).display(),
            differences.join("; ")
        );
        Err(ShardError::Settings(message))
    }

    /// What this plan and `now` do not have in common, for people.
    #[must_use]
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let (before, now) = (self.comparable(), now.comparable());
        let mut found = Vec::new();
        let keys: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
        for key in keys {
            let (old, new) = (before.get(key), now.get(key));
            if old != new {
                let show = |value: Option<&Value>| value.map_or("nothing".to_owned(), brief);
                found.push(format!("{key}: {} then, {} now", show(old), show(new)));
            }
        }
        // The poses themselves differ only as a consequence, unless nothing else does.
        if found.len() > 1 {
            found.retain(|line| !line.starts_with("content:") && !line.starts_with("shards:"));
        }
        found
    }

    /// The fields on one level, so that a difference names the option.
    fn comparable(&self) -> Map<String, Value> {
        let mut flat = Map::new();
        if let Ok(Value::Object(fields)) = serde_json::to_value(self) {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("config_hash", _) => {}
                    ("config", Value::Object(config)) => {
                        flat.extend(
                            config
                                .into_iter()
                                .map(|(key, value)| (format!("config.{key}"), value)),
                        );
                    }
                    ("inputs", Value::Array(inputs)) => {
                        let numbered = inputs.into_iter().enumerate();
                        flat.extend(numbered.map(|(i, input)| (format!("inputs[{i}]"), input)));
                    }
                    (_, value) => {
                        flat.insert(key, value);
                    }
                }
            }
        }
        flat
    }
}

/// A value as one short text.
fn brief(value: &Value) -> String {
    const LONGEST: usize = 120;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// A folder without a plan may hold nothing but what a killed process left before it had one.
fn refuse_strangers(folder: &Path) -> ShardResult<()> {
    for entry in std::fs::read_dir(folder).at(folder)? {
        let name = entry.at(folder)?.file_name().to_string_lossy().into_owned();
        let ours = name.starts_with(".lock") || name.starts_with("plan.json.tmp-");
        if !ours {
            let message = format!(
                "{}: is not an empty folder ({name} is in it); name another one or empty it",
                folder.display()
            );
            return Err(ShardError::Usage(message));
        }
    }
    Ok(())
}

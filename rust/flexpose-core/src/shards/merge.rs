//! One data set from several finished ones.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use serde_json::Value;

use super::check::read_poses;
use super::disk::{hash_file, Disk, NewFile, Sealed, Temporary};
use super::error::{At, Malformed, ShardError, ShardResult};
use super::index::Index;
use super::journal::{self, Entries, Entry, FileEntry, Journal};
use super::lock::Lock;
use super::plan::{Kind, Plan};
use super::poses::OwnedPoses;
use super::publisher::hash_member;
use super::safetensors::{self, About};
use super::sample::key;
use super::tar::{self, Limits, TarReader};
use super::write::{publish_index, sweep, Report};

/// Settings that do not show in the samples.
const SILENT: [&str; 2] = ["shard_size", "max_bad_fraction"];

/// A finished data set and where its rows begin among those of all.
struct Source<'a> {
    folder: &'a Path,
    plan: Plan,
    entries: Entries,
    first_row: i64,
}

/// Copies the shards of `sources` into a new data set in `folder`, as if it had been written from all their inputs, one
/// after the other: rows count on, and class names are united. A merge that was interrupted goes on.
///
/// # Errors
/// [`ShardError::Settings`] if the sources differ in more than their inputs, [`ShardError::Usage`] if one is not
/// finished or `folder` holds something else, and all that [`super::write`] may return.
pub fn merge(sources: &[&Path], folder: &Path, tick: &mut dyn FnMut(u64) -> bool) -> ShardResult<Report> {
    let sources = open(sources)?;
    let plan = united(&sources)?;
    plan.publish(folder, "", true, false)?;
    let (disk, all) = (Disk::new(), 0..plan.shards.len());
    let _lock = Lock::take(folder, &all, plan.shards.len())?;
    sweep(folder, &plan, &all)?;
    let finished = journal::read_all(folder, &plan)?;
    let mut journal = Journal::open(&disk, folder, &journal::name(&all, plan.shards.len()), &plan, &[])?;
    let mut report = Report::default();
    let origins = sources
        .iter()
        .flat_map(|source| source.entries.values().map(move |entry| (source, entry)));
    for (shard, (source, entry)) in origins.enumerate() {
        if !tick(plan.shards[shard][0]) {
            return Err(ShardError::Stopped);
        }
        if let Some(entry) = finished.get(&shard) {
            report.kept += 1;
            report.bytes += entry.files.iter().map(|file| file.bytes).sum::<u64>();
            continue;
        }
        let files = copy(source, entry, &plan, folder, shard, &disk)?;
        disk.sync_folder(folder, "shard-folder")?;
        let (ok, bad) = (entry.ok, entry.bad);
        report.written += 1;
        report.bytes += files.iter().map(|file| file.bytes).sum::<u64>();
        journal.append(&Entry {
            shard,
            files,
            ok,
            bad,
        })?;
    }
    report.complete = publish_index(&disk, folder, &plan)?.is_empty();
    Ok(report)
}

fn open<'a>(folders: &[&'a Path]) -> ShardResult<Vec<Source<'a>>> {
    let (mut sources, mut first_row) = (Vec::new(), 0);
    for &folder in folders {
        let plan = Plan::read(folder)?;
        let entries = Index::read(folder, &plan)?.entries(&plan);
        let rows: u64 = plan.inputs.iter().map(|input| input.poses).sum();
        sources.push(Source {
            folder,
            plan,
            entries,
            first_row,
        });
        first_row = first_row.saturating_add_unsigned(rows);
    }
    Ok(sources)
}

/// The plan of the whole.
fn united(sources: &[Source<'_>]) -> ShardResult<Plan> {
    let Some(first) = sources.first() else {
        return Err(ShardError::Usage(
            "there must be a data set to merge, got none".into(),
        ));
    };
    let mut plan = first.plan.clone();
    (plan.bad, plan.count) = (0, 0);
    (plan.inputs, plan.shards) = (Vec::new(), Vec::new());
    let (mut content, mut labels) = (blake3::Hasher::new(), std::collections::BTreeSet::new());
    let mut labelled = false;
    for source in sources {
        let differences = settings(&first.plan).differences(&settings(&source.plan));
        if !differences.is_empty() {
            let (a, b) = (first.folder.display(), source.folder.display());
            let message = format!("{a} and {b} have other settings: {}", differences.join("; "));
            return Err(ShardError::Settings(
                message
                    .replace(" then, ", " in the one, ")
                    .replace(" now", " in the other"),
            ));
        }
        for entry in source.entries.values() {
            plan.shards.push([plan.count, plan.count + entry.ok]);
            plan.count += entry.ok;
        }
        plan.bad += source.plan.bad;
        plan.inputs.extend_from_slice(&source.plan.inputs);
        content.update(source.plan.content.as_bytes());
        labelled |= source.plan.labels.is_some();
        labels.extend(source.plan.labels.iter().flatten().cloned());
    }
    plan.content = content.finalize().to_hex().to_string();
    plan.labels = labelled.then(|| labels.into_iter().collect());
    Ok(plan)
}

/// A plan with all that may differ made equal.
fn settings(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    for name in SILENT {
        plan.config.insert(name.into(), Value::Null);
    }
    Plan {
        bad: 0,
        count: 0,
        content: String::new(),
        inputs: Vec::new(),
        labels: None,
        shards: Vec::new(),
        writer: String::new(),
        ..plan
    }
}

/// Copies one shard under its new number, rows and labels.
fn copy(
    source: &Source<'_>,
    entry: &Entry,
    plan: &Plan,
    folder: &Path,
    shard: usize,
    disk: &Disk,
) -> ShardResult<Vec<FileEntry>> {
    let mut poses = read_poses(source.folder, &source.plan, entry)?;
    let old_keys: Vec<_> = poses.index.iter().map(|&row| key(row)).collect();
    for row in &mut poses.index {
        *row = row.saturating_add(source.first_row);
    }
    relabel(&mut poses, source, plan);
    let new_keys: Vec<_> = poses.index.iter().map(|&row| key(row)).collect();
    let keys = old_keys.iter().zip(&new_keys);
    let (from, name) = (source.folder.join(&entry.files[0].file), plan.kind.file(shard));
    let mut sealed = match plan.kind {
        Kind::Keypoints => Vec::new(),
        Kind::Npy => vec![copy_file(&from, folder, &name, disk)?],
        Kind::Png => vec![copy_folder(&from, folder, &name, keys, disk)?],
        Kind::Webdataset => vec![copy_tar(&from, folder, &name, keys, disk)?],
    };
    let mut file = NewFile::create(disk, folder, &Kind::Keypoints.file(shard))?;
    let about = About {
        skeleton: plan.skeleton.clone(),
        labels: plan.labels.clone(),
    };
    safetensors::write(&poses.view(0), &about, |piece| file.write(piece))?;
    sealed.push(file.seal("poses-fsync")?);
    sealed
        .into_iter()
        .map(|sealed| sealed.publish(disk, "shard-rename"))
        .collect()
}

fn relabel(poses: &mut OwnedPoses, source: &Source<'_>, plan: &Plan) {
    let new = |name: &String| {
        plan.labels
            .as_ref()
            .and_then(|all| all.iter().position(|label| label == name))
    };
    let table: Vec<Option<usize>> = source.plan.labels.iter().flatten().map(new).collect();
    for label in &mut poses.label {
        let known = usize::try_from(*label).ok().and_then(|label| *table.get(label)?);
        *label = known.map_or(-1, |label| i32::try_from(label).unwrap_or(-1));
    }
}

fn copy_file(from: &Path, folder: &Path, name: &str, disk: &Disk) -> ShardResult<Sealed> {
    let (mut source, mut file) = (File::open(from).at(from)?, NewFile::create(disk, folder, name)?);
    let mut piece = vec![0; 1 << 18];
    loop {
        let read = source.read(&mut piece).at(from)?;
        if read == 0 {
            return file.seal("shard-fsync");
        }
        file.write(&piece[..read])?;
    }
}

fn copy_folder<'k>(
    from: &Path,
    folder: &Path,
    name: &str,
    keys: impl Iterator<Item = (&'k String, &'k String)>,
    disk: &Disk,
) -> ShardResult<Sealed> {
    let temporary = Temporary::new(folder, name);
    fs::create_dir_all(&temporary.path).at(&temporary.path)?;
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    for (old, new) in keys {
        let (old, new) = (from.join(format!("{old}.png")), format!("{new}.png"));
        let to = temporary.path.join(&new);
        fs::copy(&old, &to).at(&to)?;
        disk.sync(&File::open(&to).at(&to)?, &to, "png-fsync")?;
        let (length, hash) = hash_file(&to)?;
        if let Ok(hash) = blake3::Hash::from_hex(&hash) {
            hash_member(&mut hasher, &new, length, &hash);
        }
        bytes += length;
    }
    disk.sync_folder(&temporary.path, "shard-fsync")?;
    Ok(Sealed {
        path: folder.join(name),
        temporary,
        entry: FileEntry {
            file: name.to_owned(),
            bytes,
            blake3: hasher.finalize().to_hex().to_string(),
        },
    })
}

fn copy_tar<'k>(
    from: &Path,
    folder: &Path,
    name: &str,
    keys: impl Iterator<Item = (&'k String, &'k String)>,
    disk: &Disk,
) -> ShardResult<Sealed> {
    let source = BufReader::new(File::open(from).at(from)?);
    let mut reader = TarReader::new(source, Limits::default()).map_err(|error| error.at(from))?;
    let mut file = NewFile::create(disk, folder, name)?;
    let (mut data, mut member) = (Vec::new(), Vec::new());
    for (old, new) in keys {
        for ending in ["json", "png"] {
            let found = reader
                .next_entry(Some(&mut data))
                .map_err(|error| error.at(from))?;
            if found.is_none_or(|found| found.name != format!("{old}.{ending}")) {
                return Err(Malformed::file(format!("must have {old}.{ending} next")).at(from));
            }
            member.clear();
            tar::append(&mut member, &format!("{new}.{ending}"), |out| {
                out.extend_from_slice(&data);
                Ok::<_, ShardError>(())
            })?;
            file.write(&member)?;
        }
    }
    file.write(&tar::END)?;
    file.seal("shard-fsync")
}

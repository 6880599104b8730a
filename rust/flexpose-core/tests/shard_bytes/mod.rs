//! What must hold for any bytes that are taken for a shard; called by the tests and by the fuzz target.

use std::io::Cursor;

use flexpose_core::shards::safetensors;
use flexpose_core::shards::tar::{self, Limits, TarReader};
use flexpose_core::shards::{png_check, Plan};

/// The first byte says what the rest is taken for.
pub fn check(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 4 {
        0 => check_tar(bytes),
        1 => check_safetensors(bytes),
        2 => check_png(bytes),
        _ => check_plan(bytes),
    }
}

/// What is accepted lies inside the archive, has harmless names, and makes the same archive again.
pub fn check_tar(bytes: &[u8]) {
    let limits = Limits {
        max_entry: 1 << 16,
        max_entries: 64,
    };
    let Ok(entries) = tar::list(Cursor::new(bytes), limits) else {
        return;
    };
    let mut reader = TarReader::new(Cursor::new(bytes), limits).expect("it was read before");
    let (mut again, mut data) = (Vec::new(), Vec::new());
    for entry in &entries {
        let read = reader.next_entry(Some(&mut data)).expect("it was read before");
        assert_eq!(read.as_ref(), Some(entry));
        let start = usize::try_from(entry.offset).expect("inside");
        assert_eq!(data, bytes[start..start + data.len()]);
        assert_eq!(data.len() as u64, entry.size);
        assert!(data.len() <= 1 << 16);
        assert!(!entry.name.starts_with('/') && !entry.name.split('/').any(|part| part == ".."));
        tar::append(&mut again, &entry.name, |out| {
            out.extend_from_slice(&data);
            Ok::<_, ()>(())
        })
        .expect("nothing fails");
    }
    assert!(entries.len() <= 64);
    again.extend_from_slice(&tar::END);
    assert!(again.len() <= bytes.len());
    assert_eq!(tar::list(Cursor::new(&again), limits).expect("its own"), entries);
}

/// What is accepted is what the writer makes of it.
pub fn check_safetensors(bytes: &[u8]) {
    let Ok((poses, about)) = safetensors::read(bytes, bytes.len() as u64, 1 << 20) else {
        return;
    };
    let mut again = Vec::new();
    safetensors::write(&poses.view(0), &about, |piece| {
        again.extend_from_slice(piece);
        Ok::<_, ()>(())
    })
    .expect("nothing fails");
    assert_eq!(again, bytes);
}

/// No panic, and no picture without its frame of chunks.
pub fn check_png(bytes: &[u8]) {
    if png_check::check(bytes, 8, 8, 3).is_ok() {
        assert!(bytes.len() >= 8 + 25 + 13 + 12);
    }
}

/// A plan that is accepted says itself again.
pub fn check_plan(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(plan) = Plan::new(text) {
        assert_eq!(
            Plan::new(&plan.text()).map(|again| again.text()).ok(),
            Some(plan.text())
        );
    }
}

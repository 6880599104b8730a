//! Plain USTAR: a writer without times and owners, and a reader that refuses everything else.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::error::{Malformed, ReadError};

/// Unit of the format.
const BLOCK: usize = 512;
const ZEROS: [u8; BLOCK] = [0; BLOCK];
/// Names that fit without a prefix.
const MAX_NAME: usize = 100;
/// Two empty blocks end an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Appends one regular file; `write` appends its content.
///
/// # Errors
/// Whatever `write` returns.
pub fn append<E>(
    out: &mut Vec<u8>,
    name: &str,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.extend_from_slice(&ZEROS);
    write(out)?;
    let size = out.len() - start - BLOCK;
    out.resize(start + BLOCK + size.next_multiple_of(BLOCK), 0);
    fill_header(&mut out[start..start + BLOCK], name, size);
    Ok(())
}

/// Bytes of a file with this content in an archive.
#[must_use]
pub fn entry_len(size: usize) -> usize {
    BLOCK + size.next_multiple_of(BLOCK)
}

fn fill_header(header: &mut [u8], name: &str, size: usize) {
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[108..115].copy_from_slice(b"0000000"); // user
    header[116..123].copy_from_slice(b"0000000"); // group
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[136..147].copy_from_slice(b"00000000000"); // time
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum = checksum(header);
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Sum of all bytes, with the sum's own field as blanks.
fn checksum(header: &[u8]) -> u32 {
    let all: u32 = header.iter().copied().map(u32::from).sum();
    let own: u32 = header[148..156].iter().copied().map(u32::from).sum();
    all - own + 8 * u32::from(b' ')
}

/// What a reader puts up with.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one file.
    pub max_entry: u64,
    /// Number of files.
    pub max_entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_entry: 256 << 20,
            max_entries: 1 << 18,
        }
    }
}

/// One regular file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    pub name: String,
    /// Where its content begins in the archive.
    pub offset: u64,
    pub size: u64,
}

/// Reads an archive file by file; nothing is ever written to disk.
///
/// Only what [`append`] writes is understood: regular files with plain relative names. Links, devices, folders,
/// extended headers, and sizes beyond the archive or the limits are errors, before any memory is taken for them.
#[derive(Debug)]
pub struct TarReader<R> {
    source: R,
    length: u64,
    position: u64,
    limits: Limits,
    count: u64,
}

impl<R: Read + Seek> TarReader<R> {
    /// Starts at the beginning of `source`.
    ///
    /// # Errors
    /// [`ReadError::Io`] if its length cannot be found.
    pub fn new(mut source: R, limits: Limits) -> Result<Self, ReadError> {
        let length = source.seek(SeekFrom::End(0))?;
        source.rewind()?;
        Ok(Self {
            source,
            length,
            position: 0,
            limits,
            count: 0,
        })
    }

    /// The next file, with its content in `data` if that is wanted; None at the end of the archive.
    ///
    /// # Errors
    /// [`ReadError::Malformed`] for everything that is not as described above.
    pub fn next_entry(&mut self, data: Option<&mut Vec<u8>>) -> Result<Option<TarEntry>, ReadError> {
        let mut header = [0; BLOCK];
        self.read_block(&mut header)?;
        if header == ZEROS {
            self.end()?;
            return Ok(None);
        }
        let (name, size) = parse_header(&header)?;
        self.count += 1;
        if self.count > self.limits.max_entries {
            let message = format!("must not hold more than {} files", self.limits.max_entries);
            return Err(Malformed::file(message).into());
        }
        if size > self.limits.max_entry {
            let message = format!(
                "must not be larger than {} bytes, got {size}",
                self.limits.max_entry
            );
            return Err(Malformed::field(name, message).into());
        }
        let offset = self.position;
        let end = offset + size.next_multiple_of(BLOCK as u64);
        if end > self.length {
            let message = format!(
                "must end inside the archive of {} bytes, got {size} bytes",
                self.length
            );
            return Err(Malformed::field(name, message).into());
        }
        if let Some(data) = data {
            data.clear();
            (&mut self.source).take(size).read_to_end(data)?;
        }
        self.source.seek(SeekFrom::Start(end))?;
        self.position = end;
        Ok(Some(TarEntry { name, offset, size }))
    }

    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<(), ReadError> {
        self.source
            .read_exact(block)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => {
                    let message = format!("must end with two empty blocks, ends at {} bytes", self.length);
                    ReadError::from(Malformed::file(message))
                }
                _ => error.into(),
            })?;
        self.position += BLOCK as u64;
        Ok(())
    }

    /// After the first empty block: another, and nothing but zeros after it.
    fn end(&mut self) -> Result<(), ReadError> {
        let mut block = [0; BLOCK];
        self.read_block(&mut block)?;
        while block == ZEROS {
            let left = self.length - self.position;
            if left == 0 {
                return Ok(());
            }
            block = ZEROS;
            let part = left.min(BLOCK as u64) as usize;
            self.source.read_exact(&mut block[..part])?;
            self.position += part as u64;
        }
        Err(Malformed::file(format!(
            "must hold nothing after its end, at byte {}",
            self.position
        ))
        .into())
    }
}

fn parse_header(header: &[u8; BLOCK]) -> Result<(String, u64), Malformed> {
    let wrong = |message: &str| Malformed::file(format!("tar header: {message}"));
    if u64::from(checksum(header))
        != octal(&header[148..156]).ok_or_else(|| wrong("checksum is no number"))?
    {
        return Err(wrong("checksum does not fit"));
    }
    if &header[257..265] != b"ustar\x0000" {
        return Err(wrong("must be plain USTAR"));
    }
    if header[345..500] != [0; 155] {
        return Err(wrong("must have no name prefix"));
    }
    let end = header[..MAX_NAME]
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(MAX_NAME);
    let name = safe_name(&header[..end]).ok_or_else(|| {
        let name = String::from_utf8_lossy(&header[..end]);
        wrong(&format!("name must be a plain relative path, got {name:?}"))
    })?;
    if header[156] != b'0' {
        let kind = char::from(header[156]);
        return Err(Malformed::field(
            name,
            format!("must be a regular file, got type {kind:?}"),
        ));
    }
    let size = octal(&header[124..136]);
    let size = size.ok_or_else(|| Malformed::field(&name, "size must be an octal number"))?;
    Ok((name, size))
}

/// Digits, then blanks or zeros to the end of the field.
fn octal(field: &[u8]) -> Option<u64> {
    let end = field
        .iter()
        .position(|byte| !(b'0'..=b'7').contains(byte))
        .unwrap_or(field.len());
    let tail = field[end..].iter().all(|&byte| byte == 0 || byte == b' ');
    if end == 0 || !tail {
        return None;
    }
    field[..end].iter().try_fold(0_u64, |value, &digit| {
        value.checked_mul(8)?.checked_add(u64::from(digit - b'0'))
    })
}

/// A name that cannot lead out of a folder: letters, digits, `_`, `.`, `/` and `-`, relative, no empty, `.` or `..` part.
fn safe_name(bytes: &[u8]) -> Option<String> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./-".contains(byte);
    if !bytes.iter().all(plain) {
        return None;
    }
    let name = std::str::from_utf8(bytes).ok()?;
    let parts = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    parts.then(|| name.to_owned())
}

/// All files of an archive, without their content.
///
/// # Errors
/// See [`TarReader`].
pub fn list<R: Read + Seek>(source: R, limits: Limits) -> Result<Vec<TarEntry>, ReadError> {
    let mut reader = TarReader::new(source, limits)?;
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry(None)? {
        entries.push(entry);
    }
    Ok(entries)
}

//! Bits into bytes, lowest first.
#![allow(clippy::inline_always)] // the state of the writer stays in registers: 10 % of all time

/// Bytes that grow bit by bit.
#[derive(Debug, Clone, Default)]
pub struct BitWriter {
    /// The written bytes, and behind them room that keeps its size.
    bytes: Vec<u8>,
    len: usize,
    /// Bits that make no whole byte yet, and how many: fewer than 8.
    buffer: u64,
    pending: u32,
}

impl BitWriter {
    pub fn clear(&mut self) {
        (self.len, self.buffer, self.pending) = (0, 0, 0);
    }

    /// The whole bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Fills the last byte up with 0.
    pub fn align(&mut self) {
        let mut room = self.room_for(0);
        room.put(0, (8 - room.pending) % 8);
        room.close();
    }

    /// Appends bytes; the last one before must be whole.
    pub fn extend(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.pending, 0);
        self.bytes.truncate(self.len);
        self.bytes.extend_from_slice(bytes);
        self.len = self.bytes.len();
    }

    /// Opens the writer for at most `bits` more.
    #[inline(always)]
    pub fn room_for(&mut self, bits: usize) -> Room<'_> {
        // A flush writes a whole register.
        let needed = self.len + bits / 8 + 16;
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        Room {
            at: self.len,
            buffer: self.buffer,
            pending: self.pending,
            bytes: &mut self.bytes,
            closed: (&mut self.len, &mut self.buffer, &mut self.pending),
        }
    }
}

/// A [`BitWriter`] with room set aside and its state at hand, so that writing costs little. To be closed.
#[derive(Debug)]
pub struct Room<'a> {
    bytes: &'a mut [u8],
    at: usize,
    buffer: u64,
    pending: u32,
    closed: (&'a mut usize, &'a mut u64, &'a mut u32),
}

impl Room<'_> {
    /// Appends `number` bits, the others being 0; at most 56 between two flushes.
    #[inline(always)]
    pub fn put(&mut self, bits: u64, number: u32) {
        self.buffer |= bits << self.pending;
        self.pending += number;
    }

    /// Moves the whole bytes out.
    #[inline(always)]
    pub fn flush(&mut self) {
        let free = self.bytes.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut);
        debug_assert!(free.is_some(), "more bits than there is room for");
        if let Some(free) = free {
            *free = self.buffer.to_le_bytes();
        }
        self.at += (self.pending / 8) as usize;
        self.buffer >>= self.pending & !7;
        self.pending %= 8;
    }

    /// Hands the state back to the writer.
    #[inline(always)]
    pub fn close(mut self) {
        self.flush();
        let (len, buffer, pending) = self.closed;
        (*len, *buffer, *pending) = (self.at, self.buffer, self.pending);
    }
}

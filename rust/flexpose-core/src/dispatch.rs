//! Vector instructions chosen at run time: the only module with `unsafe`.
//!
//! Kernels are generic over [`Simd`] and written once. [`run`] compiles them for each [`Level`] and calls the copy
//! for the level that is asked for. Every operation here is exact or correctly rounded and nothing is fused, so
//! that all levels give the same bytes; [`Portable`] is what each of them means.
//!
//! The `unsafe` is of three kinds: calls into a function compiled for a level (sound because [`Level`] cannot be
//! made without asking the CPU), instructions of a level behind its token (sound because only those calls make the
//! token), and loads and stores through pointers taken from references to arrays.
#![allow(unsafe_code)]
#![allow(clippy::inline_always)] // or a kernel is not compiled for its level

use crate::error::{Error, Result};

mod wide;

pub use wide::{run_wide, Wide, WideLevel, WideTask, WIDE};

/// Pixels that are computed together.
pub const LANES: usize = 8;
/// Bytes that are composited together; room for [`LANES`] pixels of up to four channels.
pub const BLOCK: usize = 32;
/// Coverage 1, in the unit in which [`Simd::composite`] takes it.
pub const FULL: f32 = 32768.0;

/// Vector instructions that this CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// All that this CPU has, from the one that every CPU has to the fastest.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self(Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                levels.push(Self(Kind::Avx2));
            }
            if is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && levels.len() == 2
            {
                levels.push(Self(Kind::Avx512));
            }
        }
        levels
    }

    /// The fastest.
    #[must_use]
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self(Kind::Portable))
    }

    /// `portable`, `avx2` or `avx512`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        }
    }

    /// The level of this name.
    ///
    /// # Errors
    /// [`Error::Level`] if there is none, or this CPU does not have it.
    pub fn named(name: &str) -> Result<Self> {
        let level = Self::available().into_iter().find(|level| level.name() == name);
        level.ok_or_else(|| Error::Level { got: name.to_owned() })
    }
}

/// Something to be compiled for every level. `run` and all it calls must be `#[inline(always)]`, or it is compiled
/// for the portable level only.
pub trait Task {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs `task` with the instructions of `level`.
pub fn run<T: Task>(level: Level, task: T) -> T::Output {
    match level.0 {
        Kind::Portable => task.run(Portable),
        // SAFETY: a `Level` is made by `Level::available` alone, which asked this CPU.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => unsafe { x86::with_avx2(task) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => unsafe { x86::with_avx512(task) },
    }
}

/// Numbers without padding for which any bits will do.
pub trait Plain: Copy + sealed::Plain {}
impl<T: Copy + sealed::Plain> Plain for T {}

mod sealed {
    /// Implemented for such numbers alone, for [`super::Simd::stream`] relies on it.
    pub trait Plain {}
    impl Plain for u8 {}
    impl Plain for u16 {}
    impl Plain for f32 {}
}

/// Eight `f32` at a time, and the compositing of a block.
pub trait Simd: Copy {
    type Floats: Copy;
    /// A colour in the form in which it is mixed.
    type Color: Copy;

    fn splat(self, value: f32) -> Self::Floats;
    fn load(self, values: &[f32; LANES]) -> Self::Floats;
    fn store(self, values: &mut [f32; LANES], a: Self::Floats);
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The smaller one; there are no NaN.
    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The larger one; there are no NaN.
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn abs(self, a: Self::Floats) -> Self::Floats;
    fn sqrt(self, a: Self::Floats) -> Self::Floats;

    /// The channels of a colour, as often as a block has room for them.
    fn color(self, channels: &[u8; BLOCK]) -> Self::Color;

    /// Lays `color` over the first `LANES * C` bytes of `below`, pixels of `C` channels; the rest stays.
    ///
    /// A byte `c` becomes `c + round((color - c) * q / 32768)`, halves upwards, where `q` is the coverage of its
    /// pixel, rounded to an integer (halves to even) and clamped to 0..=32767. `coverage` is below 2^30.
    fn composite<const C: usize>(self, below: &mut [u8; BLOCK], color: Self::Color, coverage: Self::Floats);

    /// Copies `from` to `to`, which has its length, past the caches where that is possible. Before another thread
    /// reads it, [`Simd::fence`] must be called.
    fn stream<T: Plain>(self, to: &mut [T], from: &[T]);
    fn fence(self);
}

/// What every CPU has; the definition of what the others do.
#[derive(Clone, Copy)]
pub struct Portable;

#[inline(always)]
fn map(a: [f32; LANES], f: impl Fn(f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| f(a[i]))
}

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    type Floats = [f32; LANES];
    type Color = [u8; BLOCK];

    #[inline(always)]
    fn color(self, channels: &[u8; BLOCK]) -> Self::Color {
        *channels
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Floats {
        [value; LANES]
    }
    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> Self::Floats {
        *values
    }
    #[inline(always)]
    fn store(self, values: &mut [f32; LANES], a: Self::Floats) {
        *values = a;
    }
    #[inline(always)]
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn abs(self, a: Self::Floats) -> Self::Floats {
        map(a, f32::abs)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::Floats) -> Self::Floats {
        map(a, f32::sqrt)
    }

    #[inline(always)]
    fn composite<const C: usize>(self, below: &mut [u8; BLOCK], color: Self::Color, coverage: Self::Floats) {
        /// Adding 2^23 leaves the nearest integer in the low bits; a cast would not round.
        const TO_BITS: f32 = 8_388_608.0;
        let clamped = self.min(self.max(coverage, [0.0; LANES]), [FULL - 1.0; LANES]);
        let whole = clamped.map(|coverage| (coverage + TO_BITS).to_bits() as i16);
        for (i, below) in below[..LANES * C].iter_mut().enumerate() {
            let difference = i16::from(color[i]) - i16::from(*below);
            let product = i32::from(difference) * i32::from(whole[i / C]);
            *below = (i32::from(*below) + ((product + (1 << 14)) >> 15)) as u8;
        }
    }

    #[inline(always)]
    fn stream<T: Plain>(self, to: &mut [T], from: &[T]) {
        to.copy_from_slice(from);
    }
    #[inline(always)]
    fn fence(self) {}
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::{Plain, Simd, Task, BLOCK, LANES};

    /// Runs `task` with AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) fn with_avx2<T: Task>(task: T) -> T::Output {
        task.run(Avx2(()))
    }

    /// Runs `task` with AVX-512.
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
    pub(super) fn with_avx512<T: Task>(task: T) -> T::Output {
        task.run(Avx512(Avx2(())))
    }

    /// Proof that AVX2 may be used: made by `with_avx2` and `with_avx512` alone.
    #[derive(Clone, Copy)]
    pub struct Avx2(());

    /// Proof that AVX-512 F, BW and VL may be used: made by `with_avx512` alone.
    #[derive(Clone, Copy)]
    pub struct Avx512(Avx2);

    /// A line of the caches. One that is written past them in parts, or in part, costs many times as much.
    #[repr(C, align(64))]
    struct Line([__m256i; 2]);

    /// For each byte of a block in the order in which `unpacklo` or `unpackhi` widen it, where the coverage of its
    /// pixel lies among eight `i16`; bytes without a pixel take zero.
    const fn spread<const C: usize>(high: bool) -> [u8; BLOCK] {
        let mut places = [0x80; BLOCK];
        let mut i = 0;
        while i < BLOCK / 2 {
            let byte = i % 8 + i / 8 * 16 + if high { 8 } else { 0 };
            if byte < LANES * C {
                places[2 * i] = (byte / C * 2) as u8;
                places[2 * i + 1] = (byte / C * 2 + 1) as u8;
            }
            i += 1;
        }
        places
    }

    #[allow(clippy::unused_self)] // the token is the proof
    impl Avx2 {
        /// Lays 16-bit colours over what is below.
        #[inline(always)]
        fn over(self, below: __m256i, color: __m256i, whole: __m256i) -> __m256i {
            // SAFETY: the token.
            unsafe { _mm256_add_epi16(below, _mm256_mulhrs_epi16(_mm256_sub_epi16(color, below), whole)) }
        }

        #[inline(always)]
        fn bytes(self, bytes: &[u8; BLOCK]) -> __m256i {
            // SAFETY: the token; the array has the 32 bytes that are read.
            unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
        }
    }

    impl Simd for Avx2 {
        type Floats = __m256;
        /// Widened to 16 bits, as `unpacklo` and `unpackhi` do.
        type Color = [__m256i; 2];

        #[inline(always)]
        fn color(self, channels: &[u8; BLOCK]) -> Self::Color {
            let bytes = self.bytes(channels);
            // SAFETY: the token.
            unsafe {
                let zero = _mm256_setzero_si256();
                [
                    _mm256_unpacklo_epi8(bytes, zero),
                    _mm256_unpackhi_epi8(bytes, zero),
                ]
            }
        }

        #[inline(always)]
        fn splat(self, value: f32) -> __m256 {
            // SAFETY: the token.
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        fn load(self, values: &[f32; LANES]) -> __m256 {
            // SAFETY: the token; the array has the eight values that are read.
            unsafe { _mm256_loadu_ps(values.as_ptr()) }
        }
        #[inline(always)]
        fn store(self, values: &mut [f32; LANES], a: __m256) {
            // SAFETY: the token; the array has room for eight values.
            unsafe { _mm256_storeu_ps(values.as_mut_ptr(), a) };
        }
        #[inline(always)]
        fn add(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: the token.
            unsafe { _mm256_add_ps(a, b) }
        }
        #[inline(always)]
        fn sub(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: the token.
            unsafe { _mm256_sub_ps(a, b) }
        }
        #[inline(always)]
        fn mul(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: the token.
            unsafe { _mm256_mul_ps(a, b) }
        }
        #[inline(always)]
        fn min(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: the token.
            unsafe { _mm256_min_ps(a, b) }
        }
        #[inline(always)]
        fn max(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: the token.
            unsafe { _mm256_max_ps(a, b) }
        }
        #[inline(always)]
        fn abs(self, a: __m256) -> __m256 {
            // SAFETY: the token.
            unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
        }
        #[inline(always)]
        fn sqrt(self, a: __m256) -> __m256 {
            // SAFETY: the token.
            unsafe { _mm256_sqrt_ps(a) }
        }

        #[inline(always)]
        fn composite<const C: usize>(self, below: &mut [u8; BLOCK], color: Self::Color, coverage: __m256) {
            let bytes = self.bytes(below);
            let (low, high) = (
                self.bytes(&const { spread::<C>(false) }),
                self.bytes(&const { spread::<C>(true) }),
            );
            // SAFETY: the token.
            let mixed = unsafe {
                let whole = _mm256_cvtps_epi32(coverage);
                let whole = _mm256_packs_epi32(whole, whole);
                let whole = _mm256_permute4x64_epi64::<0b10_00_10_00>(whole); // all eight in both halves
                let whole = _mm256_max_epi16(whole, _mm256_setzero_si256());
                let zero = _mm256_setzero_si256();
                _mm256_packus_epi16(
                    self.over(
                        _mm256_unpacklo_epi8(bytes, zero),
                        color[0],
                        _mm256_shuffle_epi8(whole, low),
                    ),
                    self.over(
                        _mm256_unpackhi_epi8(bytes, zero),
                        color[1],
                        _mm256_shuffle_epi8(whole, high),
                    ),
                )
            };
            // SAFETY: the token; the array has room for the 32 bytes.
            unsafe { _mm256_storeu_si256(below.as_mut_ptr().cast(), mixed) };
        }

        #[inline(always)]
        fn stream<T: Plain>(self, to: &mut [T], from: &[T]) {
            // SAFETY: numbers without padding may be written as vectors of bits, and any bits are such a number.
            let (head, lines, tail) = unsafe { to.align_to_mut::<Line>() };
            let numbers = size_of::<Line>() / size_of::<T>();
            let (from_head, from) = from.split_at(head.len());
            let (from, from_tail) = from.split_at(lines.len() * numbers);
            head.copy_from_slice(from_head);
            tail.copy_from_slice(from_tail);
            for (Line(to), from) in lines.iter_mut().zip(from.chunks_exact(numbers)) {
                let from: *const __m256i = from.as_ptr().cast();
                // SAFETY: the token; `from` has the 64 bytes that are read, `to` is two places for a vector.
                unsafe {
                    _mm256_stream_si256(&raw mut to[0], _mm256_loadu_si256(from));
                    _mm256_stream_si256(&raw mut to[1], _mm256_loadu_si256(from.add(1)));
                }
            }
        }

        #[inline(always)]
        fn fence(self) {
            // SAFETY: every x86-64 CPU has it. It orders non-temporal stores before all that follow.
            unsafe { _mm_sfence() };
        }
    }

    impl Simd for Avx512 {
        type Floats = __m256;
        type Color = [__m256i; 2];

        #[inline(always)]
        fn color(self, channels: &[u8; BLOCK]) -> Self::Color {
            self.0.color(channels)
        }
        #[inline(always)]
        fn splat(self, value: f32) -> __m256 {
            self.0.splat(value)
        }
        #[inline(always)]
        fn load(self, values: &[f32; LANES]) -> __m256 {
            self.0.load(values)
        }
        #[inline(always)]
        fn store(self, values: &mut [f32; LANES], a: __m256) {
            self.0.store(values, a);
        }
        #[inline(always)]
        fn add(self, a: __m256, b: __m256) -> __m256 {
            self.0.add(a, b)
        }
        #[inline(always)]
        fn sub(self, a: __m256, b: __m256) -> __m256 {
            self.0.sub(a, b)
        }
        #[inline(always)]
        fn mul(self, a: __m256, b: __m256) -> __m256 {
            self.0.mul(a, b)
        }
        #[inline(always)]
        fn min(self, a: __m256, b: __m256) -> __m256 {
            self.0.min(a, b)
        }
        #[inline(always)]
        fn max(self, a: __m256, b: __m256) -> __m256 {
            self.0.max(a, b)
        }
        #[inline(always)]
        fn abs(self, a: __m256) -> __m256 {
            self.0.abs(a)
        }
        #[inline(always)]
        fn sqrt(self, a: __m256) -> __m256 {
            self.0.sqrt(a)
        }
        #[inline(always)]
        fn composite<const C: usize>(self, below: &mut [u8; BLOCK], color: Self::Color, coverage: __m256) {
            self.0.composite::<C>(below, color, coverage);
        }
        #[inline(always)]
        fn stream<T: Plain>(self, to: &mut [T], from: &[T]) {
            self.0.stream(to, from);
        }
        #[inline(always)]
        fn fence(self) {
            self.0.fence();
        }
    }
}

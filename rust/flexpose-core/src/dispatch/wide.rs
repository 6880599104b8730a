//! Sixteen `f32` at a time, fused multiply-add and products of bfloat16 pairs: what convolutions are made of.
//!
//! Unlike the rasteriser's instructions these round as they like: a fused product rounds once, and the levels differ in
//! the last bits.

/// Numbers that are computed together.
pub const WIDE: usize = 16;

/// Wide vector instructions that this CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WideLevel(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
}

impl WideLevel {
    /// All that this CPU has, from the one that every CPU has to the fastest.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self(Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
        {
            levels.push(Self(Kind::Avx512));
            if is_x86_feature_detected!("avx512bf16") {
                levels.push(Self(Kind::Avx512Bf16));
            }
        }
        levels
    }

    /// `portable`, `avx512` or `avx512_bf16`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => "avx512_bf16",
        }
    }
}

/// Something to be compiled for every level. `run` and all it calls must be `#[inline(always)]`.
pub trait WideTask {
    fn run<W: Wide>(self, wide: W);
}

/// Runs `task` with the instructions of `level`.
pub fn run_wide<T: WideTask>(level: WideLevel, task: T) {
    match level.0 {
        Kind::Portable => task.run(WidePortable),
        // SAFETY: a `WideLevel` is made by `WideLevel::available` alone, which asked this CPU.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => unsafe { x86::with_avx512(task) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Bf16 => unsafe { x86::with_avx512_bf16(task) },
    }
}

/// Sixteen numbers.
pub trait Wide: Copy {
    type Floats: Copy;
    /// Sixteen pairs of bfloat16 numbers, the first of each in the low half.
    type Pairs: Copy;

    fn splat(self, value: f32) -> Self::Floats;
    fn load(self, values: &[f32; WIDE]) -> Self::Floats;
    fn store(self, values: &mut [f32; WIDE], a: Self::Floats);
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// a b + c
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// Widens bfloat16 numbers.
    fn widen(self, values: &[u16; WIDE]) -> Self::Floats;
    /// The nearest bfloat16 numbers, halves to even.
    fn round(self, values: &mut [u16; WIDE], a: Self::Floats);
    /// The same, two numbers a word.
    fn round_pairs(self, words: &mut [u32; WIDE / 2], a: Self::Floats);

    /// The same of two vectors, a number of each a word.
    fn round_both(self, words: &mut [u32; WIDE], low: Self::Floats, high: Self::Floats);

    fn pair(self, word: u32) -> Self::Pairs;
    fn load_pairs(self, words: &[u32; WIDE]) -> Self::Pairs;
    /// c plus the products of both halves of each pair.
    fn dot(self, a: Self::Pairs, b: Self::Pairs, c: Self::Floats) -> Self::Floats;
}

/// What every CPU has; the definition of what the others do.
#[derive(Clone, Copy)]
pub struct WidePortable;

#[inline(always)]
fn zip(a: [f32; WIDE], b: [f32; WIDE], f: impl Fn(f32, f32) -> f32) -> [f32; WIDE] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// The nearest bfloat16 number, halves to even; a NaN stays one.
#[inline(always)]
fn rounded(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) as u16
}

#[inline(always)]
fn halves(word: u32) -> (f32, f32) {
    (f32::from_bits(word << 16), f32::from_bits(word & 0xFFFF_0000))
}

impl Wide for WidePortable {
    type Floats = [f32; WIDE];
    type Pairs = [u32; WIDE];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Floats {
        [value; WIDE]
    }
    #[inline(always)]
    fn load(self, values: &[f32; WIDE]) -> Self::Floats {
        *values
    }
    #[inline(always)]
    fn store(self, values: &mut [f32; WIDE], a: Self::Floats) {
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
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        self.add(self.mul(a, b), c)
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
    fn widen(self, values: &[u16; WIDE]) -> Self::Floats {
        values.map(|value| f32::from_bits(u32::from(value) << 16))
    }
    #[inline(always)]
    fn round(self, values: &mut [u16; WIDE], a: Self::Floats) {
        *values = a.map(rounded);
    }
    #[inline(always)]
    fn round_pairs(self, words: &mut [u32; WIDE / 2], a: Self::Floats) {
        *words =
            std::array::from_fn(|i| u32::from(rounded(a[2 * i])) | (u32::from(rounded(a[2 * i + 1])) << 16));
    }
    #[inline(always)]
    fn round_both(self, words: &mut [u32; WIDE], low: Self::Floats, high: Self::Floats) {
        *words = std::array::from_fn(|i| u32::from(rounded(low[i])) | (u32::from(rounded(high[i])) << 16));
    }
    #[inline(always)]
    fn pair(self, word: u32) -> Self::Pairs {
        [word; WIDE]
    }
    #[inline(always)]
    fn load_pairs(self, words: &[u32; WIDE]) -> Self::Pairs {
        *words
    }
    #[inline(always)]
    fn dot(self, a: Self::Pairs, b: Self::Pairs, c: Self::Floats) -> Self::Floats {
        std::array::from_fn(|i| {
            let ((a0, a1), (b0, b1)) = (halves(a[i]), halves(b[i]));
            c[i] + a0 * b0 + a1 * b1
        })
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::{Wide, WideTask, WIDE};

    /// Runs `task` with AVX-512.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,fma")]
    pub(super) fn with_avx512<T: WideTask>(task: T) {
        task.run(Avx512::<false>(()));
    }

    /// Runs `task` with AVX-512 and its bfloat16 instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,fma")]
    pub(super) fn with_avx512_bf16<T: WideTask>(task: T) {
        task.run(Avx512::<true>(()));
    }

    /// Proof that AVX-512 F, BW and VL may be used, and BF16 if so named: made by the functions above alone.
    #[derive(Clone, Copy)]
    pub struct Avx512<const BF16: bool>(());

    impl<const BF16: bool> Avx512<BF16> {
        #[allow(clippy::unused_self)] // the token is the proof
        #[inline(always)]
        fn rounded(self, a: __m512) -> __m256i {
            // SAFETY: the token; a vector of sixteen halves is a vector of 256 bits.
            unsafe {
                if BF16 {
                    return std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(a));
                }
                let bits = _mm512_castps_si512(a);
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                let up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
                let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
                let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a);
                _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_mask_mov_epi32(up, nan, quiet)))
            }
        }
    }

    impl<const BF16: bool> Wide for Avx512<BF16> {
        type Floats = __m512;
        type Pairs = __m512i;

        #[inline(always)]
        fn splat(self, value: f32) -> __m512 {
            // SAFETY: the token, here and below.
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        fn load(self, values: &[f32; WIDE]) -> __m512 {
            // SAFETY: the array has the sixteen values that are read.
            unsafe { _mm512_loadu_ps(values.as_ptr()) }
        }
        #[inline(always)]
        fn store(self, values: &mut [f32; WIDE], a: __m512) {
            // SAFETY: the array has room for sixteen values.
            unsafe { _mm512_storeu_ps(values.as_mut_ptr(), a) };
        }
        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: the token.
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: the token.
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: the token.
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: the token.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        fn min(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: the token.
            unsafe { _mm512_min_ps(a, b) }
        }
        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: the token.
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        fn widen(self, values: &[u16; WIDE]) -> __m512 {
            // SAFETY: the token; the array has the 32 bytes that are read.
            unsafe {
                let halves = _mm256_loadu_si256(values.as_ptr().cast());
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
            }
        }
        #[inline(always)]
        fn round(self, values: &mut [u16; WIDE], a: __m512) {
            // SAFETY: the token; the array has room for 32 bytes.
            unsafe { _mm256_storeu_si256(values.as_mut_ptr().cast(), self.rounded(a)) };
        }
        #[inline(always)]
        fn round_pairs(self, words: &mut [u32; WIDE / 2], a: __m512) {
            // SAFETY: the token; the array has room for 32 bytes.
            unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), self.rounded(a)) };
        }
        #[inline(always)]
        fn round_both(self, words: &mut [u32; WIDE], low: __m512, high: __m512) {
            // SAFETY: the token; the array has room for 64 bytes.
            unsafe {
                let low = _mm512_cvtepu16_epi32(self.rounded(low));
                let high = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(self.rounded(high)));
                _mm512_storeu_si512(words.as_mut_ptr().cast(), _mm512_or_si512(low, high));
            }
        }
        #[inline(always)]
        fn pair(self, word: u32) -> __m512i {
            // SAFETY: the token.
            unsafe { _mm512_set1_epi32(word.cast_signed()) }
        }
        #[inline(always)]
        fn load_pairs(self, words: &[u32; WIDE]) -> __m512i {
            // SAFETY: the token; the array has the 64 bytes that are read.
            unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
        }
        #[inline(always)]
        fn dot(self, a: __m512i, b: __m512i, c: __m512) -> __m512 {
            // SAFETY: the token; vectors of 512 bits stand for each other.
            unsafe {
                if BF16 {
                    return _mm512_dpbf16_ps(
                        c,
                        std::mem::transmute::<__m512i, __m512bh>(a),
                        std::mem::transmute::<__m512i, __m512bh>(b),
                    );
                }
                let high = _mm512_set1_epi32(0xFFFF_0000_u32.cast_signed());
                let low = _mm512_fmadd_ps(
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(a)),
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(b)),
                    c,
                );
                _mm512_fmadd_ps(
                    _mm512_castsi512_ps(_mm512_and_si512(a, high)),
                    _mm512_castsi512_ps(_mm512_and_si512(b, high)),
                    low,
                )
            }
        }
    }
}

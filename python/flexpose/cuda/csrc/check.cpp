// The checks of the C face: what is wrong with the arguments, in words.
#include <cmath>
#include <cstdint>
#include <initializer_list>

#include "flexpose_cuda.h"

namespace {

constexpr std::int64_t kMostPixels = 0x7fffffff;  // of one picture batch: pixels are counted in 32 bits
constexpr std::int64_t kMostSide = 1 << 20;

bool aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

bool is_dtype(std::int32_t dtype) { return dtype >= FLEXPOSE_FLOAT32 && dtype <= FLEXPOSE_BFLOAT16; }

// Sizes of a picture batch: products are taken of factors that are known to be small.
bool sizes_fit(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
  if (n < 0 || c < 1 || h < 1 || w < 1) return false;
  if (n > kMostPixels || c > kMostSide || h > kMostSide || w > kMostSide) return false;
  return n == 0 || (h * w <= kMostPixels && n <= kMostPixels / (h * w));
}

const char* epilogue_check(const flexpose_epilogue& epilogue) {
  if (!std::isfinite(epilogue.gain)) return "gain must be finite";
  if (!(epilogue.clamp >= 0)) return "clamp must not be negative";
  for (const std::int64_t stride : epilogue.noise_stride)
    if (stride < 0) return "noise strides must not be negative";
  return nullptr;
}

// Pointers that are needed wherever there is a sample.
const char* pointers_check(std::int64_t n, std::initializer_list<const void*> needed) {
  for (const void* const pointer : needed) {
    if (n > 0 && pointer == nullptr) return "a pointer that is needed is null";
    if (!aligned(pointer)) return "pointers must be aligned to 16 bytes";
  }
  return nullptr;
}

const char* first(std::initializer_list<const char*> found) {
  for (const char* const message : found)
    if (message != nullptr) return message;
  return nullptr;
}

const char* modconv_sizes_check(const flexpose_modconv& a) {
  if (!is_dtype(a.dtype)) return "dtype must be float32, float64, float16 or bfloat16";
  if (a.up != 1 && a.up != 2) return "up must be 1 or 2";
  if (a.kernel != 1 && a.kernel != 3) return "kernel must be 1 or 3";
  if (!sizes_fit(a.n, a.in_c, a.in_h, a.in_w) || !sizes_fit(a.n, a.out_c, a.in_h * a.up + 1, a.in_w * a.up + 1))
    return "sizes must be positive, and a batch must have less than 2^31 pixels";
  return epilogue_check(a.epilogue);
}

}  // namespace

const char* flexpose_pack_check(const flexpose_pack* a) {
  if (!is_dtype(a->dtype)) return "dtype must be float32, float64, float16 or bfloat16";
  const bool narrow = a->dtype == FLEXPOSE_FLOAT16 || a->dtype == FLEXPOSE_BFLOAT16;
  if (a->weight_dtype != a->dtype && !(narrow && a->weight_dtype == FLEXPOSE_FLOAT32))
    return "the weight must be of the pictures' type, or float32 beside 16-bit pictures";
  if (a->kernel != 1 && a->kernel != 3) return "kernel must be 1 or 3";
  if (a->out_c < 1 || a->in_c < 1 || a->out_c > kMostSide || a->in_c > kMostSide) return "channels must be positive";
  return pointers_check(1, {a->weight});
}

const char* flexpose_modconv_check(const flexpose_modconv* a) {
  const bool wants_factors = a->demodulate != 0;
  return first({modconv_sizes_check(*a), pointers_check(a->n, {a->x, a->packed, a->styles, a->y}),
                wants_factors ? pointers_check(a->n, {a->energy, a->factors}) : nullptr,
                a->tau != nullptr ? pointers_check(a->n, {a->tau, a->modulated}) : nullptr});
}

const char* flexpose_modconv_backward_check(const flexpose_modconv_backward* a) {
  const flexpose_modconv& f = a->forward;
  if (a->grad_x == nullptr && a->grad_modulated == nullptr && f.n > 0) return "no gradient is asked for";
  return first({modconv_sizes_check(f), pointers_check(f.n, {f.styles, f.y, a->grad_y, a->transposed}),
                f.demodulate != 0 ? pointers_check(f.n, {f.energy, f.factors}) : nullptr,
                f.tau != nullptr ? pointers_check(f.n, {f.modulated}) : nullptr,
                a->grad_modulated != nullptr ? pointers_check(f.n, {f.x}) : nullptr,
                pointers_check(0, {a->grad_x, a->grad_modulated})});
}

const char* flexpose_filter_check(const flexpose_filter* a) {
  if (!is_dtype(a->dtype)) return "dtype must be float32, float64, float16 or bfloat16";
  if (a->taps != 4 && a->taps != 1) return "taps must be 4 or 1";
  if ((a->up != 1 && a->up != 2) || (a->down != 1 && a->down != 2)) return "up and down must be 1 or 2";
  if (a->before < -kMostSide || a->before > kMostSide) return "padding is too large";
  if (!sizes_fit(a->n, a->c, a->in_h, a->in_w) || !sizes_fit(a->n, a->c, a->out_h, a->out_w))
    return "sizes must be positive, and a batch must have less than 2^31 pixels";
  if (!std::isfinite(a->gain)) return "gain must be finite";
  return first({epilogue_check(a->epilogue), pointers_check(a->n, {a->x, a->y})});
}

const char* flexpose_activation_gradient_check(const flexpose_activation_gradient* a) {
  if (!is_dtype(a->dtype)) return "dtype must be float32, float64, float16 or bfloat16";
  if (!sizes_fit(a->n, a->c, a->h, a->w))
    return "sizes must be positive, and a batch must have less than 2^31 pixels";
  return first({epilogue_check(a->epilogue), pointers_check(a->n, {a->y, a->grad_y, a->grad})});
}

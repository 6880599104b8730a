// The C face: from arguments to kernels.
#include <limits>

#include "conv_mma.cuh"
#include "conv_plain.cuh"
#include "filter.cuh"
#include "launch.h"
#include "plan.h"
#include "reduce.cuh"
#include "styles.cuh"

namespace flexpose {
namespace {

// Hands out pieces of a workspace; over a null pointer it only counts.
class Workspace {
 public:
  explicit Workspace(void* start) : start_(static_cast<unsigned char*>(start)) {}

  template <class T>
  T* take(std::int64_t count) {
    unsigned char* const piece = start_ == nullptr ? nullptr : start_ + used_;
    used_ += static_cast<std::size_t>(round_up(count * static_cast<std::int64_t>(sizeof(T)), 256));
    return reinterpret_cast<T*>(piece);
  }

  std::size_t used() const { return used_; }

 private:
  unsigned char* start_;
  std::size_t used_ = 0;
};

template <class A>
Epilogue<A> nothing_after() {
  return Epilogue<A>{nullptr, {nullptr, 0, 0, 0}, nullptr, false, A(1), std::numeric_limits<A>::infinity()};
}

template <class T>
Epilogue<Accumulator<T>> epilogue_of(const flexpose_epilogue& e, const Accumulator<T>* scale) {
  using A = Accumulator<T>;
  const Noise<A> noise{static_cast<const A*>(e.noise), e.noise_stride[0], e.noise_stride[1], e.noise_stride[2]};
  // A result at the limit is rounded to T: the limit is too, so that the gradient knows it again.
  const A clamp = widen(Narrow<T>::from(static_cast<A>(e.clamp)));
  return Epilogue<A>{scale, noise, static_cast<const A*>(e.bias), e.leaky != 0, static_cast<A>(e.gain), clamp};
}

template <class Kernel, class T>
int convolve_with(const ConvShape& shape, std::int64_t tiles, std::int64_t shared_bytes, ConvParams<T> params,
                  void* stream) {
  params.shape = shape;
  return launch<Kernel>(params, tiles * ceil_div(shape.out_c, Kernel::kChannels), shared_bytes, stream);
}

template <class T>
int convolve(ConvShape shape, const ConvParams<T>& params, void* stream) {
  Card card{};
  if (const int error = current_card(card)) return error;
  std::int64_t shared_bytes;
  if constexpr (sizeof(T) == 2) {
    if (shape.in_c % 8 == 0) {
      if (shape.out_c > 64) {
        const std::int64_t tiles = cut<ConvMma<T, 128>>(shape, card.shared_limit, shared_bytes);
        // Wide blocks read less, but a card that they do not fill is better off with twice as many narrow ones.
        if (tiles * ceil_div(shape.out_c, 128) >= card.processors)
          return convolve_with<ConvMma<T, 128>>(shape, tiles, shared_bytes, params, stream);
      }
      const std::int64_t tiles = cut<ConvMma<T, 64>>(shape, card.shared_limit, shared_bytes);
      if (tiles > 0) return convolve_with<ConvMma<T, 64>>(shape, tiles, shared_bytes, params, stream);
    }
  }
  const std::int64_t tiles = cut<ConvPlain<T>>(shape, card.shared_limit, shared_bytes);
  return convolve_with<ConvPlain<T>>(shape, tiles, shared_bytes, params, stream);
}

template <class T>
int filter(const FilterParams<T>& params, void* stream) {
  constexpr int kWide = kVector<T>;
  if (params.c % kWide == 0) return launch<Filter<T, kWide>>(params, Filter<T, kWide>::blocks(params), 0, stream);
  return launch<Filter<T, 1>>(params, Filter<T, 1>::blocks(params), 0, stream);
}

template <class T, template <class> class Step>
int reduce(const ReduceParams<T>& params, void* stream) {
  using Wide = Reduce<T, kVector<T>, Step>;
  using Narrow = Reduce<T, 1, Step>;
  if (params.c % kVector<T> == 0) return launch<Wide>(params, Wide::blocks(params), Wide::shared_bytes(), stream);
  return launch<Narrow>(params, Narrow::blocks(params), Narrow::shared_bytes(), stream);
}

template <class A>
int multiply(const StyleParams<A>& params, void* stream) {
  return launch<Styles<A>>(params, Styles<A>::blocks(params), Styles<A>::shared_bytes(), stream);
}

// The types and sizes of one call of the modulated convolution.
template <class T>
class Modconv {
 public:
  using A = Accumulator<T>;

  explicit Modconv(const flexpose_modconv& args)
      : args_(args),
        n_(static_cast<int>(args.n)),
        in_c_(static_cast<int>(args.in_c)),
        in_h_(static_cast<int>(args.in_h)),
        in_w_(static_cast<int>(args.in_w)),
        out_c_(static_cast<int>(args.out_c)),
        kernel_(static_cast<int>(args.kernel)),
        y_(up_sizes(in_h_, kernel_)),
        x_(up_sizes(in_w_, kernel_)) {}

  int forward(Workspace& workspace, void* stream) const {
    T* const spread = args_.up == 2 ? workspace.take<T>(spread_size()) : nullptr;
    if (const int error = prepare_styles(stream)) return error;
    const Epilogue<A> after = epilogue_of<T>(args_.epilogue, factors());
    ConvParams<T> conv{};
    conv.x = as<T>(args_.x);
    conv.weight = as<T>(args_.packed);
    conv.in_scale = modulated();
    if (args_.up == 1) {
      conv.y = static_cast<T*>(args_.y);
      conv.epilogue = after;
      return convolve(correlation(n_, in_c_, in_h_, in_w_, out_c_, in_h_, in_w_, kernel_, 1, 1), conv, stream);
    }
    conv.y = spread;
    conv.epilogue = nothing_after<A>();
    const ConvShape shape = kernel_ == 1 ? correlation(n_, in_c_, in_h_, in_w_, out_c_, in_h_, in_w_, 1, 1, 1)
                                         : transposed(n_, in_c_, in_h_, in_w_, out_c_);
    if (const int error = convolve(shape, conv, stream)) return error;
    // Zeros between the pixels of a kernel of 1 are the filter's business.
    const FilterParams<T> smooth{n_,        out_c_, y_.spread, x_.spread, 2 * in_h_, 2 * in_w_, kernel_ == 1 ? 2 : 1, 1,
                                 y_.before, 4,      A(4),      spread,    static_cast<T*>(args_.y), after};
    return filter(smooth, stream);
  }

  int backward(const flexpose_modconv_backward& args, Workspace& workspace, bool dry, void* stream) const {
    const int out_h = in_h_ * args_.up, out_w = in_w_ * args_.up;
    using Wide = Reduce<T, kVector<T>, ActivationGradient>;
    const int parts = Wide::parts_for(n_, out_h, out_w, out_c_), direct_parts = Wide::parts_for(n_, in_h_, in_w_, in_c_);
    const bool styles = args.grad_modulated != nullptr;
    T* const grad = workspace.take<T>(std::int64_t{n_} * out_h * out_w * out_c_);
    T* const spread = args_.up == 2 ? workspace.take<T>(spread_size()) : nullptr;
    T* const grad_x = args.grad_x == nullptr ? workspace.take<T>(std::int64_t{n_} * in_h_ * in_w_ * in_c_)
                                             : static_cast<T*>(args.grad_x);
    A* const sums = styles && args_.demodulate != 0 ? workspace.take<A>(std::int64_t{n_} * parts * out_c_) : nullptr;
    A* const direct = styles ? workspace.take<A>(std::int64_t{n_} * direct_parts * in_c_) : nullptr;
    if (dry) return FLEXPOSE_OK;
    if (const int error = prepare_styles(stream)) return error;

    const ReduceParams<T> activation{n_,   out_h,  out_w,   out_c_, parts, as<T>(args.grad_y), as<T>(args_.y), grad,
                                     sums, nullptr, epilogue_of<T>(args_.epilogue, factors())};
    if (const int error = reduce<T, ActivationGradient>(activation, stream)) return error;
    if (args_.up == 2) {
      const FilterParams<T> smooth{n_, out_c_, out_h, out_w, y_.spread, x_.spread, 1, kernel_ == 1 ? 2 : 1,
                                   3 - y_.before, 4, A(4), grad, spread, nothing_after<A>()};
      if (const int error = filter(smooth, stream)) return error;
    }

    // The gradient of what the styles have scaled; times the styles it is the gradient of x.
    ConvParams<T> conv{};
    conv.x = args_.up == 2 ? spread : grad;
    conv.weight = as<T>(args.transposed);
    conv.in_scale = factors();
    conv.y = grad_x;
    conv.epilogue = nothing_after<A>();
    if (!styles) conv.epilogue.scale = modulated();
    const int grad_h = args_.up == 2 ? y_.spread : in_h_, grad_w = args_.up == 2 ? x_.spread : in_w_;
    const bool stepped = args_.up == 2 && kernel_ == 3;
    const ConvShape shape = correlation(n_, out_c_, grad_h, grad_w, in_c_, in_h_, in_w_, kernel_, stepped ? 1 : -1,
                                        stepped ? 2 : 1);
    if (const int error = convolve(shape, conv, stream)) return error;
    if (!styles) return FLEXPOSE_OK;

    const ReduceParams<T> product{n_,     in_h_,       in_w_, in_c_, direct_parts, as<T>(args_.x), grad_x,
                                  args.grad_x == nullptr ? nullptr : grad_x, direct, modulated(), nothing_after<A>()};
    if (const int error = reduce<T, ScaledProduct>(product, stream)) return error;
    const StyleParams<A> gradient{StyleProduct::kGradient, n_, in_c_, args_.demodulate != 0 ? out_c_ : 0, parts,
                                  direct_parts, sums, as<A>(args_.energy), factors(), direct, modulated(),
                                  static_cast<A*>(args.grad_modulated)};
    return multiply(gradient, stream);
  }

 private:
  template <class U>
  static const U* as(const void* pointer) {
    return static_cast<const U*>(pointer);
  }

  // tau styles, and the demodulation factors.
  int prepare_styles(void* stream) const {
    if (args_.tau != nullptr) {
      const StyleParams<A> product{StyleProduct::kModulate, n_,      in_c_,   in_c_, 1, 1, as<A>(args_.styles),
                                   as<A>(args_.tau),        nullptr, nullptr, nullptr, static_cast<A*>(args_.modulated)};
      if (const int error = multiply(product, stream)) return error;
    }
    if (args_.demodulate != 0) {
      const StyleParams<A> product{StyleProduct::kDemodulate, n_,      out_c_,  in_c_, 1, 1, modulated(),
                                   as<A>(args_.energy),       nullptr, nullptr, nullptr, static_cast<A*>(args_.factors)};
      if (const int error = multiply(product, stream)) return error;
    }
    return FLEXPOSE_OK;
  }

  std::int64_t spread_size() const { return std::int64_t{n_} * y_.spread * x_.spread * out_c_; }
  const A* modulated() const { return as<A>(args_.tau != nullptr ? args_.modulated : args_.styles); }
  const A* factors() const { return args_.demodulate != 0 ? as<A>(args_.factors) : nullptr; }

  const flexpose_modconv& args_;
  const int n_, in_c_, in_h_, in_w_, out_c_, kernel_;
  const UpSizes y_, x_;
};

// Calls `with` with a value of the type that the dtype names.
template <class With>
int dispatch(std::int32_t dtype, const With& with) {
  switch (dtype) {
    case FLEXPOSE_FLOAT32: return with(float());
    case FLEXPOSE_FLOAT64: return with(double());
    case FLEXPOSE_FLOAT16: return with(Half());
    default: return with(BFloat());
  }
}

template <class From, class To>
int pack(const flexpose_pack& args, void* stream) {
  const PackParams<From, To> params{static_cast<int>(args.out_c),
                                    static_cast<int>(args.in_c),
                                    static_cast<int>(args.kernel * args.kernel),
                                    static_cast<const From*>(args.weight),
                                    static_cast<To*>(args.packed),
                                    static_cast<To*>(args.transposed),
                                    static_cast<Accumulator<To>*>(args.energy)};
  return launch<Pack<From, To>>(params, Pack<From, To>::blocks(params), 0, stream);
}

std::size_t element_bytes(std::int32_t dtype) {
  return dtype == FLEXPOSE_FLOAT64 ? 8 : dtype == FLEXPOSE_FLOAT32 ? 4 : 2;
}

}  // namespace
}  // namespace flexpose

using namespace flexpose;

int flexpose_pack_weight(const flexpose_pack* args, void* stream) {
  if (flexpose_pack_check(args) != nullptr) return FLEXPOSE_BAD_ARGUMENT;
  return dispatch(args->dtype, [&](auto value) {
    using T = decltype(value);
    if constexpr (sizeof(T) == 2) {
      if (args->weight_dtype == FLEXPOSE_FLOAT32) return pack<float, T>(*args, stream);
    }
    return pack<T, T>(*args, stream);
  });
}

size_t flexpose_modconv_workspace(const flexpose_modconv* args) {
  if (args->up == 1) return 0;
  const auto side = [&](std::int64_t size) { return up_sizes(static_cast<int>(size), static_cast<int>(args->kernel)).spread; };
  const std::int64_t pixels = args->n * side(args->in_h) * side(args->in_w);
  return static_cast<std::size_t>(round_up(pixels * args->out_c * static_cast<std::int64_t>(element_bytes(args->dtype)), 256));
}

int flexpose_modconv_forward(const flexpose_modconv* args, void* workspace, size_t bytes, void* stream) {
  if (flexpose_modconv_check(args) != nullptr) return FLEXPOSE_BAD_ARGUMENT;
  if (bytes < flexpose_modconv_workspace(args)) return FLEXPOSE_SMALL_WORKSPACE;
  if (args->n == 0) return FLEXPOSE_OK;
  return dispatch(args->dtype, [&](auto value) {
    Workspace pieces(workspace);
    return Modconv<decltype(value)>(*args).forward(pieces, stream);
  });
}

size_t flexpose_modconv_backward_workspace(const flexpose_modconv_backward* args) {
  Workspace pieces(nullptr);
  dispatch(args->forward.dtype, [&](auto value) {
    return Modconv<decltype(value)>(args->forward).backward(*args, pieces, true, nullptr);
  });
  return pieces.used();
}

int flexpose_modconv_gradient(const flexpose_modconv_backward* args, void* workspace, size_t bytes, void* stream) {
  if (flexpose_modconv_backward_check(args) != nullptr) return FLEXPOSE_BAD_ARGUMENT;
  if (bytes < flexpose_modconv_backward_workspace(args)) return FLEXPOSE_SMALL_WORKSPACE;
  if (args->forward.n == 0) return FLEXPOSE_OK;
  return dispatch(args->forward.dtype, [&](auto value) {
    Workspace pieces(workspace);
    return Modconv<decltype(value)>(args->forward).backward(*args, pieces, false, stream);
  });
}

int flexpose_filter_forward(const flexpose_filter* a, void* stream) {
  if (flexpose_filter_check(a) != nullptr) return FLEXPOSE_BAD_ARGUMENT;
  if (a->n == 0) return FLEXPOSE_OK;
  return dispatch(a->dtype, [&](auto value) {
    using T = decltype(value);
    using A = Accumulator<T>;
    const FilterParams<T> params{static_cast<int>(a->n),     static_cast<int>(a->c),     static_cast<int>(a->in_h),
                                 static_cast<int>(a->in_w),  static_cast<int>(a->out_h), static_cast<int>(a->out_w),
                                 a->up,                      a->down,                    a->before,
                                 a->taps,                    static_cast<A>(a->gain),    static_cast<const T*>(a->x),
                                 static_cast<T*>(a->y),      epilogue_of<T>(a->epilogue, nullptr)};
    return filter(params, stream);
  });
}

int flexpose_activation_backward(const flexpose_activation_gradient* a, void* stream) {
  if (flexpose_activation_gradient_check(a) != nullptr) return FLEXPOSE_BAD_ARGUMENT;
  if (a->n == 0) return FLEXPOSE_OK;
  return dispatch(a->dtype, [&](auto value) {
    using T = decltype(value);
    ReduceParams<T> params{};
    params.n = static_cast<int>(a->n), params.c = static_cast<int>(a->c);
    params.h = static_cast<int>(a->h), params.w = static_cast<int>(a->w);
    params.parts = Reduce<T, kVector<T>, ActivationGradient>::parts_for(params.n, params.h, params.w, params.c);
    params.a = static_cast<const T*>(a->grad_y), params.b = static_cast<const T*>(a->y);
    params.y = static_cast<T*>(a->grad);
    params.epilogue = epilogue_of<T>(a->epilogue, nullptr);
    return reduce<T, ActivationGradient>(params, stream);
  });
}

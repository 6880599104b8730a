/* The C face of the kernels.
 *
 * Every picture is dense [N, H, W, C] memory of the card, aligned to 16 bytes (channels_last, as torch calls it).
 * Nothing is allocated, nothing is waited for: all work goes to the stream that is passed, and a workspace is the
 * caller's, as large as the matching function says, aligned to 256 bytes. Factors, styles, noise and bias are of the
 * "wide" type: double beside double pictures, float beside all others.
 *
 * Functions return FLEXPOSE_OK, a negative flexpose_status, or the positive error of the CUDA runtime.
 */
#ifndef FLEXPOSE_CUDA_H
#define FLEXPOSE_CUDA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { FLEXPOSE_FLOAT32, FLEXPOSE_FLOAT64, FLEXPOSE_FLOAT16, FLEXPOSE_BFLOAT16 } flexpose_dtype;

typedef enum {
  FLEXPOSE_OK = 0,
  FLEXPOSE_BAD_ARGUMENT = -1,    /* the matching _check function says what is wrong */
  FLEXPOSE_TOO_LARGE = -2,       /* more blocks than a grid has */
  FLEXPOSE_SMALL_WORKSPACE = -3, /* less than the matching _workspace function asks for */
  FLEXPOSE_EMULATOR_FAILURE = -4
} flexpose_status;

/* What follows the convolution or the filter: (value * scale + noise + bias), leaky ReLU, gain, clamp. */
typedef struct {
  const void *noise; /* wide, one value a pixel; or NULL */
  int64_t noise_stride[3]; /* in values, of (n, y, x); 0 where it is the same along an axis */
  const void *bias;  /* wide [C], or NULL */
  int32_t leaky;     /* leaky ReLU of slope 0.2, or none */
  double gain;       /* the factor after it */
  double clamp;      /* limit of the absolute value; infinity for none */
} flexpose_epilogue;

/* Weights in the order of the kernels. */
typedef struct {
  int32_t dtype;        /* of the pictures that they will meet */
  int32_t weight_dtype; /* of `weight`: dtype, or FLEXPOSE_FLOAT32 for 16-bit pictures */
  int64_t out_c, in_c, kernel;
  const void *weight;   /* [out_c, in_c, kernel, kernel] */
  void *packed;         /* [kernel * kernel, out_c, in_c] for the forward pass, or NULL */
  void *transposed;     /* [kernel * kernel, in_c, out_c] for the backward pass, or NULL */
  void *energy;         /* wide [out_c, in_c], squares summed over the kernel, or NULL */
} flexpose_pack;

/* Modulated convolution; StyleGAN2 (arXiv:1912.04958), Eq. 1 and 3, on tau styles. */
typedef struct {
  int32_t dtype;
  int32_t up;         /* 1 or 2 */
  int32_t demodulate;
  int64_t n, in_c, in_h, in_w, out_c, kernel; /* kernel 1 or 3 */
  const void *x;      /* [n, in_h, in_w, in_c] */
  const void *packed; /* of flexpose_pack */
  const void *energy; /* of flexpose_pack; needed to demodulate */
  const void *styles; /* wide [n, in_c] */
  const void *tau;    /* wide [in_c, in_c], or NULL */
  void *modulated;    /* wide [n, in_c], written: tau styles; not used without tau */
  void *factors;      /* wide [n, out_c], written: what demodulates; not used unless it is asked for */
  flexpose_epilogue epilogue;
  void *y;            /* [n, in_h * up, in_w * up, out_c] */
} flexpose_modconv;

/* Its gradients for the input and for the styles; there is none for the weight. `forward` is the call as it was made,
 * with y as that call left it; packed is not used, x only for the styles. */
typedef struct {
  flexpose_modconv forward;
  const void *transposed;  /* of flexpose_pack */
  const void *grad_y;      /* like y */
  void *grad_x;            /* like x, or NULL */
  void *grad_modulated;    /* wide [n, in_c], the gradient for tau styles, or NULL */
} flexpose_modconv_backward;

/* Insert zeros, pad, filter with [1, 3, 3, 1] / 8 on both axes, keep every `down`-th pixel, then the epilogue. */
typedef struct {
  int32_t dtype;
  int32_t taps;          /* 4, or 1 for the epilogue alone */
  int32_t up, down;      /* 1 or 2 */
  int32_t before;        /* zeros before the first row and column */
  int64_t n, c, in_h, in_w, out_h, out_w;
  double gain;           /* of the filter */
  const void *x;
  void *y;
  flexpose_epilogue epilogue;
} flexpose_filter;

/* Gradient of the epilogue for what goes into its activation, from its result alone. */
typedef struct {
  int32_t dtype;
  int64_t n, c, h, w;
  const void *y, *grad_y;
  void *grad;
  flexpose_epilogue epilogue;
} flexpose_activation_gradient;

/* NULL, or what is wrong with the arguments. */
const char *flexpose_pack_check(const flexpose_pack *args);
const char *flexpose_modconv_check(const flexpose_modconv *args);
const char *flexpose_modconv_backward_check(const flexpose_modconv_backward *args);
const char *flexpose_filter_check(const flexpose_filter *args);
const char *flexpose_activation_gradient_check(const flexpose_activation_gradient *args);

/* Bytes; the arguments must have passed the check. */
size_t flexpose_modconv_workspace(const flexpose_modconv *args);
size_t flexpose_modconv_backward_workspace(const flexpose_modconv_backward *args);

int flexpose_pack_weight(const flexpose_pack *args, void *stream);
int flexpose_modconv_forward(const flexpose_modconv *args, void *workspace, size_t bytes, void *stream);
int flexpose_modconv_gradient(const flexpose_modconv_backward *args, void *workspace, size_t bytes, void *stream);
int flexpose_filter_forward(const flexpose_filter *args, void *stream);
int flexpose_activation_backward(const flexpose_activation_gradient *args, void *stream);

/* What a returned status means. */
const char *flexpose_error_text(int status);

#ifdef __cplusplus
}
#endif

#endif

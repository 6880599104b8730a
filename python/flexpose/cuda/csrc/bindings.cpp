// flexpose._cuda: the C face for Python. Pointers and the stream are integers; nothing is trusted, and every status
// that is not FLEXPOSE_OK becomes an exception.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <limits>
#include <stdexcept>
#include <string>

#include "build_facts.h"
#include "flexpose_cuda.h"
#include "launch.h"
#if defined(FLEXPOSE_EMULATE)
#include "emulator/context.h"
#else
#include <cuda_runtime_api.h>
#endif

namespace py = pybind11;

namespace {

using Address = std::uintptr_t;

void* pointer(Address address) { return reinterpret_cast<void*>(address); }

std::int32_t dtype_of(const std::string& name) {
  if (name == "float32") return FLEXPOSE_FLOAT32;
  if (name == "float64") return FLEXPOSE_FLOAT64;
  if (name == "float16") return FLEXPOSE_FLOAT16;
  if (name == "bfloat16") return FLEXPOSE_BFLOAT16;
  throw py::value_error("dtype must be float32, float64, float16 or bfloat16, got " + name);
}

void raise_if(const char* problem) {
  if (problem != nullptr) throw py::value_error(problem);
}

void raise_if(int status) {
  if (status == FLEXPOSE_OK) return;
  const std::string text = flexpose_error_text(status);
  throw std::runtime_error("flexpose._cuda: " + text + " (status " + std::to_string(status) + ")");
}

flexpose_epilogue make_epilogue(Address noise, std::array<std::int64_t, 3> noise_stride, Address bias, bool leaky,
                                double gain, double clamp) {
  return flexpose_epilogue{pointer(noise), {noise_stride[0], noise_stride[1], noise_stride[2]}, pointer(bias), leaky,
                           gain, clamp};
}

flexpose_modconv make_modconv(const std::string& dtype, int up, bool demodulate, std::array<std::int64_t, 4> x_shape,
                              std::int64_t out_c, std::int64_t kernel, Address x, Address packed, Address energy,
                              Address styles, Address tau, Address modulated, Address factors,
                              const flexpose_epilogue& epilogue, Address y) {
  const auto [n, in_c, in_h, in_w] = x_shape;
  return flexpose_modconv{dtype_of(dtype), up, demodulate, n, in_c, in_h, in_w, out_c, kernel, pointer(x),
                          pointer(packed), pointer(energy), pointer(styles), pointer(tau), pointer(modulated),
                          pointer(factors), epilogue, pointer(y)};
}

void pack_weight(const std::string& dtype, const std::string& weight_dtype, std::array<std::int64_t, 3> shape,
                 Address weight, Address packed, Address transposed, Address energy, Address stream) {
  const flexpose_pack args{dtype_of(dtype), dtype_of(weight_dtype), shape[0], shape[1], shape[2], pointer(weight),
                           pointer(packed), pointer(transposed), pointer(energy)};
  raise_if(flexpose_pack_check(&args));
  raise_if(flexpose_pack_weight(&args, pointer(stream)));
}

std::size_t modconv_workspace(const flexpose_modconv& args) {
  raise_if(flexpose_modconv_check(&args));
  return flexpose_modconv_workspace(&args);
}

void modconv_forward(const flexpose_modconv& args, Address workspace, std::size_t bytes, Address stream) {
  raise_if(flexpose_modconv_check(&args));
  raise_if(flexpose_modconv_forward(&args, pointer(workspace), bytes, pointer(stream)));
}

flexpose_modconv_backward make_backward(const flexpose_modconv& forward, Address transposed, Address grad_y,
                                        Address grad_x, Address grad_modulated) {
  return flexpose_modconv_backward{forward, pointer(transposed), pointer(grad_y), pointer(grad_x),
                                   pointer(grad_modulated)};
}

std::size_t modconv_backward_workspace(const flexpose_modconv_backward& args) {
  raise_if(flexpose_modconv_backward_check(&args));
  return flexpose_modconv_backward_workspace(&args);
}

void modconv_gradient(const flexpose_modconv_backward& args, Address workspace, std::size_t bytes, Address stream) {
  raise_if(flexpose_modconv_backward_check(&args));
  raise_if(flexpose_modconv_gradient(&args, pointer(workspace), bytes, pointer(stream)));
}

void filter(const std::string& dtype, int taps, int up, int down, int before, std::array<std::int64_t, 4> x_shape,
            std::array<std::int64_t, 2> out_size, double gain, Address x, Address y, const flexpose_epilogue& epilogue,
            Address stream) {
  const auto [n, c, in_h, in_w] = x_shape;
  const flexpose_filter args{dtype_of(dtype), taps, up,          down,        before, n,          c,          in_h,
                             in_w,            out_size[0],       out_size[1], gain,   pointer(x), pointer(y), epilogue};
  raise_if(flexpose_filter_check(&args));
  raise_if(flexpose_filter_forward(&args, pointer(stream)));
}

void activation_gradient(const std::string& dtype, std::array<std::int64_t, 4> shape, Address y, Address grad_y,
                         Address grad, const flexpose_epilogue& epilogue, Address stream) {
  const auto [n, c, h, w] = shape;
  const flexpose_activation_gradient args{dtype_of(dtype), n, c, h, w, pointer(y), pointer(grad_y), pointer(grad), epilogue};
  raise_if(flexpose_activation_gradient_check(&args));
  raise_if(flexpose_activation_backward(&args, pointer(stream)));
}

}  // namespace

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "Kernels of flexpose for NVIDIA cards; flexpose.cuda is their public face.";
  // What was built; the driver of the build passes it in.
  m.attr("__version__") = FLEXPOSE_VERSION;
  m.attr("SOURCE_HASH") = FLEXPOSE_SOURCE_HASH;
  m.attr("ARCHES") = FLEXPOSE_ARCHES;

  const auto none = Address{0};
  // Local: the module for the card and that of the emulator may be in one process.
  py::class_<flexpose_epilogue>(m, "Epilogue", py::module_local())
      .def(py::init(&make_epilogue), py::kw_only(), py::arg("noise") = none,
           py::arg("noise_stride") = std::array<std::int64_t, 3>{0, 0, 0}, py::arg("bias") = none,
           py::arg("leaky") = false, py::arg("gain") = 1.0,
           py::arg("clamp") = std::numeric_limits<double>::infinity());
  py::class_<flexpose_modconv>(m, "Modconv", py::module_local())
      .def(py::init(&make_modconv), py::kw_only(), py::arg("dtype"), py::arg("up"), py::arg("demodulate"),
           py::arg("x_shape"), py::arg("out_c"), py::arg("kernel"), py::arg("x"), py::arg("packed"), py::arg("energy"),
           py::arg("styles"), py::arg("tau"), py::arg("modulated"), py::arg("factors"), py::arg("epilogue"),
           py::arg("y"));
  py::class_<flexpose_modconv_backward>(m, "ModconvBackward", py::module_local())
      .def(py::init(&make_backward), py::kw_only(), py::arg("forward"), py::arg("transposed"), py::arg("grad_y"),
           py::arg("grad_x"), py::arg("grad_modulated"));

  const py::call_guard<py::gil_scoped_release> free_lock;
  m.def("pack_weight", &pack_weight, py::kw_only(), py::arg("dtype"), py::arg("weight_dtype"), py::arg("shape"),
        py::arg("weight"), py::arg("packed"), py::arg("transposed"), py::arg("energy"), py::arg("stream"), free_lock);
  m.def("modconv_workspace", &modconv_workspace, py::arg("args"));
  m.def("modconv_forward", &modconv_forward, py::arg("args"), py::kw_only(), py::arg("workspace"), py::arg("bytes"),
        py::arg("stream"), free_lock);
  m.def("modconv_backward_workspace", &modconv_backward_workspace, py::arg("args"));
  m.def("modconv_gradient", &modconv_gradient, py::arg("args"), py::kw_only(), py::arg("workspace"), py::arg("bytes"),
        py::arg("stream"), free_lock);
  m.def("filter", &filter, py::kw_only(), py::arg("dtype"), py::arg("taps"), py::arg("up"), py::arg("down"),
        py::arg("before"), py::arg("x_shape"), py::arg("out_size"), py::arg("gain"), py::arg("x"), py::arg("y"),
        py::arg("epilogue"), py::arg("stream"), free_lock);
  m.def("activation_gradient", &activation_gradient, py::kw_only(), py::arg("dtype"), py::arg("shape"), py::arg("y"),
        py::arg("grad_y"), py::arg("grad"), py::arg("epilogue"), py::arg("stream"), free_lock);

#if defined(FLEXPOSE_EMULATE)
  m.attr("EMULATED") = true;
  m.def(
      "emulate",
      [](unsigned seed, std::int64_t shared_limit, int processors, bool dry) {
        flexpose::emulator::settings() = {seed, shared_limit, processors, dry, {}, {}};
      },
      py::kw_only(), py::arg("seed"), py::arg("shared_limit"), py::arg("processors"), py::arg("dry"));
  m.def("launches", [] {
    py::list launches;
    for (const auto& launch : flexpose::emulator::settings().launches)
      launches.append(py::make_tuple(launch.kernel, launch.blocks, launch.shared_bytes));
    return launches;
  });
#else
  m.attr("EMULATED") = false;
  m.attr("CUDA_VERSION") = CUDART_VERSION;
  m.def("driver_version", [] {
    int version = 0;
    return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
  });
#endif
}

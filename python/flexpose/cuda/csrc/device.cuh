// What a kernel may ask of the card. `emulator/context.h` answers the same questions on a processor, so that each
// kernel body is one template and runs in both places.
#pragma once

#include <cuda_runtime.h>

#include <type_traits>

#include "types.cuh"

namespace flexpose {

class DeviceContext {
 public:
  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ std::int64_t block() const { return static_cast<std::int64_t>(blockIdx.x); }

  __device__ unsigned char* shared() const {
    extern __shared__ __align__(16) unsigned char memory[];
    return memory;
  }

  __device__ void sync() const { __syncthreads(); }

  // Start copying 16 bytes from global to shared memory; zeros are written where the source is not valid.
  __device__ void copy16(void* to, const void* from, bool valid) const {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address(to)), "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
  }

  // Close the group of copies that this thread has started.
  __device__ void commit() const { asm volatile("cp.async.commit_group;" ::: "memory"); }

  // Wait until all but the newest N groups of this thread have arrived.
  template <int N>
  __device__ void wait() const {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
  }

  // Four 8 x 8 matrices of 16-bit numbers: lane l names row l % 8 of matrix l / 8, and gets the elements
  // 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of each matrix.
  __device__ void ldmatrix(std::uint32_t (&to)[4], const void* row) const {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address(row))
                 : "memory");
  }

  // sum += a b of 16 x 16 by 16 x 8 numbers of the type T, spread over a warp as PTX has it (mma.m16n8k16).
  template <class T>
  __device__ void mma(float (&sum)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) const {
    if constexpr (std::is_same_v<T, Half>) {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
          "{%0, %1, %2, %3};"
          : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
          "{%0, %1, %2, %3};"
          : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
  }

 private:
  static __device__ std::uint32_t address(const void* pointer) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
  }
};

}  // namespace flexpose

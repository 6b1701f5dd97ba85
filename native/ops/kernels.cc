#include "kernels.h"

#include <initializer_list>

namespace echomimic::ops {

// x86 gets three variants and picks one when it runs; elsewhere (arm64 with NEON) the compiler's
// own baseline is the right one.
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512vl,avx512bw,avx512dq"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")
#endif
#define OPS_WIDTH 16
namespace avx512 {
constexpr int kWidth = OPS_WIDTH;
constexpr const char* kName = "avx512";
#include "kernels.inl"
}  // namespace avx512
#undef OPS_WIDTH
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define OPS_WIDTH 8
namespace avx2 {
constexpr int kWidth = OPS_WIDTH;
constexpr const char* kName = "avx2";
#include "kernels.inl"
}  // namespace avx2
#undef OPS_WIDTH
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

#define OPS_WIDTH 4
namespace baseline {
constexpr int kWidth = OPS_WIDTH;
constexpr const char* kName = "baseline";
#include "kernels.inl"
}  // namespace baseline
#undef OPS_WIDTH

const Kernels& BestKernels() {
#if defined(__x86_64__)
  static const Kernels& best = []() -> const Kernels& {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")) {
      return avx512::kKernels;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::kKernels;
    return baseline::kKernels;
  }();
  return best;
#else
  return baseline::kKernels;
#endif
}

}  // namespace echomimic::ops

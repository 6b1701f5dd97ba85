#include "check.h"
#include "kernels.h"

namespace echomimic::cuda {

namespace {

constexpr uint32_t kThreads = 256;
constexpr uint32_t kMostBlocksAcross = 1 << 16;
constexpr uint32_t kMostBlocksDown = 65535;  // what a grid's second dimension allows

template <typename Operation>
__global__ void __launch_bounds__(kThreads) RunOperation(const Operation operation) {
  for (uint32_t row = blockIdx.y; row < operation.rows; row += gridDim.y) {
    for (uint64_t column = uint64_t{blockIdx.x} * kThreads + threadIdx.x;
         column < operation.columns; column += uint64_t{gridDim.x} * kThreads) {
      operation(row, static_cast<uint32_t>(column));
    }
  }
}

}  // namespace

template <typename Operation>
void Launch(const Operation& operation, cudaStream_t stream) {
  if (operation.rows == 0 || operation.columns == 0) return;
  const uint32_t across = (operation.columns - 1) / kThreads + 1;
  const dim3 blocks(across < kMostBlocksAcross ? across : kMostBlocksAcross,
                    operation.rows < kMostBlocksDown ? operation.rows : kMostBlocksDown);
  RunOperation<<<blocks, kThreads, 0, stream>>>(operation);
  Check(cudaGetLastError(), "starting a kernel");
}

template void Launch(const GatherFrames&, cudaStream_t);
template void Launch(const GatherTokens&, cudaStream_t);
template void Launch(const ApplyGuidance&, cudaStream_t);
template void Launch(const AddWindow&, cudaStream_t);
template void Launch(const StepFrames&, cudaStream_t);
template void Launch(const MakeNoise&, cudaStream_t);
template void Launch(const ToRgb&, cudaStream_t);

}  // namespace echomimic::cuda

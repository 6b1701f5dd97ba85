#pragma once

#include <cuda_runtime_api.h>

#include "operations.h"

namespace echomimic::cuda {

// Runs an operation of operations.h on a stream of the current device. Throws the coded error of a
// launch that fails; what fails later shows when the stream is waited for.
template <typename Operation>
void Launch(const Operation& operation, cudaStream_t stream);

extern template void Launch(const GatherFrames&, cudaStream_t);
extern template void Launch(const GatherTokens&, cudaStream_t);
extern template void Launch(const ApplyGuidance&, cudaStream_t);
extern template void Launch(const AddWindow&, cudaStream_t);
extern template void Launch(const StepFrames&, cudaStream_t);
extern template void Launch(const MakeNoise&, cudaStream_t);
extern template void Launch(const ToRgb&, cudaStream_t);

}  // namespace echomimic::cuda

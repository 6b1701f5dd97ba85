#pragma once

#include <cuda_runtime_api.h>

#include "../engine/error.h"

namespace echomimic::cuda {

// The ENGINE_* code that a failure of CUDA has for callers.
ErrorCode CodeOf(cudaError_t error);

// Throws an EngineError that says what was attempted, what CUDA answered and what to do.
void Check(cudaError_t error, const char* attempt);

}  // namespace echomimic::cuda

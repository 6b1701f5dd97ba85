#pragma once

#include <string>

#include "error.h"

namespace echomimic {

// What a failure that ONNX Runtime or one of its providers reports means for callers. They report
// texts only, so this is where those are read.
struct Failure {
  ErrorCode code;
  const char* advice;  // what to install or do, as a sentence; empty if nothing is known
};
Failure ClassifyFailure(const std::string& text);

// The error for a failure: what was attempted, what was said, what to do. `otherwise` is the code for
// texts that nobody knows.
EngineError ExplainFailure(const std::string& attempt, const std::string& text,
                           ErrorCode otherwise = ErrorCode::kFailed);

}  // namespace echomimic

#pragma once

#include <string>

namespace echomimic {

// Versions of what is installed, asked of the libraries themselves; none of them is linked. A library
// that is not there has the version "".
std::string DriverVersion();    // such as 580.65.06
std::string TensorRtVersion();  // such as 10.9.0; of the one that ONNX Runtime's provider has loaded

}  // namespace echomimic

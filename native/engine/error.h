#pragma once

#include <array>
#include <stdexcept>
#include <string>

namespace echomimic {

// The ENGINE_* codes of src/errors.ts; a test holds the two lists equal.
enum class ErrorCode {
  kOptionInvalid,
  kModelInvalid,
  kRuntimeMissing,
  kDeviceUnavailable,
  kDeviceUnsupported,
  kDeviceLost,
  kOutOfMemory,
  kBusy,
  kDisposed,
  kCancelled,
  kFailed,
};

inline constexpr std::array<const char*, 11> kErrorCodes = {
    "ENGINE_OPTION_INVALID", "ENGINE_MODEL_INVALID", "ENGINE_RUNTIME_MISSING",
    "ENGINE_DEVICE_UNAVAILABLE", "ENGINE_DEVICE_UNSUPPORTED", "ENGINE_DEVICE_LOST",
    "ENGINE_OUT_OF_MEMORY", "ENGINE_BUSY", "ENGINE_DISPOSED", "ENGINE_CANCELLED",
    "ENGINE_FAILED"};

inline const char* NameOf(ErrorCode code) { return kErrorCodes[static_cast<size_t>(code)]; }

class EngineError : public std::runtime_error {
 public:
  EngineError(ErrorCode code, const std::string& message)
      : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace echomimic

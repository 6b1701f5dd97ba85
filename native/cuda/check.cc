#include "check.h"

#include <string>

namespace echomimic::cuda {

namespace {

const char* AdviceFor(ErrorCode code) {
  switch (code) {
    case ErrorCode::kOutOfMemory:
      return "; use smaller windows or pictures, or free the GPU of other work";
    case ErrorCode::kDeviceUnavailable:
      return "; check that nvidia-smi lists the GPU and that its driver is as new as this build's "
             "CUDA, or run on the CPU";
    case ErrorCode::kDeviceUnsupported:
      return "; build the addon on this machine with: npm run build:addon -- --cuda";
    case ErrorCode::kDeviceLost:
      return "; this process cannot use the GPU any more: start it again, and look for Xid messages "
             "in the kernel's log if it happens twice";
    default:
      return "";
  }
}

}  // namespace

ErrorCode CodeOf(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return ErrorCode::kOutOfMemory;
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorDevicesUnavailable:
    case cudaErrorInsufficientDriver:
    case cudaErrorCallRequiresNewerDriver:
    case cudaErrorInitializationError:
    case cudaErrorStubLibrary:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorSystemNotReady:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorOperatingSystem:
      return ErrorCode::kDeviceUnavailable;
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidKernelImage:
    case cudaErrorInvalidPtx:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorJitCompilerNotFound:
    case cudaErrorJitCompilationDisabled:
    case cudaErrorInvalidDeviceFunction:
      return ErrorCode::kDeviceUnsupported;
    // After these every call of the process fails.
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
    case cudaErrorDeviceUninitialized:
    case cudaErrorCudartUnloading:
      return ErrorCode::kDeviceLost;
    default:
      return ErrorCode::kFailed;
  }
}

void Check(cudaError_t error, const char* attempt) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // or the next launch would report it again
  const ErrorCode code = CodeOf(error);
  throw EngineError(code, std::string(attempt) + ": " + cudaGetErrorString(error) + " (" +
                              cudaGetErrorName(error) + ")" + AdviceFor(code));
}

}  // namespace echomimic::cuda

// Compiled once per instruction set by kernels.cc, inside a namespace that defines kWidth (floats
// per vector). No header of a library may be included from here.

#include "vector.inl"

#include "attention.inl"
#include "conv.inl"
#include "rows.inl"

#undef OPS_LOW
#undef OPS_HIGH
#undef OPS_INLINE
#undef OPS_UNROLL

static constexpr Kernels kKernels = {
    kName,     kWidth, kWidth,   AttentionScratch, Attention,     FramesScratch,
    Frames,    NormScratch, Norm, Geglu,           ResidualNorm,  Multiply,
    ToCoordinates, FromCoordinates, FinishRows};

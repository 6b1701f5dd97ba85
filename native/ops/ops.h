#pragma once

#include <onnxruntime_cxx_api.h>

namespace echomimic {

// Lets a CPU session run the operators of the domain "echomimic", which stand in the graphs that a
// manifest calls `cpuFile`. Tokens are rows of float32; one call may hold several images or clips.
//
//   SelfAttention   qkv [T, 3 C], clip int64 (its product is the number of images),
//                   keys?, values? [1, L, C] shared by all images -> [T, C]
//   CrossAttention  q [T, C], kv [T', W], clip -> [T, C]; keys stand in kv from column `offset` on,
//                   values from `offset` + C on
//   FrameAttention  qkv [T, 3 C], table [frames at most, 3 C], clip [batch, frames] -> [T, C]
//   GroupNorm       x [N, h, w, C], gain? [C], bias? [C], shift? [C values] -> like x,
//                   or as tokens
//   Conv            x [N, h, w, C] or [T, C], weight [D, C, k, k] or [C, D] constant, bias? [D],
//                   skip?, size? int64 [2] -> [N, h', w', D] or [T, D] plus skip, and with its shape;
//                   `double` doubles the sides first and cuts them to `size`
//   Geglu           x [T, 2 n], bias [2 n] -> [T, n]
//   ResidualNorm    x [T, C], add [C], gain [C], bias [C], skip? [T, C]
//                   -> layer norm of the sum, the sum x + add + skip
//
//   Int8Linear      x [..., K], weight [K, N] constant, bias? [N], skip? -> [..., N] plus skip, and with
//                   its shape; weights rounded to 8 bits per column, x to 8 bits per row
//   Int8FeedForward x [T, C], weight [C, 2 n] constant, bias [2 n], weight [n, C] constant, skip [T, C]
//                   -> Geglu of the first layer, then the second one, plus skip
//   Int8Conv        as Conv on images, x rounded to 8 bits per image
//
// Attention has its scale in the query weights. Results do not depend on the number of threads.
// Operators leave the session's `threads` alone while as many networks run.
void AddCpuOps(Ort::SessionOptions& options, int threads);

// Lives as long as a network runs.
class NetworkRun {
 public:
  NetworkRun();
  ~NetworkRun();
  NetworkRun(const NetworkRun&) = delete;
  NetworkRun& operator=(const NetworkRun&) = delete;
};

}  // namespace echomimic

#pragma once
// Which of a model's matrices are put in the order that products read (--repack, quant/interleave.h), and
// doing so.

#include <vector>

#include "base/thread_pool.h"
#include "model/weights.h"

namespace minke {

// Matrices whose bytes change their order, in the order of their bytes; one for those that share theirs, as a
// tied head does. Left out: what is only looked up, heads of rows that fill no groups, and bytes that
// matrices share in part.
std::vector<Mat> interleavable(const Config& config, Weights& weights);

// Interleaves m's bytes, which are at `bytes` now.
void interleave(ThreadPool& pool, const Mat& m, std::byte* bytes);

// Says of all matrices that share their bytes with one of `done` that they are interleaved.
void mark_interleaved(const Config& config, Weights& weights, const std::vector<Mat>& done);

}  // namespace minke

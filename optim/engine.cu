/// The engine's kernels. A thread block works on one stretch of a parameter (a block of block8, else
/// kThreads values) or on one chunk of 32 rows; a thread takes every kThreads-th element of it.
#include "core/cuda/block.hpp"
#include "optim/device.hpp"
#include "optim/storage/open.hpp"

namespace minima {
namespace MINIMA_BACKEND {
namespace {

struct Largest {
  __device__ u32 operator()(u32 a, u32 b) const { return a < b ? b : a; }
};

/// Shared memory: the fresh values of each slot in block8, [slots, stretch].
template <class R, int K>
__global__ void step_kernel(R rule, StepView view, i64 size, i64 stretch) {
  __shared__ u32 warps[kThreads / 32];
  float* const fresh = MINIMA_DYNAMIC_SHARED(float);
  const i64 begin = blockIdx.x * stretch;
  const i64 n = size - begin < stretch ? size - begin : stretch;
  const Guard guard(view.guard);
  u32 largest[K] = {};
  for (i64 k = threadIdx.x; k < n; k += kThreads) {
    float scratch[2 + K], state[K];
    const i64 at = begin + k;
    float* const p = open(view.value, at, 1, scratch);
    const ScaledStretch raw = open_gradient(view, at, 1, scratch + 1);
    const float g = raw.scale * *raw.values;
    for (int s = 0; s < K; ++s) state[s] = *open(view.slots[s], at, 1, scratch + 2 + s);
    float weight = *p;
    if constexpr (K == 2)
      rule(weight, g, state[0], state[1]);
    else
      rule(weight, g, state[0], state[1], state[2]);
    const bool ok = guard.passes(g);
    *p = ok ? weight : *p;
    close(view.value, at, 1, p);
    for (int s = 0; s < K; ++s) {
      const float value = ok ? state[s] : 0.0f;
      if (view.slots[s].storage != Storage::block8) {
        float* const kept = open(view.slots[s], at, 1, scratch + 2 + s);
        *kept = value;
        close(view.slots[s], at, 1, kept);
        continue;
      }
      fresh[s * stretch + k] = value;
      largest[s] = Largest{}(largest[s], Block8Storage::magnitude(value));
    }
  }
  for (int s = 0; s < K; ++s) {
    const SlotView& slot = view.slots[s];
    if (slot.storage != Storage::block8) continue;
    const u32 absmax = block_fold(largest[s], Largest{}, warps);
    if (threadIdx.x == 0) slot.absmax[blockIdx.x] = Block8Storage::from_bits(absmax);
    for (i64 k = threadIdx.x; k < n; k += kThreads)
      Block8Storage::encode(slot, begin + k, 1, fresh + s * stretch + k, absmax);
  }
}

template <class Pass>
__global__ void matrix_kernel(Pass pass, StepView view, i64 matrix_rows, i64 chunks_per_matrix,
                              i64 width, double* rows, float* partial_columns, double* totals) {
  __shared__ double warps[kThreads / 32];
  const i64 matrix = blockIdx.x / chunks_per_matrix;
  const i64 first = blockIdx.x % chunks_per_matrix * detail::kChunkRows;
  const i64 last =
      first + detail::kChunkRows < matrix_rows ? first + detail::kChunkRows : matrix_rows;
  float* const columns = partial_columns + blockIdx.x * width;
  const Guard guard(view.guard);
  double total = 0;
  for (i64 j = threadIdx.x; j < width; j += kThreads) columns[j] = 0;
  for (i64 i = matrix * matrix_rows + first; i < matrix * matrix_rows + last; ++i) {
    const auto row = pass.row(i);
    double sum = 0;
    for (i64 j = threadIdx.x; j < width; j += kThreads) {
      float scratch[2];
      const float p = *open(view.value, i * width + j, 1, scratch);
      const ScaledStretch raw = open_gradient(view, i * width + j, 1, scratch + 1);
      const float g = raw.scale * *raw.values;
      const Terms terms = row(j, guard.passes(g) ? g : 0.0f, p);
      columns[j] += terms.matrix;  // the thread's own column
      sum += terms.matrix;
      total += terms.total;
    }
    sum = block_fold(sum, Sum{}, warps);
    if (threadIdx.x == 0) rows[i] = sum;
  }
  total = block_fold(total, Sum{}, warps);
  if (threadIdx.x == 0) totals[blockIdx.x] = total;
}

}  // namespace
}  // namespace MINIMA_BACKEND

using namespace MINIMA_BACKEND;

template <>
void step(Gpu gpu, const AdamW& rule, const StepView& view) {
  i64 stretch = kThreads, in_block8 = 0;
  for (int s = 0; s < view.slot_count; ++s)
    if (view.slots[s].storage == Storage::block8) {
      stretch = view.slots[s].block_size;
      in_block8 = view.slot_count;
    }
  const i64 size = view.shape.size();
  const i64 blocks = (size + stretch - 1) / stretch;
  const std::size_t shared = static_cast<std::size_t>(in_block8 * stretch) * sizeof(float);
  if (view.slot_count == 3)
    launch(gpu, step_kernel<AdamW, 3>, blocks, kThreads, shared, rule, view, size, stretch);
  else
    launch(gpu, step_kernel<AdamW, 2>, blocks, kThreads, shared, rule, view, size, stretch);
}

template <>
void matrix_pass(Gpu gpu, const Squares& pass, const StepView& view, double* rows,
                 float* partial_columns, double* totals) {
  const MatrixShape shape(view.shape);
  const i64 chunks = detail::chunks_per_matrix(shape);
  launch(gpu, matrix_kernel<Squares>, shape.batch * chunks, kThreads, 0, pass, view, shape.rows,
         chunks, shape.columns, rows, partial_columns, totals);
}

}  // namespace minima

#include "core/cuda/block.hpp"
#include "core/cuda/note_outside.hpp"
#include "core/cuda/wrong_value.hpp"

namespace minima {
namespace MINIMA_BACKEND {
namespace {

__device__ void note(WrongValue* wrong, WrongValue::Kind kind, const char* op, i64 value,
                     i64 high) {
  if (atomicCAS(&wrong->found, unsigned{WrongValue::none}, unsigned{kind}) != 0) return;
  wrong->op = op;
  wrong->value = value;
  wrong->high = high;
}

__global__ void note_kernel(WrongValue* wrong, const char* op, i64 n, const i64* values, i64 high,
                            i64 except) {
  const i64 i = static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n && values[i] != except && (values[i] < 0 || values[i] >= high))
    note(wrong, WrongValue::outside, op, values[i], high);
}

__global__ void note_offsets_kernel(WrongValue* wrong, const char* op, i64 n, const i64* offsets,
                                    i64 rows) {
  const i64 i = static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  const bool ends_right = (i > 0 || offsets[i] == 0) && (i < n - 1 || offsets[i] == rows);
  if (!ends_right || offsets[i] < 0 || (i > 0 && offsets[i - 1] > offsets[i]))
    note(wrong, WrongValue::offset, op, offsets[i], rows + 1);
}

}  // namespace
}  // namespace MINIMA_BACKEND

template <>
void note_outside(MINIMA_BACKEND::Gpu gpu, const char* op, i64 n, const i64* values, i64 high,
                  i64 except) {
  using namespace MINIMA_BACKEND;
  launch(gpu, note_kernel, ceil_div(n, kThreads), kThreads, 0, wrong_value_of(gpu), op, n, values,
         high, except);
}

template <>
void note_offsets(MINIMA_BACKEND::Gpu gpu, const char* op, i64 n, const i64* offsets, i64 rows) {
  using namespace MINIMA_BACKEND;
  launch(gpu, note_offsets_kernel, ceil_div(n, kThreads), kThreads, 0, wrong_value_of(gpu), op, n,
         offsets, rows);
}

}  // namespace minima

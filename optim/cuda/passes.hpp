/// The passes of a step on a GPU, over all parameters at once. Included by `.cu` files; a program with a rule
/// of its own says in one of them
///
///     register_rule_on_gpu<MyRule>();          // beside register_rule<MyRule>()
///
/// A launch works on a table of views. Its blocks are shared out among the parameters: each update gets a
/// stretch (a block of block8, else kStretch values), each sum a chunk of 32 rows of a matrix, and what
/// stands between passes a whole matrix. What a pass is for one parameter is formed by one thread, before.
#pragma once

#include <map>
#include <typeindex>

#include "core/cuda/context.hpp"
#include "core/cuda/each.hpp"
#include "core/cuda/memory.hpp"
#include "core/search.hpp"
#include "core/tensor.hpp"
#include "optim/on_gpu.hpp"
#include "optim/storage/open.hpp"

namespace minima {
namespace MINIMA_BACKEND {

inline constexpr i64 kStretch = 4 * kThreads;  ///< values that a block updates, without block8

/// Which entry of a table a block works on: k has the blocks first[k] … first[k + 1] − 1.
__device__ inline i64 entry_of(i64 block, const i64* first, i64 count) {
  return count_below(first, count, block + 1) - 1;
}

/// The parameters of a launch: entry k is views[index[k]].
struct Table {
  const StepView* views;
  const i64 *index, *first;
  i64 count;

  __device__ i64 entry_of(i64 block) const { return MINIMA_BACKEND::entry_of(block, first, count); }
  __device__ const StepView& view(i64 entry) const { return views[index[entry]]; }
};

/// The blocks of the slots in block8, which are all of one size; 0 without such a slot.
MINIMA_HD i64 block_of(const StepView& view, std::size_t slots) {
  for (std::size_t k = 0; k < slots; ++k)
    if (view.slots[k].storage == Storage::block8) return view.slots[k].block_size;
  return 0;
}

struct LargestBits {
  __device__ u32 operator()(u32 a, u32 b) const { return a < b ? b : a; }
};

/// The scaled gradient of one element.
MINIMA_HD float gradient_at(const StepView& view, i64 at) {
  float scratch = 0;
  const ScaledStretch raw = open_gradient(view, at, 1, &scratch);
  return raw.scale * *raw.values;
}

/// Shared memory: the fresh values of each slot in block8, [slots, stretch].
template <class Formula, std::size_t... K>
__global__ void update_kernel(Table table, const Formula* formulas, Outcome* outcome) {
  constexpr int kSlots = sizeof...(K);
  __shared__ u32 warps[kThreads / 32];
  float* const fresh = MINIMA_DYNAMIC_SHARED(float);
  const i64 entry = table.entry_of(blockIdx.x);
  const StepView& view = table.view(entry);
  if (view.skipped) return;
  const Formula formula = formulas[entry];
  const i64 block = block_of(view, kSlots), stretch = block ? block : kStretch;
  const i64 begin = (blockIdx.x - table.first[entry]) * stretch;
  const i64 size = view.matrix.size(), width = view.matrix.columns;
  const i64 n = size - begin < stretch ? size - begin : stretch;
  if (view.skips_rows()) {  // a block of block8 that holds no row to be moved keeps its bits
    int moves = 0;
    for (i64 k = threadIdx.x; k < n; k += kThreads) moves |= view.moves(begin + k);
    if (!__syncthreads_or(moves)) return;
  }
  const Guard guard(view.guard);
  u32 largest[kSlots + 1] = {};
  bool bad = false;
  for (i64 k = threadIdx.x; k < n; k += kThreads) {
    const i64 at = begin + k;
    float scratch[1 + kSlots], state[kSlots + 1];
    const float before = *open(view.value, at, 1, scratch), g = gradient_at(view, at);
    for (int s = 0; s < kSlots; ++s) state[s] = *open(view.slots[s], at, 1, scratch + 1 + s);
    if (view.moves(at)) {
      float p = before;
      formula.row(at / width)(at % width, p, g, state[K]...);
      const bool ok = guard.passes(g);
      if (!ok) p = before;
      for (int s = 0; s < kSlots; ++s) state[s] = ok ? state[s] : 0.0f;
      bad |= !Guard(true).passes(p);
      float* const kept = open(view.value, at, 1, scratch);
      *kept = p;
      close(view.value, at, 1, kept);
    }
    for (int s = 0; s < kSlots; ++s) {
      if (view.slots[s].storage == Storage::block8) {
        fresh[s * stretch + k] = state[s];
        largest[s] = LargestBits{}(largest[s], Block8Storage::magnitude(state[s]));
      } else if (view.moves(at)) {
        float* const kept = open(view.slots[s], at, 1, scratch + 1 + s);
        *kept = state[s];
        close(view.slots[s], at, 1, kept);
      }
    }
  }
  if (bad) atomicExch(&outcome->bad_weights, 1u);
  for (int s = 0; s < kSlots; ++s) {
    const SlotView& slot = view.slots[s];
    if (slot.storage != Storage::block8) continue;
    const u32 absmax = block_fold(largest[s], LargestBits{}, warps);
    if (threadIdx.x == 0) slot.absmax[begin / stretch] = Block8Storage::from_bits(absmax);
    for (i64 k = threadIdx.x; k < n; k += kThreads)
      Block8Storage::encode(slot, begin + k, 1, fresh + s * stretch + k, absmax);
  }
}

/// Row sums, and the chunk's column sums (at partial + offset[entry] on) and total.
template <class Pass, class Term, std::size_t... K>
__global__ void sum_kernel(Table table, const Pass* passes, const i64* offset, float* partial,
                           double* totals) {
  __shared__ double warps[kThreads / 32];
  const i64 entry = table.entry_of(blockIdx.x), chunk = blockIdx.x - table.first[entry];
  const StepView& view = table.view(entry);
  const Pass pass = passes[entry];
  const MatrixShape& shape = view.matrix;
  const i64 per_matrix = detail::chunks_per_matrix(shape), width = shape.columns;
  const i64 matrix = chunk / per_matrix, begin = chunk % per_matrix * detail::kChunkRows;
  const i64 end = begin + detail::kChunkRows < shape.rows ? begin + detail::kChunkRows : shape.rows;
  float* const columns = partial + offset[entry] + chunk * width;
  const Guard guard(view.guard);
  double total = 0;
  if constexpr (detail::GoesToMatrix<Term>)
    for (i64 j = threadIdx.x; j < width; j += kThreads) columns[j] = 0;
  for (i64 i = matrix * shape.rows + begin; i < matrix * shape.rows + end; ++i) {
    const auto row = pass.row(i);
    double sum = 0;
    for (i64 j = threadIdx.x; j < width; j += kThreads) {
      const i64 at = i * width + j;
      float scratch[1 + sizeof...(K)];
      const float p = *open(view.value, at, 1, scratch), g = gradient_at(view, at);
      const Term term =
          row(j, guard.passes(g) ? g : 0.0f, p, *open(view.slots[K], at, 1, scratch + 1 + K)...);
      if constexpr (detail::GoesToMatrix<Term>) {
        columns[j] += term.matrix;  // the thread's own column
        sum += static_cast<double>(term.matrix);
      }
      if constexpr (detail::GoesToTotal<Term>) total += static_cast<double>(term.total);
    }
    if constexpr (detail::GoesToMatrix<Term>) {
      sum = block_fold(sum, Sum{}, warps);
      if (threadIdx.x == 0) view.workspace.rows[i] = sum;
    }
  }
  if constexpr (detail::GoesToTotal<Term>) {
    total = block_fold(total, Sum{}, warps);
    if (threadIdx.x == 0) totals[blockIdx.x] = total;
  }
}

/// The chunks' sums, added in their order: a thread for each column, the first block also for the total.
template <class Term>
__global__ void chunks_kernel(Table table, const i64* first_chunk, const i64* offset,
                              const float* partial, const double* totals) {
  __shared__ double warps[kThreads / 32];
  const i64 entry = table.entry_of(blockIdx.x), block = blockIdx.x - table.first[entry];
  const StepView& view = table.view(entry);
  const i64 width = view.matrix.columns, chunks = detail::chunks_per_matrix(view.matrix);
  const i64 k = block * kThreads + threadIdx.x;  // matrix and column
  if (detail::GoesToMatrix<Term> && k < view.matrix.batch * width) {
    const float* const from = partial + offset[entry] + k / width * chunks * width + k % width;
    double sum = 0;
    for (i64 chunk = 0; chunk < chunks; ++chunk) sum += static_cast<double>(from[chunk * width]);
    view.workspace.columns[k] = sum;
  }
  if (!detail::GoesToTotal<Term> || block != 0) return;
  double total = 0;
  for (i64 chunk = first_chunk[entry] + threadIdx.x; chunk < first_chunk[entry + 1];
       chunk += kThreads)
    total += totals[chunk];
  total = block_fold(total, Sum{}, warps);
  if (threadIdx.x == 0) view.workspace.numbers[0] = total;
}

template <class F>
__global__ void between_kernel(Table table, F f) {
  const i64 entry = table.entry_of(blockIdx.x);
  const StepView& view = table.view(entry);
  if (!view.skipped) f(WholeBlock{}, view, blockIdx.x - table.first[entry]);
}

/// What a pass is for each parameter.
template <class Pass>
struct FormOn {
  Pass pass;
  Table table;
  detail::On<Pass>* result;
  MINIMA_HD void operator()(i64 k) const { result[k] = pass.on(table.views[table.index[k]]); }
};

/// What the host did not know when it made the views.
struct Begin {
  StepView* views;
  const Outcome* outcome;
  MINIMA_HD void operator()(i64 k) const {
    StepView& view = views[k];
    view.gradient_scale = static_cast<float>(outcome->scale);
    view.skipped = outcome->skipped;
    view.t = *view.step + 1;
    if (!view.skipped) ++*view.step;
  }
};

/// The gradient of the only view, scaled and guarded.
struct CopyGradient {
  const StepView* view;
  float* to;
  MINIMA_HD void operator()(i64 at) const {
    const float g = gradient_at(*view, at);
    to[at] = Guard(view->guard).passes(g) ? g : 0.0f;
  }
};

/// A copy of plain data in the device's memory.
template <class T>
Tensor on_device(Gpu gpu, const std::vector<T>& values) {
  Tensor bytes = Tensor::empty({static_cast<i64>(values.size() * sizeof(T))}, DType::u8);
  if (!values.empty()) std::memcpy(bytes.raw(), values.data(), values.size() * sizeof(T));
  return bytes.to(device_of(gpu));
}
template <class T>
T* at(Tensor& bytes) {
  return reinterpret_cast<T*>(bytes.raw());
}

class PassesOnGpu {
 public:
  /// Steps all views, whose workspaces are made here where the rule has need of them.
  PassesOnGpu(Gpu gpu, std::span<const StepView> views, bool workspaces, Outcome* outcome)
      : gpu_(gpu), outcome_(outcome), host_(views.begin(), views.end()) {
    i64 rows = 0, columns = 0;
    const i64 count = std::ssize(host_);
    if (workspaces) {
      for (const StepView& view : host_)
        rows += view.matrix.batch * view.matrix.rows,
            columns += view.matrix.batch * view.matrix.columns;
      sums_ = Tensor::empty({rows + columns + count * Workspace::kNumbers}, DType::f64, place());
      factors_ = Tensor::empty({2 * (rows + columns)}, DType::f32, place());
      double* sums = sums_.data<double>();
      float* factors = factors_.data<float>();
      const auto take = [](auto*& from, i64 n) { return std::exchange(from, from + n); };
      for (StepView& view : host_) {
        const i64 r = view.matrix.batch * view.matrix.rows,
                  c = view.matrix.batch * view.matrix.columns;
        Workspace& space = view.workspace;
        space.rows = take(sums, r), space.columns = take(sums, c);
        space.numbers = take(sums, Workspace::kNumbers);
        for (std::size_t k : {0, 1}) space.r[k] = take(factors, r), space.c[k] = take(factors, c);
      }
    }
    device_ = MINIMA_BACKEND::on_device(gpu, host_);
    for (i64 k = 0; k < count; ++k)
      if (host_[static_cast<std::size_t>(k)].matrix.size() > 0) index_.push_back(k);
    each(gpu_, count, Begin{at<StepView>(device_), outcome_});
  }

  Gpu device() const { return gpu_; }
  Device place() const { return device_of(gpu_); }
  const StepView* view() { return at<StepView>(device_) + index_.front(); }
  const StepView& on_host() const { return host_[static_cast<std::size_t>(index_.front())]; }
  /// Calls f(view) where somebody looks on: behind the view's pointers are the host's own copies of running means and
  /// sums. Waits for the device.
  template <class F>
  void tell(const F& f) const {
    if (index_.empty() || !on_host().probe) return;
    Tensor views = device_.to(Device{});
    StepView view = at<const StepView>(views)[index_.front()];
    std::vector<Tensor> copies;
    const auto bring = [&]<class T>(T*& from, i64 n) {
      Tensor& copy = copies.emplace_back(Tensor::empty({n * i64{sizeof(T)}}, DType::u8));
      copy_to_host(gpu_, copy.raw(), from, copy.bytes());
      from = at<T>(copy);
    };
    for (std::size_t k = 0; k < static_cast<std::size_t>(view.mean_count); ++k)
      bring(view.means[k], view.mean_sizes[k]);
    bring(view.workspace.numbers, Workspace::kNumbers);
    f(view);
  }

  template <class Kind, class F>
  void by_kind(const Kind& kind_of, const F& f) {
    std::map<std::pair<int, i64>, std::vector<i64>> kinds;
    for (i64 k : index_) {
      const int kind = kind_of(host_[static_cast<std::size_t>(k)]);
      kinds[{kind, kind < 0 ? k : 0}].push_back(k);
    }
    const std::vector<i64> all = index_;
    for (auto& [kind, indices] : kinds) {
      index_ = std::move(indices);
      f(*this, kind.first);
    }
    index_ = all;
  }

  template <class Pass, std::size_t K = 0>
  void sums(const Pass& pass, std::integral_constant<std::size_t, K> = {}) {
    using Term = typename Pass::Adds;
    constexpr bool matrix = detail::GoesToMatrix<Term>;
    std::vector<i64> offset;
    i64 size = 0, blocks = 0;
    Tensor index, first_chunk, first;
    const Table chunks = table(index, first_chunk, blocks, [&](const StepView& view) {
      const i64 n = view.matrix.batch * detail::chunks_per_matrix(view.matrix);
      offset.push_back(size);
      size += matrix ? n * view.matrix.columns : 0;
      return n;
    });
    Tensor offsets = MINIMA_BACKEND::on_device(gpu_, offset);
    Tensor partial = Tensor::empty({size}, DType::f32, place());
    Tensor totals = Tensor::empty({blocks}, DType::f64, place());
    Tensor on = formed(pass, chunks);
    [&]<std::size_t... S>(std::index_sequence<S...>) {
      launch(gpu_, sum_kernel<detail::On<Pass>, Term, S...>, blocks, kThreads, 0, chunks,
             at<const detail::On<Pass>>(on), at<const i64>(offsets), partial.data<float>(),
             totals.data<double>());
    }
    (std::make_index_sequence<K>());
    const Table columns = table(index, first, blocks, [](const StepView& view) {
      return (view.matrix.batch * (matrix ? view.matrix.columns : 1) + kThreads - 1) / kThreads;
    });
    launch(gpu_, chunks_kernel<Term>, blocks, kThreads, 0, columns, chunks.first,
           at<const i64>(offsets), partial.data<float>(), totals.data<double>());
  }

  template <class F>
  void between(const F& f) {
    i64 blocks = 0;
    Tensor index, first;
    const Table matrices =
        table(index, first, blocks, [](const StepView& view) { return view.matrix.batch; });
    launch(gpu_, between_kernel<F>, blocks, kThreads, 0, matrices, f);
  }

  template <class Formula, std::size_t K>
  void apply(const Formula& formula, std::integral_constant<std::size_t, K>) {
    i64 blocks = 0, longest = 0;
    Tensor index, first;
    const Table stretches = table(index, first, blocks, [&](const StepView& view) {
      const i64 block = block_of(view, K), stretch = block ? block : kStretch;
      longest = std::max(longest, block);
      return (view.matrix.size() + stretch - 1) / stretch;
    });
    Tensor on = formed(formula, stretches);
    [&]<std::size_t... S>(std::index_sequence<S...>) {
      launch(gpu_, update_kernel<detail::On<Formula>, S...>, blocks, kThreads,
             K * static_cast<std::size_t>(longest) * sizeof(float), stretches,
             at<const detail::On<Formula>>(on), outcome_);
    }
    (std::make_index_sequence<K>());
  }

  void copy_gradient(float* to) { each(gpu_, on_host().matrix.size(), CopyGradient{view(), to}); }

 private:
  /// The chosen views with their blocks; `index` and `first` hold its memory.
  template <class F>
  Table table(Tensor& index, Tensor& first, i64& blocks, const F& blocks_of) {
    std::vector<i64> starts{0};
    for (i64 k : index_)
      starts.push_back(starts.back() + blocks_of(host_[static_cast<std::size_t>(k)]));
    blocks = starts.back();
    index = MINIMA_BACKEND::on_device(gpu_, index_);
    first = MINIMA_BACKEND::on_device(gpu_, starts);
    return {at<StepView>(device_), at<const i64>(index), at<const i64>(first), std::ssize(index_)};
  }
  template <class Pass>
  Tensor formed(const Pass& pass, const Table& table) {
    using On = detail::On<Pass>;
    Tensor on = Tensor::empty({table.count * static_cast<i64>(sizeof(On))}, DType::u8, place());
    each(gpu_, table.count, FormOn<Pass>{pass, table, at<On>(on)});
    return on;
  }

  Gpu gpu_;
  Outcome* outcome_;
  std::vector<StepView> host_;
  std::vector<i64> index_;  ///< of the views that passes go over
  Tensor device_, sums_, factors_;
};

using StepOnGpu = void (*)(Gpu gpu, const AnyRule& rule, std::span<const StepView> views,
                           double lr_factor, Outcome* outcome);

/// The step of each rule, by the type of its AnyRule.
std::map<std::type_index, StepOnGpu>& steps_on_gpu();

template <class R>
void step_of_rule(Gpu gpu, const AnyRule& rule, std::span<const StepView> views, double lr_factor,
                  Outcome* outcome) {
  PassesOnGpu passes(gpu, views, MatrixRule<R>, outcome);
  detail::make_passes<R>(static_cast<const RuleRunner<R>&>(rule).scaled(lr_factor), passes);
}

}  // namespace MINIMA_BACKEND

template <class R, AnyGpu Gpu = MINIMA_BACKEND::Gpu>
void register_rule_on_gpu() {
  MINIMA_BACKEND::steps_on_gpu()[typeid(RuleRunner<R>)] = MINIMA_BACKEND::step_of_rule<R>;
}

}  // namespace minima

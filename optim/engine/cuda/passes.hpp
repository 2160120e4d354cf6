/// The passes of a step on a GPU, over all parameters at once. Included by `.cu` files; a program with a rule
/// of its own, in a header, says
///
///     register_rule<MyRule>();                 // in a .cpp file: nvcc makes no loops for vector units, nor traces
///     register_rule_on_gpu<MyRule>();          // in a .cu file
///
/// A launch works on a table of views. Its blocks are shared out among the parameters: each update gets a
/// stretch (whole blocks of block8, else kStretch values), each sum a chunk of 32 rows of a matrix, and what
/// stands between passes a whole matrix. What a pass is for one parameter is formed by one thread, before.
#pragma once

#include <map>
#include <typeindex>

#include "core/cuda/context.hpp"
#include "core/cuda/each.hpp"
#include "core/cuda/memory.hpp"
#include "core/search.hpp"
#include "core/tensor.hpp"
#include "optim/engine/cuda/update.hpp"
#include "optim/engine/engine.hpp"

namespace minima {
namespace MINIMA_BACKEND {

/// Blocks of threads for each multiprocessor, where they share codes: twice as many as it holds at once. More load codes more
/// often (measured on an H200: 12 take 2 %, 24 take 4 % longer), fewer end less together.
inline constexpr i64 kBlocksForEach = 6;

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

/// How many blocks of threads are to run on a multiprocessor at least: as many as no kernel spills registers for.
template <class Formula, std::size_t kSlots, bool kInBlocks>
inline constexpr unsigned kAtOnce = !kInBlocks || kSlots > 2 || !ElementwiseRule<Formula> ? 1 : 3;

/// The update of a launch; kInBlocks: of one in which a slot is in block8. The others need fewer registers.
template <class Formula, bool kInBlocks, std::size_t... K>
__global__ void __launch_bounds__(kThreads, kAtOnce<Formula, sizeof...(K), kInBlocks>)
    update_kernel(Table table, i64 stretches, const Formula* formulas, Outcome* outcome) {
  constexpr int kSlots = sizeof...(K);
  using Step = Update<Formula, K...>;
  MINIMA_SHARED(Columns<kSlots>, columns);
  MINIMA_SHARED(typename Step::Shared, shared);
  CompactCodes* const codes = MINIMA_DYNAMIC_SHARED(CompactCodes);
  float* const fresh = reinterpret_cast<float*>(codes + kSlots);  // [slots, stretch]
  const CodeMap* held[kSlots + 1] = {};
  // A block of threads has neighbouring stretches; those that lie in one parameter it does together.
  const auto first_of = [=](i64 b) { return kInBlocks ? quotient(b * stretches, gridDim.x) : b; };
  const i64 end = first_of(blockIdx.x + i64{1});
  for (i64 number = first_of(blockIdx.x), next; number < end; number = next) {
    const i64 entry = table.entry_of(number), end_of_entry = table.first[entry + 1];
    next = kInBlocks && end_of_entry < end ? end_of_entry : end;
    const StepView& view = table.view(entry);
    if (view.skipped) return;  // then all are
    const u32 block = kInBlocks ? static_cast<u32>(view.block_size(kSlots)) : 0,
              stretch = stretch_of(block, kSlots);
    const i64 begin = (number - table.first[entry]) * stretch, left = view.matrix.size() - begin,
              wanted = (next - number) * stretch;
    const u32 n = static_cast<u32>(left < wanted ? left : wanted);
    if (threadIdx.x == 0) columns.fill(view, begin);
    for (int s = 0; s < kSlots && block; ++s) {
      const SlotView& slot = view.slots[s];
      if (slot.storage != Storage::block8 || held[s] == slot.map) continue;
      held[s] = slot.map;
      constexpr u32 kWords = sizeof(CompactCodes) / sizeof(u32);
      const auto* from = reinterpret_cast<const u32*>(&slot.map->compact);
      auto* to = reinterpret_cast<u32*>(codes + s);
      for (u32 k = 4 * threadIdx.x; k < kWords; k += 4 * kThreads)
        Four<u32>::load(from + k).store(to + k);
    }
    __syncthreads();
    const Step update{columns,           formulas[entry], view.workspace.factors,
                      Guard(view.guard), codes,           outcome};
    if constexpr (kInBlocks) {
      u32 at = 0;
      if (block == kWarpBlock && columns.plain) {
        const u32 blocks = n / kWarpBlock;
        for (u32 b = threadIdx.x / 32; b < blocks; b += kThreads / 32) update.block_of_warp(b);
        at = blocks * kWarpBlock;
      }
      const u32 most = block ? stretch : n;
      for (; at < n; at += most)
        update.stretch(at, n - at < most ? n - at : most, block, shared, fresh, stretch);
    } else {
      update.stretch(0, n, 0, shared, fresh, stretch);
    }
    if (next < end) __syncthreads();  // all have read what the next parameter overwrites
  }
}

/// Rows of a matrix that a block of threads sums up.
inline constexpr i64 kChunkRows = 32;

MINIMA_HD i64 chunks_per_matrix(const MatrixShape& shape) {
  return ceil_div(shape.rows, kChunkRows);
}

/// The sums of each chunk's columns, from chunks + offset[entry] on.
struct ChunkSums {
  const i64* offset;
  float *columns, *weighted;
  double* totals;
};

/// Row sums, and the chunk's column sums and total. A thread goes down its columns, so that their sums are its own; those
/// of rows are put together by each warp, and once at the end of all. A pass that reads rows twice goes down a second time.
template <class P, std::size_t... K>
__global__ void __launch_bounds__(kThreads, sizeof...(K) == 0 ? 3 : 2)
    sum_kernel(Table table, const P* passes, ChunkSums to) {
  using Term = detail::Added<P, K...>;
  [[maybe_unused]] const detail::Merge<Term> merge;
  constexpr int kSlots = sizeof...(K), kRows = static_cast<int>(kChunkRows);
  constexpr int kTogether = 4;  // rows that are loaded before the first is added
  constexpr unsigned kWarps = kThreads / 32;
  MINIMA_SHARED(Columns<kSlots>, columns);
  MINIMA_SHARED(double[kWarps], warps);
  MINIMA_SHARED(double[kWarps][kRows], rows);
  [[maybe_unused]] MINIMA_SHARED(float[kRows], weights);
  const i64 entry = table.entry_of(blockIdx.x), chunk = blockIdx.x - table.first[entry];
  const StepView& view = table.view(entry);
  const P pass = passes[entry];
  const Factors factors = view.workspace.factors;
  const MatrixShape& shape = view.matrix;
  const i64 per_matrix = chunks_per_matrix(shape), width = shape.columns;
  const i64 begin = chunk % per_matrix * kRows, first = chunk / per_matrix * shape.rows + begin;
  const int height = static_cast<int>(shape.rows - begin < kRows ? shape.rows - begin : kRows);
  // Where its elements begin a block of block8, and what lies before the chunk's.
  const i64 block = view.block_size(kSlots), start = first * width;
  const i64 begin_of_block = block ? start / block * block : start, before = start - begin_of_block;
  if (threadIdx.x == 0) columns.fill(view, begin_of_block);
  __syncthreads();
  const Guard guard(view.guard);
  const unsigned warp = threadIdx.x / 32;
  // Calls add(row, column, whether it is within, the elements there, their used gradient, the sums of their columns) for
  // N columns at a time; puts those sums at `sums`, if it is not null.
  const auto go_down = [&]<int N>(std::integral_constant<int, N>, float* sums, const auto& add) {
    for (i64 tile = 0; tile < width; tile += N * kThreads) {
      const i64 j = tile + N * threadIdx.x;
      const bool within = j < width;
      float down[N] = {};
      for (int top = 0; top < height; top += kTogether) {
        typename Columns<kSlots>::template Loaded<N> loaded[kTogether];
        for (int r = 0; r < kTogether; ++r) {
          const i64 k = before + (top + r) * width + j;
          if (within && top + r < height)
            loaded[r] = columns.template load<N>(k, block ? quotient(k, block) : 0);
        }
        for (int r = 0; r < kTogether && top + r < height; ++r) {
          float g[N] = {};
          if (within) columns.decode_gradient(loaded[r], g);
          for (float& each : g) each = guard.passes(each) ? each : 0.0f;
          add(top + r, j, within, loaded[r], g, down);
        }
      }
      if (within && sums)
        for (int e = 0; e < N; ++e) sums[chunk * width + j + e] = down[e];
    }
  };
  const auto down_columns = [&](float* sums, const auto& add) {
    if (columns.quads && start % 4 == 0 && width % 4 == 0)
      go_down(std::integral_constant<int, 4>{}, sums, add);
    else
      go_down(std::integral_constant<int, 1>{}, sums, add);
  };
  double total = 0;
  const auto add_terms = [&]<int N>(int r, i64 j, bool within, const auto& loaded,
                                    const float(&g)[N], float(&down)[N]) {
    [[maybe_unused]] float across = 0;
    if (within) {
      float p[N], state[kSlots + 1][N], all = 0;
      decode(loaded.value, columns.value.storage, p);
      for (int s = 0; s < kSlots; ++s)
        decode(loaded.slots[s], columns.slots[s].storage,
               block ? view.slots[s].map->value : nullptr, state[s]);
      const MatrixRow row = factors.row(first + r);
      for (int e = 0; e < N; ++e) {
        const Term term = detail::added<K...>(pass, row, j + e, g[e], p[e], state[K][e]...);
        if constexpr (detail::GoesToMatrix<Term>)
          down[e] = merge(down[e], term.matrix), across = merge(across, term.matrix);
        if constexpr (detail::GoesToTotal<Term>) all += term.total;
      }
      total += static_cast<double>(all);
    }
    if constexpr (detail::GoesToMatrix<Term>) {
      const double sum = warp_fold(static_cast<double>(across), merge);
      double& of_row = rows[warp][r];
      const bool first_tile = j < N * kThreads;
      if (threadIdx.x % 32 == 0) of_row = first_tile ? sum : merge(of_row, sum);
    }
  };
  const auto of_entry = [&](float* sums) { return sums + to.offset[entry]; };
  down_columns(detail::GoesToMatrix<Term> ? of_entry(to.columns) : nullptr, add_terms);
  if constexpr (detail::GoesToMatrix<Term>) {
    __syncthreads();
    if (threadIdx.x < static_cast<unsigned>(height)) {
      double sum = 0;
      for (unsigned w = 0; w < kWarps; ++w) sum = merge(sum, rows[w][threadIdx.x]);
      view.workspace.rows[first + threadIdx.x] = sum;
      if constexpr (detail::ReadsTwice<P>)
        // Read anew: what only this needs would take registers all the while.
        weights[threadIdx.x] = passes[entry].weight(view, first + threadIdx.x, sum);
    }
  }
  if constexpr (detail::ReadsTwice<P>) {
    __syncthreads();
    down_columns(of_entry(to.weighted),
                 [&]<int N>(int r, i64, bool, const auto&, const float(&g)[N], float(&down)[N]) {
                   for (int e = 0; e < N; ++e) down[e] += pass.weighted(weights[r], g[e]);
                 });
  }
  if constexpr (detail::GoesToTotal<Term>) {
    total = block_fold(total, Sum{}, warps);
    if (threadIdx.x == 0) to.totals[blockIdx.x] = total;
  }
}

/// The chunks' sums, in a fixed order: a lane for each column, each warp every eighth chunk; the first block also the
/// total.
template <class Term, bool kWeighted>
__global__ void chunks_kernel(Table table, const i64* first_chunk, ChunkSums from) {
  constexpr unsigned kWarps = kThreads / 32;
  MINIMA_SHARED(double[kWarps], warps);
  MINIMA_SHARED(double[kWarps][32], sums);
  const i64 entry = table.entry_of(blockIdx.x), block = blockIdx.x - table.first[entry];
  const StepView& view = table.view(entry);
  [[maybe_unused]] const auto add_up = [&](const float* of_chunks, double* columns, auto merge) {
    const i64 width = view.matrix.columns, chunks = chunks_per_matrix(view.matrix);
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const i64 k = block * 32 + lane;  // matrix and column
    const bool within = k < view.matrix.batch * width;
    double sum = 0;
    if (within) {
      const i64 matrix = quotient(k, width);
      const float* const of_column =
          of_chunks + from.offset[entry] + matrix * (chunks - 1) * width + k;
      for (i64 chunk = warp; chunk < chunks; chunk += kWarps)
        sum = merge(sum, static_cast<double>(of_column[chunk * width]));
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && within) {
      for (unsigned w = 1; w < kWarps; ++w) sum = merge(sum, sums[w][lane]);
      columns[k] = sum;
    }
  };
  if constexpr (detail::GoesToMatrix<Term>)
    add_up(from.columns, view.workspace.columns, detail::Merge<Term>{});
  if constexpr (kWeighted) {
    __syncthreads();  // all have read what is overwritten
    add_up(from.weighted, view.workspace.weighted, ops::Plus{});
  }
  if (!detail::GoesToTotal<Term> || block != 0) return;
  double total = 0;
  for (i64 chunk = first_chunk[entry] + threadIdx.x; chunk < first_chunk[entry + 1];
       chunk += kThreads)
    total += from.totals[chunk];
  total = block_fold(total, Sum{}, warps);
  if (threadIdx.x == 0) view.workspace.numbers[0] = total;
}

/// A matrix has one block of threads, and may have many rows.
inline constexpr unsigned kThreadsBetween = 1024;

template <class F>
__global__ void __launch_bounds__(kThreadsBetween) between_kernel(Table table, F f) {
  const i64 entry = table.entry_of(blockIdx.x);
  const StepView& view = table.view(entry);
  if (!view.skipped) f(TeamOf<kThreadsBetween>{}, view, blockIdx.x - table.first[entry]);
}

/// What a pass is for each parameter.
template <class P, class O>
struct FormOn {
  PassOf<P, O> pass;
  Table table;
  P* result;
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
    if (!view.step) return;
    view.t = *view.step + 1;
    if (!view.skipped) ++*view.step;
  }
};

/// The gradient of the only view, scaled and guarded.
struct CopyGradient {
  const StepView* view;
  float* to;
  __device__ void operator()(i64 at) const {
    Columns<0> columns;
    columns.fill(*view, 0);
    float g[1];
    columns.decode_gradient(columns.load<1>(at, 0), g);
    to[at] = Guard(view->guard).passes(g[0]) ? g[0] : 0.0f;
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
    if (workspaces) {
      i64 sums = 0, factors = 0;
      for (const StepView& view : host_) {
        sums += Workspace::sums_for(view.matrix);
        factors += Workspace::factors_for(view.matrix);
      }
      sums_ = Tensor::empty({sums}, DType::f64, place());
      factors_ = Tensor::empty({factors}, DType::f32, place());
      double* free_sums = sums_.data<double>();
      float* free_factors = factors_.data<float>();
      for (StepView& view : host_)
        view.workspace = Workspace::take(view.matrix, free_sums, free_factors);
    }
    device_ = MINIMA_BACKEND::on_device(gpu, host_);
    const i64 count = std::ssize(host_);
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
    for (std::size_t k = 0; k < view.mean_count; ++k) bring(view.means[k], view.mean_sizes[k]);
    bring(view.workspace.numbers, Workspace::kNumbers);
    bring(view.workspace.of_matrices, view.matrix.batch);
    f(view);
  }

  template <class Kind, class F>
  void by_kind(const Kind& kind_of, const F& f) {
    std::map<std::invoke_result_t<const Kind&, const StepView&>, std::vector<i64>> kinds;
    for (i64 k : index_) kinds[kind_of(host_[static_cast<std::size_t>(k)])].push_back(k);
    const std::vector<i64> all = index_;
    for (auto& [kind, indices] : kinds) {
      index_ = std::move(indices);
      f(*this, kind);
    }
    index_ = all;
  }

  template <class P, class O, std::size_t... K>
  void sums(const PassOf<P, O>& pass, std::index_sequence<K...> = {}) {
    using Term = detail::Added<P, K...>;
    constexpr bool matrix = detail::GoesToMatrix<Term>;
    std::vector<i64> offset;
    i64 size = 0;
    const Share chunks = share([&](const StepView& view) {
      const i64 n = view.matrix.batch * chunks_per_matrix(view.matrix);
      offset.push_back(size);
      size += matrix ? n * view.matrix.columns : 0;
      return n;
    });
    Tensor offsets = MINIMA_BACKEND::on_device(gpu_, offset);
    Tensor columns = Tensor::empty({size}, DType::f32, place());
    Tensor weighted = Tensor::empty({detail::ReadsTwice<P> ? size : 0}, DType::f32, place());
    Tensor totals = Tensor::empty({chunks.blocks}, DType::f64, place());
    const ChunkSums of_chunks{at<const i64>(offsets), columns.data<float>(), weighted.data<float>(),
                              totals.data<double>()};
    Tensor on = formed(pass, chunks.table);
    launch(gpu_, sum_kernel<P, K...>, chunks.blocks, kThreads, 0, chunks.table, at<const P>(on),
           of_chunks);
    const Share together = share([](const StepView& view) {
      return matrix ? (view.matrix.batch * view.matrix.columns + 31) / 32 : 1;
    });
    launch(gpu_, chunks_kernel<Term, detail::ReadsTwice<P>>, together.blocks, kThreads, 0,
           together.table, chunks.table.first, of_chunks);
  }

  template <class F>
  void between(const F& f) {
    const Share matrices = share([](const StepView& view) { return view.matrix.batch; });
    launch(gpu_, between_kernel<F>, matrices.blocks, kThreadsBetween, 0, matrices.table, f);
  }

  template <class P, class O, std::size_t... K>
  void apply(const PassOf<P, O>& pass, std::index_sequence<K...>) {
    constexpr std::size_t slots = sizeof...(K);
    i64 shared = 0;
    const Share stretches = share([&](const StepView& view) {
      const u32 block = static_cast<u32>(view.block_size(slots)),
                stretch = stretch_of(block, slots);
      if (block) shared = std::max(shared, asked_shared(slots, stretch));
      return ceil_div(view.matrix.size(), stretch);
    });
    const DeviceLimits limits = limits_of(gpu_);
    check(shared + static_shared(slots) <= limits.shared_bytes,
          "optimizer: {} slots in 8 bits need {} bytes of shared memory, {} has {}; a smaller "
          "block_size needs less",
          slots, shared + static_shared(slots), to_string(place()), limits.shared_bytes);
    Tensor on = formed(pass, stretches.table);
    // Codes are brought to shared memory once for all stretches of a block of threads.
    const i64 grid = shared ? std::min(stretches.blocks, limits.multiprocessors * kBlocksForEach)
                            : stretches.blocks;
    launch(gpu_, shared ? update_kernel<P, (slots > 0), K...> : update_kernel<P, false, K...>, grid,
           kThreads, static_cast<std::size_t>(shared), stretches.table, stretches.blocks,
           at<const P>(on), outcome_);
  }

  void copy_gradient(float* to) { each(gpu_, on_host().matrix.size(), CopyGradient{view(), to}); }

 private:
  /// Blocks of threads, shared out among the chosen views; `memory` is the table's.
  struct Share {
    i64 blocks;
    Tensor memory;
    Table table;
  };
  template <class F>
  Share share(const F& blocks_of) {
    std::vector<i64> both = index_;
    i64 blocks = 0;
    both.push_back(0);
    for (i64 k : index_) both.push_back(blocks += blocks_of(host_[static_cast<std::size_t>(k)]));
    Tensor memory = MINIMA_BACKEND::on_device(gpu_, both);
    const i64 count = std::ssize(index_), *const index = at<const i64>(memory);
    return {blocks, memory, {at<StepView>(device_), index, index + count, count}};
  }
  template <class P, class O>
  Tensor formed(const PassOf<P, O>& pass, const Table& table) {
    Tensor on = Tensor::empty({table.count * static_cast<i64>(sizeof(P))}, DType::u8, place());
    each(gpu_, table.count, FormOn<P, O>{pass, table, at<P>(on)});
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
  const typename R::Options options = static_cast<const RuleRunner<R>&>(rule).scaled(lr_factor);
  if constexpr (ElementwiseRule<R>)
    detail::with_slots<R>(R::slots(options).size(),
                          [&](auto slots) { passes.apply(pass<R>(options), slots); });
  else
    R::step(options, passes);
}

}  // namespace MINIMA_BACKEND

template <class R, AnyGpu Gpu = MINIMA_BACKEND::Gpu>
void register_rule_on_gpu() {
  MINIMA_BACKEND::steps_on_gpu()[typeid(RuleRunner<R>)] = MINIMA_BACKEND::step_of_rule<R>;
}

}  // namespace minima

#include "optim/engine/loop.hpp"

#include <atomic>

#include "core/code_map.hpp"
#include "core/cpu/threads.hpp"

namespace minima {
namespace {

/// Rows that are not given are filled in as zeros, in scratch: no dense gradient is made.
const float* open_gradient(const GradientView& gradient, i64 begin, i64 n, float* scratch) {
  if (!gradient.ids) return open_slot(gradient.values, begin, n, scratch);
  std::fill_n(scratch, n, 0.0f);
  const i64 width = gradient.width;
  const i64* row = gradient.ids + count_below(gradient.ids, gradient.count, begin / width);
  for (; row < gradient.ids + gradient.count && *row * width < begin + n; ++row) {
    const i64 from = std::max(begin, *row * width), to = std::min(begin + n, (*row + 1) * width);
    const i64 source = (row - gradient.ids) * width + from - *row * width;
    float* const target = scratch + (from - begin);
    const float* const values = open_slot(gradient.values, source, to - from, target);
    if (values != target)  // no std::copy_n: where n is 1 GCC 14 fears that it writes beyond
      for (i64 i = 0; i < to - from; ++i) target[i] = values[i];
  }
  return scratch;
}

/// Whether every bit is 0. The first value is tested by itself: what is not all zero seldom begins with a zero.
bool all_zero(const float* values, i64 n) {
  u32 any = std::bit_cast<u32>(values[0]);
  if (any == 0)
    vectorize([&]() MINIMA_INLINE {
      for (i64 i = 0; i < n; ++i) any |= std::bit_cast<u32>(values[i]);
    });
  return any == 0;
}

/// About how many elements of block8, or of units known to be zero, are computed together: more would not stay in the first
/// cache with their weights and gradient; with fewer, what is done once for all of them would show.
constexpr i64 kBlocksTogether = 768;

/// Whether the first slots are known to be zero in the units from `known` on; n becomes the number of elements for which the
/// answer is the same.
bool known_zero(const u8* known, std::size_t slots, i64 unit, i64& n) {
  const bool zero = *known >= slots;
  const i64 most = zero ? std::min(n, kBlocksTogether) : n;
  i64 alike = unit;
  while (alike < most && (*++known >= slots) == zero) alike += unit;
  n = std::min(n, alike);
  return zero;
}

/// Notes in which units of the n elements from `begin` on the state is zero, and returns whether it is in all of them.
/// `values` are those of each slot; in block8 a scale that is not 0 tells without a look at them.
bool note_zeros(u8* known, std::span<const SlotView> slots, std::span<float* const> values,
                i64 begin, i64 unit, i64 n) {
  bool all = true;
  for (i64 done = 0; done < n; done += unit, ++known) {
    bool zero = true;
    for (std::size_t k = 0; k < values.size() && zero; ++k)
      zero = (slots[k].storage != Storage::block8 || slots[k].absmax[(begin + done) / unit] == 0) &&
             all_zero(values[k] + done, std::min(n - done, unit));
    *known = zero ? std::max(*known, static_cast<u8>(values.size())) : u8{0};
    all = all && zero;
  }
  return all;
}

/// 8-bit state begins as −0, of which the scale of a row that moves in the same block would make a small number.
void keep_zeros(const SlotView& slot, float* values, i64 n) {
  if (slot.storage != Storage::block8) return;
  for (i64 i = 0; i < n; ++i) values[i] += 0.0f;
}

struct Stretch {
  i64 begin, end;
};

/// What a step changes, cut into tasks: everything, or the given rows (in block8 with the rest of
/// their blocks, which is stored anew by the blocks' new scales). Tasks are long, for what a task begins with is not
/// prefetched; shorter with lazy rows, which are few.
std::vector<Stretch> moved_stretches(const StepView& view, std::size_t slots) {
  std::vector<Stretch> result;
  const i64 size = view.shape.size(), block = std::max<i64>(1, view.block_size(slots));
  const i64 unit = view.unit(), longest = view.skips_rows() ? 32768 : 131072;
  const i64 task = round_up(longest, unit);
  if (!view.skips_rows()) {
    for (i64 begin = 0; begin < size; begin += task)
      result.push_back({begin, std::min(size, begin + task)});
    return result;
  }
  const i64 width = view.gradient.width;
  for (i64 k = 0; k < view.gradient.count; ++k) {
    const i64 row = view.gradient.ids[k];
    const i64 begin = row * width / block * block;
    const i64 end = std::min(size, round_up((row + 1) * width, block));
    if (result.empty() || begin > result.back().end ||
        result.back().end - result.back().begin > task)
      result.push_back({result.empty() ? begin : std::max(begin, result.back().end), end});
    else
      result.back().end = end;
  }
  return result;
}

/// The formula of the probe's element, from the numbers before the step.
void trace_element(const FormulaStep& step) {
  const StepView& view = *step.view;
  if (!view.probe || view.probe->element < 0) return;
  const i64 at = view.probe->element;
  float scratch = 0;
  const float p0 = *open_slot(view.value, at, 1, &scratch);
  const float raw = *open_gradient(view.gradient, at, 1, &scratch);
  const float scaled = view.gradient_scale * raw, limit = view.clip_value;
  const float gradient = limit > 0 ? cut(scaled, limit) : scaled;
  const auto p_stays = [&](const char* why) { view.note("p", why, static_cast<double>(p0)); };
  if (!view.moves(at)) return p_stays("stays, with its state: its row is not given");
  if (!Guard(view.guard).passes(gradient))
    return p_stays("stays, and its state becomes 0: g or its square is not finite");
  Trace& trace = view.probe->trace;
  const Trace::OfConstants too(trace);
  TracedElement x{trace.input("p", p0), trace.input("g", raw), {}};
  if (view.gradient_scale != 1) x.g = named("g", Traced(view.gradient_scale) * x.g);
  if (limit > 0) x.g = named("g", Trace::record("cut", x.g, limit, gradient));
  // 8-bit state begins as −0, and for_pieces takes what it knows to be zero as 0.
  for (std::size_t k = 0; k < step.slots; ++k)
    x.s[k] = trace.input(std::string(view.slots[k].letter),
                         *open_slot(view.slots[k], at, 1, &scratch) + 0.0f);
  step.trace(at / step.width, at % step.width, x);
  for (std::size_t k = 0; k < step.slots; ++k)
    trace.name(x.s[k], std::string(view.slots[k].letter));
  trace.name(x.p, "p");
}

}  // namespace

void for_pieces(const StepView& view, std::size_t slots, i64 width, i64 begin, i64 end,
                Access access, const std::function<void(const Piece&)>& f) {
  if (begin == end) return;  // perhaps rows without a column
  const bool writes = access == Access::write, cuts = view.clip_value > 0;
  const i64 block = view.block_size(slots), unit = view.unit();
  const i64 stretch = block    ? std::max(block, kBlocksTogether / block * block)
                      : writes ? kLongestStretch / unit * unit
                               : kLongestStretch;  // sums are formed by pieces
  // The rows of scratch lie a little off a power of two apart, so that they do not collide in the cache.
  const i64 pitch = round_up(stretch, 16) + 80;
  alignas(64) float scratch[(2 + kMaxSlots) * (kLongestStretch + 80)];
  const auto scratch_of = [&](std::size_t k) { return scratch + static_cast<i64>(2 + k) * pitch; };
  u8* known = writes && slots > 0 ? view.zero_slots : nullptr;
  if (known) known += begin / unit;
  Piece piece{.i = begin / width,
              .j = begin % width,
              .scale = cuts ? 1 : view.gradient_scale,
              .guard = Guard(view.guard)};
  i64 longest = block ? block - begin % block : stretch;
  for (i64 at = begin, n; at < end; at += n, longest = stretch) {
    n = std::min(end - at, longest);
    const bool was_zero = known && known_zero(known, slots, unit, n);
    std::array<float*, kMaxSlots> state{};
    for (std::size_t k = 0; k < slots; ++k)
      state[k] = was_zero ? std::fill_n(scratch_of(k), n, 0.0f) - n
                          : open_slot(view.slots[k], at, n, scratch_of(k));
    float *const p = open_slot(view.value, at, n, scratch), *const gradient = scratch + pitch;
    const float* g = open_gradient(view.gradient, at, n, gradient);
    if (cuts) {
      // Here, for a cut within the step's loop would keep GCC from vectorizing it.
      vectorize([=, scale = view.gradient_scale, limit = view.clip_value]() MINIMA_INLINE {
        for (i64 i = 0; i < n; ++i) gradient[i] = cut(scale * g[i], limit);
      });
      g = gradient;
    }
    for (i64 done = 0; done < n; done += piece.n) {
      piece.n = std::min(n - done, width - piece.j);
      if (view.skips_rows()) {  // whose rows may be narrower: a vector's are its elements
        const i64 row = view.gradient.width;
        piece.n = std::min(piece.n, row - (at + done) % row);
      }
      piece.p = p + done, piece.g = g + done;
      for (std::size_t k = 0; k < slots; ++k) piece.s[k] = state[k] + done;
      if (!writes || view.moves(at + done))
        f(piece);
      else
        for (std::size_t k = 0; k < slots; ++k) keep_zeros(view.slots[k], piece.s[k], piece.n);
      if ((piece.j += piece.n) == width) ++piece.i, piece.j = 0;
    }
    if (!writes) continue;
    close_slot(view.value, at, n, p);
    // The scales of all slots come first, for codes wait for them. State that was zero and still is need not be stored: for
    // rows of an embedding that no text has had yet, AdamW moves 8 bytes a weight and not 24.
    for (std::size_t k = 0; k < slots; ++k) scale_slot(view.slots[k], at, n, state[k]);
    const bool zero = known && note_zeros(known, view.slots, {state.data(), slots}, at, unit, n);
    if (!(was_zero && zero))
      for (std::size_t k = 0; k < slots; ++k) {
        // While codes are found the memory is free for the next stretch: for its gradient, then its weights, as both at once
        // are too many requests. Where loops prefetch by themselves (kFetchDistance) this is not needed.
        if (block && kFetchDistance == 0 && k < 2 && !view.gradient.ids)
          fetch_slot(k == 0 ? view.gradient.values : view.value, at + n,
                     std::min(stretch, end - at - n));
        store_slot(view.slots[k], at, n, state[k]);
      }
    if (known) known += ceil_div(n, unit);
  }
}

void run(std::span<const FormulaStep> steps) {
  struct Task {
    const FormulaStep* step;
    Stretch stretch;
  };
  std::vector<Task> tasks;
  for (const FormulaStep& step : steps) {
    trace_element(step);
    for (const Stretch& stretch : moved_stretches(*step.view, step.slots))
      tasks.push_back({&step, stretch});
  }
  parallel_for(static_cast<i64>(tasks.size()), [&](i64 i) {
    const Task& task = tasks[static_cast<std::size_t>(i)];
    const StepView& view = *task.step->view;
    LargestWeights weights;
    for_pieces(view, task.step->slots, task.step->width, task.stretch.begin, task.stretch.end,
               Access::write, [&](const Piece& piece) { task.step->update(piece, weights); });
    if (view.bad_weights && std::ranges::max(weights.lane) >= weight_limit(view.value.storage))
      std::atomic_ref(*view.bad_weights).store(1, std::memory_order_relaxed);
  });
}

}  // namespace minima

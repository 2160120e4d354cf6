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
    if (values != target) std::copy_n(values, to - from, target);
  }
  return scratch;
}

/// Asks for n elements early.
void prefetch(const SlotView& slot, i64 begin, i64 n) {
  const i64 bytes = bytes_each(slot.storage);
  const char* const from = static_cast<const char*>(slot.values) + begin * bytes;
  for (i64 i = 0; i < n * bytes; i += 64) __builtin_prefetch(from + i, 1);
}

/// Whether every bit is 0. The first value is looked at alone: what is not zero seldom begins with one.
bool all_zero(const float* values, i64 n) {
  u32 any = std::bit_cast<u32>(values[0]);
  if (any == 0)
    vectorize([&]() MINIMA_INLINE {
      for (i64 i = 0; i < n; ++i) any |= std::bit_cast<u32>(values[i]);
    });
  return any == 0;
}

/// Of zeros so many are computed with at a time that weights, gradient and state stay in the first cache.
constexpr i64 kZeroStretch = 512;

/// Whether the first slots are known to be zero from `at` on; n becomes the number of elements of which that holds alike.
bool known_zero(const StepView& view, std::size_t slots, i64 at, i64& n) {
  if (!view.zero_slots || slots == 0) return false;
  const auto zero = [&](i64 unit) { return view.zero_slots[unit] >= slots; };
  const i64 unit = view.unit(), first = at / unit;
  i64 next = first + 1;
  const i64 end = zero(first) ? std::min(at + n, first * unit + kZeroStretch) : at + n;
  while (next * unit < end && zero(next) == zero(first)) ++next;
  n = std::min(n, next * unit - at);
  return zero(first);
}

/// Stores the state of n elements, `values` of each slot, and notes where it is zero. What was zero and still is
/// lies there already: of an embedding's rows that no text has had yet, AdamW moves 8 bytes a weight and not 24.
void close_state(const StepView& view, std::span<float* const> values, i64 begin, i64 n,
                 bool was_zero) {
  const i64 unit = view.zero_slots ? view.unit() : n;
  for (i64 done = 0, count; done < n; done += count) {
    count = std::min(n - done, unit);
    const bool zero = view.zero_slots && std::ranges::all_of(values, [&](const float* slot) {
                        return all_zero(slot + done, count);
                      });
    if (view.zero_slots) {
      u8& known = view.zero_slots[(begin + done) / unit];
      known = zero ? std::max(known, static_cast<u8>(values.size())) : u8{0};
    }
    if (zero && was_zero) continue;
    for (std::size_t k = 0; k < values.size(); ++k)
      close_slot(view.slots[k], begin + done, count, values[k] + done);
  }
}

struct Stretch {
  i64 begin, end;
};

/// What a step changes, cut into tasks: everything, or the given rows (in block8 with the rest of
/// their blocks, which stay as they are).
std::vector<Stretch> moved_stretches(const StepView& view, std::size_t slots) {
  std::vector<Stretch> result;
  const i64 size = view.shape.size(), block = std::max<i64>(1, view.block_size(slots));
  const i64 unit = view.unit(), task = (32768 + unit - 1) / unit * unit;
  if (!view.skips_rows()) {
    for (i64 begin = 0; begin < size; begin += task)
      result.push_back({begin, std::min(size, begin + task)});
    return result;
  }
  const i64 width = view.gradient.width;
  for (i64 k = 0; k < view.gradient.count; ++k) {
    const i64 row = view.gradient.ids[k];
    const i64 begin = row * width / block * block;
    const i64 end = std::min(size, ((row + 1) * width + block - 1) / block * block);
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
  const auto run = [&](Trace& trace, const NameConstant& name) {
    const Trace::OfConstants too(trace);
    TracedElement x{trace.input("p", p0), trace.input("g", raw), {}};
    if (view.gradient_scale != 1) x.g = named("g", Traced(view.gradient_scale) * x.g);
    if (limit > 0) x.g = named("g", Trace::record("cut", x.g, limit, gradient));
    // 8-bit state begins as −0, and for_pieces takes zeros as 0.
    for (std::size_t k = 0; k < step.slots; ++k)
      x.s[k] = trace.input(std::string(view.slots[k].letter),
                           *open_slot(view.slots[k], at, 1, &scratch) + 0.0f);
    step.trace(at / step.width, at % step.width, x, name);
    for (std::size_t k = 0; k < step.slots; ++k)
      trace.name(x.s[k], std::string(view.slots[k].letter));
    trace.name(x.p, "p");
  };
  run(view.probe->trace, [](const char*, float&) {});
  Trace marked;
  std::vector<float> marks;
  std::vector<Trace::Constant> constants;
  run(marked, [&](const char* letter, float& constant) {
    constants.push_back({letter, constant});
    constant = marks.emplace_back(4194304.0f + static_cast<float>(marks.size()));
  });
  view.probe->trace.take_letters(marked, marks, std::move(constants));
}

}  // namespace

void for_pieces(const StepView& view, std::size_t slots, i64 width, i64 begin, i64 end,
                Access access, const std::function<void(const Piece&)>& f) {
  const i64 block = view.block_size(slots), unit = view.unit();
  const i64 stretch = block                    ? block
                      : access == Access::read ? kLongestStretch  // sums are formed by pieces
                                               : kLongestStretch / unit * unit;
  // Rows of scratch are a little apart from a power of two, so that they do not meet in the cache.
  const i64 pitch = (stretch + 15) / 16 * 16 + 80;
  alignas(64) float scratch[(2 + kMaxSlots) * (kLongestStretch + 80)];
  const auto scratch_of = [&](std::size_t k) { return scratch + static_cast<i64>(2 + k) * pitch; };
  for (i64 at = begin, n; at < end; at += n) {
    n = std::min(end - at, block ? block - at % block : stretch);
    const bool was_zero = access == Access::write && known_zero(view, slots, at, n);
    std::array<float*, kMaxSlots> state{};
    for (std::size_t k = 0; k < slots; ++k) {
      const bool in_place = view.slots[k].storage == Storage::fp32 && !was_zero;
      state[k] = in_place ? static_cast<float*>(view.slots[k].values) + at : scratch_of(k);
      if (was_zero) std::fill_n(state[k], n, 0.0f);
    }
    float *const p = open_slot(view.value, at, n, scratch), *const cuts = scratch + pitch;
    const float* g = open_gradient(view.gradient, at, n, cuts);
    float scale = view.gradient_scale;
    if (const float limit = view.clip_value; limit > 0) {
      // Here, for a cut within the step's loop would keep GCC from vectorizing it.
      vectorize([=]() MINIMA_INLINE {
        for (i64 i = 0; i < n; ++i) cuts[i] = cut(scale * g[i], limit);
      });
      g = cuts, scale = 1;
    }
    // A block's encoding would leave the memory idle; the weights come first, as requests wait for one another too.
    const i64 next = block ? std::min(stretch, end - at - n) : 0;
    prefetch(view.value, at + n, next);
    for (i64 done = 0, count; done < n; done += count) {
      const i64 i = (at + done) / width, j = (at + done) % width;
      count = std::min(n - done, width - j);
      Piece piece{i, j, count, p + done, g + done, scale, Guard(view.guard), {}};
      for (std::size_t k = 0; k < slots; ++k)
        piece.s[k] = was_zero ? state[k] + done
                              : open_slot(view.slots[k], at + done, count, state[k] + done);
      if (access == Access::read || view.moves(at + done)) f(piece);
    }
    if (access == Access::read) continue;
    if (view.bad_weights && block8::loops().largest(p, n) >= weight_limit(view.value.storage))
      std::atomic_ref(*view.bad_weights).store(1, std::memory_order_relaxed);
    if (!view.gradient.ids) prefetch(view.gradient.values, at + n, next);
    if (!was_zero)
      for (std::size_t k = 0; k < slots; ++k) prefetch(view.slots[k], at + n, next);
    close_slot(view.value, at, n, p);
    close_state(view, {state.data(), slots}, at, n, was_zero);
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
    const auto& [step, stretch] = tasks[static_cast<std::size_t>(i)];
    for_pieces(*step->view, step->slots, step->width, stretch.begin, stretch.end, Access::write,
               step->update);
  });
}

}  // namespace minima

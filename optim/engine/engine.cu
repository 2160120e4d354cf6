#include "optim/clip.hpp"
#include "optim/engine/cuda/passes.hpp"
#include "optim/rules.hpp"

namespace minima {
namespace MINIMA_BACKEND {
namespace {

constexpr i64 kNormChunk = 64 * kThreads;

/// One chunk of one part: what it adds to the norm. A thread has four sums, and four times four values under way.
template <class N>
__global__ void norm_kernel(const NormPart* parts, const i64* first, i64 count, double* terms) {
  MINIMA_SHARED(double[kThreads / 32], warps);
  const N norm;
  const i64 entry = entry_of(blockIdx.x, first, count);
  const SlotView& slot = parts[entry].values;
  const i64 begin = (blockIdx.x - first[entry]) * kNormChunk, left = parts[entry].size - begin;
  const u32 n = static_cast<u32>(left < kNormChunk ? left : kNormChunk);
  const Place values = Place::of(slot, begin);
  double sums[4] = {};
  each_quad(n, takes_quads(slot), [&]<int W>(std::integral_constant<int, W>, u32 k) {
    float x[W];
    decode(load<W>(values, k), values.storage, x);
    for (int e = 0; e < W; ++e) sums[e] = norm(sums[e], norm.term(static_cast<double>(x[e])));
  });
  const double sum = block_fold(norm(norm(sums[0], sums[1]), norm(sums[2], sums[3])), norm, warps);
  if (threadIdx.x == 0) terms[blockIdx.x] = sum;
}

/// From the chunks' terms to what becomes of the step.
template <class N>
struct Decide {
  i64 count;
  const double* terms;
  OutcomeOptions options;
  Outcome* outcome;
  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64) const {
    const N norm;
    const double found = norm.finish(
        team.fold(count, 0.0, norm, [terms = terms](i64 k) MINIMA_INLINE { return terms[k]; }));
    if (team.leads()) *outcome = outcome_of(found, options);
  }
};

template <class N>
void measure_as(Gpu gpu, std::span<const NormPart> parts, const OutcomeOptions& options,
                Outcome* outcome) {
  std::vector<i64> starts{0};
  for (const NormPart& part : parts)
    starts.push_back(starts.back() + ceil_div(part.size, kNormChunk));
  const i64 blocks = starts.back();
  Tensor terms = Tensor::empty({blocks}, DType::f64, device_of(gpu));
  if (blocks > 0) {
    Tensor table = on_device(gpu, std::vector<NormPart>(parts.begin(), parts.end()));
    Tensor first = on_device(gpu, starts);
    launch(gpu, norm_kernel<N>, blocks, kThreads, 0, at<const NormPart>(table),
           at<const i64>(first), std::ssize(parts), terms.data<double>());
  }
  each_row(gpu, 1, blocks, Decide<N>{blocks, terms.data<double>(), options, outcome});
}

template <class... R>
std::map<std::type_index, StepOnGpu> steps_of(Rules<R...>) {
  return {{typeid(RuleRunner<R>), step_of_rule<R>}...};
}

}  // namespace

std::map<std::type_index, StepOnGpu>& steps_on_gpu() {
  static std::map<std::type_index, StepOnGpu> steps = steps_of(BuiltInRules{});
  return steps;
}

}  // namespace MINIMA_BACKEND

using namespace MINIMA_BACKEND;

template <>
void measure(Gpu gpu, std::span<const NormPart> parts, Norm norm, const OutcomeOptions& options,
             Outcome* outcome) {
  with_norm(norm, [&]<class N>(const N&) { measure_as<N>(gpu, parts, options, outcome); });
}

template <>
void step(Gpu gpu, const AnyRule& rule, std::span<StepView> views, double lr_factor,
          Outcome* outcome) {
  const auto found = steps_on_gpu().find(typeid(rule));
  check(found != steps_on_gpu().end(),
        "optimizer: this rule has no kernel; a program with a rule of its own calls "
        "register_rule_on_gpu in a .cu file (optim/engine/cuda/passes.hpp)");
  if (!views.empty()) found->second(gpu, rule, views, lr_factor, outcome);
}

}  // namespace minima

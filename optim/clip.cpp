#include "optim/clip.hpp"

#include "core/cpu/simd.hpp"
#include "core/dtype.hpp"
#include "core/on_device.hpp"
#include "core/ops/row.hpp"
#include "core/ops/together.hpp"
#include "optim/storage/slot.hpp"

namespace minima {
namespace {

template <class N>
double fold(std::span<const NormPart> parts, const N& norm) {
  constexpr i64 kChunk = 65536;
  // Parts of a chunk that are read side by side: from one stream a processor prefetches less than its memory could deliver.
  constexpr i64 kStreams = 4;
  struct Task {
    const SlotView* x;
    i64 begin, n;
  };
  std::vector<Task> tasks;
  for (const NormPart& part : parts)
    for (i64 begin = 0; begin < part.size; begin += kChunk)
      tasks.push_back({&part.values, begin, std::min(kChunk, part.size - begin)});
  std::vector<double> results(tasks.size());
  parallel_for(static_cast<i64>(tasks.size()), [&](i64 i) {
    const auto [x, begin, n] = tasks[static_cast<std::size_t>(i)];
    double& result = results[static_cast<std::size_t>(i)];
    const auto run = [&, n = n]<class T>(const T* values) {
      const i64 part = n / kStreams;
      vectorize([&]() MINIMA_INLINE {
        const auto term = [&](i64 j) MINIMA_INLINE {
          return norm.term(static_cast<double>(static_cast<float>(values[j])));
        };
        result = ops::row_fold(
            part, 0.0, norm,
            [&](i64 j) MINIMA_INLINE {
              return norm(norm(term(j), term(j + part)),
                          norm(term(j + 2 * part), term(j + 3 * part)));
            },
            [&](i64 j) MINIMA_INLINE {
              for (i64 stream = 0; stream < kStreams; ++stream)
                fetch_ahead(values + j + stream * part);
            });
        for (i64 j = kStreams * part; j < n; ++j) result = norm(result, term(j));
      });
    };
    if (x->storage == Storage::bf16)
      run(static_cast<const bf16*>(x->values) + begin);
    else
      run(static_cast<const float*>(x->values) + begin);
  });
  double sum = 0;
  for (double result : results) sum = norm(sum, result);
  return norm.finish(sum);
}

}  // namespace

void measure(Cpu, std::span<const NormPart> parts, Norm norm, const OutcomeOptions& options,
             Outcome* outcome) {
  const double found = with_norm(norm, [&](const auto& terms) { return fold(parts, terms); });
  *outcome = outcome_of(found, options);
}

double norm_of(Device device, std::span<const NormPart> parts, Norm norm) {
  Tensor outcome = Tensor::empty({sizeof(Outcome)}, DType::u8, device);
  on_device(device, [&](auto where) {
    measure(where, parts, norm, {}, reinterpret_cast<Outcome*>(outcome.raw()));
  });
  return read_outcome(outcome).norm;
}

double global_norm(std::span<Parameter* const> parameters, Norm norm, double scale) {
  std::vector<NormPart> parts;
  Tensor first;
  for (const Parameter* parameter : parameters) {
    if (!parameter->gradient) continue;
    const Tensor& values = parameter->gradient.values();
    if (!first.defined()) first = values;
    ops::check_together("global_norm", first, values);
    parts.push_back({float_view(values, "gradient", parameter->name), values.size()});
  }
  return first.defined() ? std::abs(scale) * norm_of(first.device(), parts, norm) : 0;
}

}  // namespace minima

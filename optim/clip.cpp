#include "optim/clip.hpp"

#include <cmath>
#include <vector>

#include "core/cpu/simd.hpp"
#include "core/on_device.hpp"
#include "core/ops/row.hpp"
#include "core/ops/together.hpp"
#include "optim/on_gpu.hpp"
#include "optim/storage/slot.hpp"

namespace minima {
namespace {

struct Task {
  const Tensor* values;
  i64 begin, end;
};

template <class N>
double fold(std::span<Parameter* const> parameters, const N& norm) {
  constexpr i64 kChunk = 65536;
  std::vector<Task> tasks;
  for (const Parameter* parameter : parameters) {
    if (!parameter->gradient) continue;
    const Tensor& values = parameter->gradient.values();
    require_cpu("global_norm", values.device());
    for (i64 begin = 0; begin < values.size(); begin += kChunk)
      tasks.push_back({&values, begin, std::min(values.size(), begin + kChunk)});
  }
  std::vector<double> results(tasks.size());
  parallel_for(static_cast<i64>(tasks.size()), [&](i64 i) {
    const Task& task = tasks[static_cast<std::size_t>(i)];
    const auto run = [&]<class T>(const T* x) {
      vectorize([&]() MINIMA_INLINE {
        const i64 n = task.end - task.begin;
        results[static_cast<std::size_t>(i)] =
            ops::row_fold(n, 0.0, norm, [&](i64 j) MINIMA_INLINE {
              return norm.term(static_cast<double>(static_cast<float>(x[j])));
            });
      });
    };
    if (task.values->dtype() == DType::bf16)
      run(task.values->data<bf16>() + task.begin);
    else
      run(task.values->data<float>() + task.begin);
  });
  double sum = 0;
  for (double result : results) sum = norm(sum, result);
  return norm.finish(sum);
}

double norm_on(Cpu, std::span<Parameter* const> parameters, Norm norm) {
  switch (norm) {
    case Norm::l1:
      return fold(parameters, AbsoluteTerms{});
    case Norm::maximum:
      return fold(parameters, LargestTerm{});
    case Norm::l2:
      break;
  }
  return fold(parameters, SquareTerms{});
}

template <AnyGpu Gpu>
double norm_on(Gpu gpu, std::span<Parameter* const> parameters, Norm norm) {
  std::vector<NormPart> parts;
  std::vector<Tensor> together;
  for (const Parameter* parameter : parameters)
    if (parameter->gradient) {
      const Tensor& values = together.emplace_back(parameter->gradient.values());
      ops::check_together("global_norm", together.front(), values);
      parts.push_back({float_view(values, "gradient", parameter->name), values.size()});
    }
  Tensor outcome = Tensor::empty({sizeof(Outcome)}, DType::u8, together.front().device());
  measure(gpu, parts, norm, {}, reinterpret_cast<Outcome*>(outcome.raw()));
  return read_outcome(outcome).norm;
}

}  // namespace

double global_norm(std::span<Parameter* const> parameters, Norm norm, double scale) {
  const auto first = std::ranges::find_if(
      parameters, [](const Parameter* parameter) { return bool(parameter->gradient); });
  if (first == parameters.end()) return 0;
  return on_device((*first)->gradient.values().device(), [&](auto device) {
    return std::abs(scale) * norm_on(device, parameters, norm);
  });
}

}  // namespace minima

#include "optim/clip.hpp"

#include <cmath>
#include <vector>

#include "core/cpu/simd.hpp"
#include "core/ops/row.hpp"

namespace minima {
namespace {

/// What a norm adds up for one entry, how, and what is made of the result.
struct Absolute {
  MINIMA_HD double term(double x) const { return x < 0 ? -x : x; }
  MINIMA_HD double operator()(double a, double b) const { return a + b; }
  double finish(double sum) const { return sum; }
};
struct Square {
  MINIMA_HD double term(double x) const { return x * x; }
  MINIMA_HD double operator()(double a, double b) const { return a + b; }
  double finish(double sum) const { return std::sqrt(sum); }
};
struct Largest {
  MINIMA_HD double term(double x) const { return x < 0 ? -x : x; }
  MINIMA_HD double operator()(double a, double b) const { return b > a || b != b ? b : a; }
  double finish(double largest) const { return largest; }
};

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

}  // namespace

double global_norm(std::span<Parameter* const> parameters, Norm norm, double scale) {
  switch (norm) {
    case Norm::l1:
      return std::abs(scale) * fold(parameters, Absolute{});
    case Norm::maximum:
      return std::abs(scale) * fold(parameters, Largest{});
    case Norm::l2:
      break;
  }
  return std::abs(scale) * fold(parameters, Square{});
}

}  // namespace minima

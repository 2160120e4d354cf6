#include "train/machine.hpp"

#include <dlfcn.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "core/ops/matmul.hpp"
#include "core/rng.hpp"
#include "core/version.hpp"

namespace minima {
namespace {

using ops::Factor, ops::Transpose;

/// The shortest of repeated calls of f: at least three, for as long as `budget` seconds last.
template <class F>
double shortest(double budget, const F& f) {
  double best = std::numeric_limits<double>::infinity();
  const Stopwatch all;
  for (int i = 0; i < 3 || all.seconds() < budget; ++i) {
    const Stopwatch one;
    f();
    best = std::min(best, one.seconds());
  }
  return best;
}

/// Computes on n threads while it lives.
class ThreadsInScope {
 public:
  explicit ThreadsInScope(int n) : before_(threads()) { set_threads(n); }
  ~ThreadsInScope() { set_threads(before_); }
  ThreadsInScope(const ThreadsInScope&) = delete;
  ThreadsInScope& operator=(const ThreadsInScope&) = delete;

 private:
  int before_;
};

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name") && line.find(": ") != std::string::npos)
      return line.substr(line.find(": ") + 2);
  return "unknown";
}

/// The word in brackets: "always [madvise] never".
std::string huge_pages() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string line;
  std::getline(file, line);
  const std::size_t begin = line.find('['), end = line.find(']');
  return end == std::string::npos ? "unknown" : line.substr(begin + 1, end - begin - 1);
}

/// Processor seconds that all but this process have had since the machine was started.
std::optional<double> seconds_of_others() {
  std::ifstream file("/proc/stat");  // cpu user nice system idle iowait irq softirq steal …
  std::string cpu;
  double busy = 0, ticks = 0;
  file >> cpu;
  for (int i = 0; i < 8 && file >> ticks; ++i)
    if (i != 3 && i != 4) busy += ticks;
  if (!file || cpu != "cpu") return {};
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return busy / static_cast<double>(sysconf(_SC_CLK_TCK)) - seconds(usage.ru_utime) -
         seconds(usage.ru_stime);
}

int cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : get_nprocs();
}

/// What the CUDA driver finds; asked through dlopen, so that no build needs it.
std::string gpus() {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!driver) return "no driver (libcuda.so.1) is installed";
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  const auto count = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDeviceGetCount"));
  const auto name = reinterpret_cast<int (*)(char*, int, int)>(dlsym(driver, "cuDeviceGetName"));
  int devices = 0;
  char first[256] = "";
  if (!init || !count || !name) return "the driver is not one that minima knows";
  if (const int error = init(0))
    return fmt::format("the driver does not start (CUDA error {})", error);
  if (count(&devices) != 0 || devices == 0) return "the driver finds no GPU";
  name(first, sizeof(first), 0);
  return fmt::format("the driver finds {} GPU{}: {}", devices, devices == 1 ? "" : "s, 0", first);
}

struct FusedMultiplyAdd {
  MINIMA_HD float operator()(float x) const { return std::fma(x, 0.999f, 0.001f); }
};
struct MultiplyThenAdd {
  MINIMA_HD float operator()(float x) const { return x * 0.999f + 0.001f; }
};

// Elements that stay in the nearest cache, steps of arithmetic on each between load and store, and
// as many of them interleaved as hide the latency of a step.
constexpr int kChains = 8, kChainElements = 256, kSteps = 16;

template <class Step>
void run_chains(i64 rounds, float* x, const Step& step) {
  vectorize([&]() MINIMA_INLINE {
    for (i64 round = 0; round < rounds; ++round) {
      for (int i = 0; i < kChainElements; ++i) {
        float y[kChains];
#pragma GCC unroll 8
        for (int c = 0; c < kChains; ++c) y[c] = x[c * kChainElements + i];
#pragma GCC unroll 16
        for (int k = 0; k < kSteps; ++k)
#pragma GCC unroll 8
          for (int c = 0; c < kChains; ++c) y[c] = step(y[c]);
#pragma GCC unroll 8
        for (int c = 0; c < kChains; ++c) x[c * kChainElements + i] = y[c];
      }
    }
  });
}

/// That of this machine; "none" where products are made without one, and there is none.
blas::Info openblas() {
  try {
    return blas::info();
  } catch (const Error&) {
    if (!ops::products_in_blocks()) throw;
    return {};
  }
}

Tensor random_matrix(i64 rows, i64 columns, RandomSequence& random) {
  Tensor x = Tensor::empty({rows, columns});
  for (float& value : x.span<float>()) value = static_cast<float>(2 * random.uniform() - 1);
  return x;
}

}  // namespace

OtherWork::OtherWork() : before_(seconds_of_others()) {}

std::optional<double> OtherWork::cores() const {
  const std::optional<double> now = seconds_of_others();
  const double passed = since_.seconds();
  if (!now || !before_ || passed <= 0) return {};
  return std::max(0.0, *now - *before_) / passed;
}

MachineInfo describe_machine() {
  struct sysinfo system {};
  sysinfo(&system);
  return {version(),
          processor_name(),
          cores(),
          threads(),
          static_cast<i64>(system.totalram) * system.mem_unit,
          widest_vector_unit(),
          vector_unit(),
          openblas(),
          ops::products_in_blocks(),
          huge_pages(),
          gpus()};
}

Json MachineInfo::to_json() const {
  return {{"minima", minima},
          {"processor", processor},
          {"cores", cores},
          {"threads", threads},
          {"memory", memory},
          {"widest_vector_unit", name(widest_unit)},
          {"vector_unit", name(unit)},
          {"blas",
           {{"library", blas.library},
            {"version", blas.version},
            {"core", blas.core},
            {"core_by_user", blas.core_by_user},
            {"library_by_user", blas.library_by_user}}},
          {"products", in_blocks ? "minima" : "OpenBLAS"},
          {"huge_pages", huge_pages},
          {"cuda", cuda}};
}

double measure_peak_gflops(int threads) {
  const ThreadsInScope scope(threads);
  constexpr i64 kRounds = 1000;
  const i64 tasks = i64{16} * threads;  // short ones, so that a thread that is late costs little
  const double seconds = shortest(0.2, [&] {
    parallel_for(tasks, [&](i64) {
      float own[kChains * kChainElements] = {};
      if (vector_unit() == VectorUnit::base) {
        run_chains(kRounds, own, MultiplyThenAdd{});  // without the instruction, fma is a slow call
      } else {
        run_chains(kRounds, own, FusedMultiplyAdd{});
      }
      asm volatile("" : : "r"(own) : "memory");  // the numbers count as used
    });
  });
  const double steps = 1.0 * kRounds * kSteps * kChains * kChainElements;
  return 2 * steps * static_cast<double>(tasks) / seconds / 1e9;
}

double measure_gflops(int threads) {
  const ThreadsInScope scope(threads);
  constexpr i64 n = 1024;
  RandomSequence random(1, "measure_gflops");
  const Tensor a = random_matrix(n, n, random), b = random_matrix(n, n, random);
  Tensor c = Tensor::zeros({n, n});
  const double seconds = shortest(0.25, [&] {
    gemm(1, Factor{a.data<float>(), n, n}, Factor{b.data<float>(), n, n}, 0, c.data<float>());
  });
  return 2.0 * n * n * n / seconds / 1e9;
}

double measure_bandwidth() {
  struct sysinfo system {};
  sysinfo(&system);
  const i64 free_bytes = static_cast<i64>(system.freeram) * system.mem_unit;
  const i64 n = std::clamp<i64>(free_bytes / 8, i64{16} << 20, i64{256} << 20) / 4;
  const Tensor b = Tensor::full({n}, 1);
  Tensor a = Tensor::zeros({n});
  float* to = a.data<float>();
  const float* scaled = b.data<float>();
  const double seconds = shortest(0.3, [&] {
    vectorize_parallel(n, [&](i64 begin, i64 end) MINIMA_INLINE {
      for (i64 i = begin; i < end; ++i) to[i] += 0.5f * scaled[i];
    });
  });
  return 3.0 * static_cast<double>(a.bytes()) / seconds / 1e9;
}

double worst_product_error() {
  RandomSequence random(1, "worst_product_error");
  double worst = 0;
  for (const auto& [m, n, k] :
       {std::array<i64, 3>{1, 67, 129}, {97, 1, 64}, {101, 103, 107}, {13, 35, 600}}) {
    const Tensor a = random_matrix(m, k, random), b = random_matrix(k, n, random);
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        // The same numbers, read as stored the other way round.
        const auto at = [&, m = m, k = k](i64 i, i64 p) {
          return double{a.data<float>()[ta ? p * m + i : i * k + p]};
        };
        const auto bt = [&, n = n, k = k](i64 p, i64 j) {
          return double{b.data<float>()[tb ? j * k + p : p * n + j]};
        };
        Tensor c = Tensor::zeros({m, n});
        gemm(1, Factor{a.data<float>(), ta ? k : m, ta ? m : k}.transposed(Transpose{ta}),
             Factor{b.data<float>(), tb ? n : k, tb ? k : n}.transposed(Transpose{tb}), 0,
             c.data<float>());
        for (i64 i = 0; i < m; ++i) {
          for (i64 j = 0; j < n; ++j) {
            double sum = 0, magnitude = 0;
            for (i64 p = 0; p < k; ++p) {
              sum += at(i, p) * bt(p, j);
              magnitude += std::abs(at(i, p) * bt(p, j));
            }
            const double error = std::abs(double{c.data<float>()[i * n + j]} - sum);
            // Written so that NaN counts as wrong.
            if (!(error <= worst * magnitude * 0x1p-24)) worst = error / (magnitude * 0x1p-24);
            if (std::isnan(worst)) return std::numeric_limits<double>::infinity();
          }
        }
      }
    }
  }
  return worst;
}

}  // namespace minima

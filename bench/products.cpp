/// What it costs that the bits are the same for any number of threads: a training step's products as minima makes
/// them (core/ops/matmul.hpp), against OpenBLAS's own calls, which split a product by the number of its threads.
///
///     products [dim layers heads hidden tokens texts [threads [rounds]]]
///
/// Each shape of the step's linear layers, forward and both gradients; the last layer has `texts` rows, but for keys and
/// values. The two take turns; the shortest calls count. `other bits`: whether a run on one thread gives other results. Prints a
/// table, then a JSON line.
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

#include "bench/arguments.hpp"
#include "bench/device.hpp"
#include "core/cpu/blas.hpp"
#include "core/cpu/threads.hpp"
#include "core/stopwatch.hpp"

using namespace minima;
using ops::Factor, ops::Transpose;

namespace {

struct Product {
  const char* name;
  i64 count;  ///< in a step
  Transpose ta, tb;
  i64 m, n, k;

  double flop() const { return 2e0 * static_cast<double>(m * n) * static_cast<double>(k); }
};

/// y = x wᵀ, dx = dy w, dw = dyᵀ x.
void add_linear(std::vector<Product>& products, i64 count, i64 rows, i64 in, i64 out) {
  products.push_back({"y = x wT", count, Transpose::no, Transpose::yes, rows, out, in});
  products.push_back({"dx = dy w", count, Transpose::no, Transpose::no, rows, in, out});
  products.push_back({"dw = dyT x", count, Transpose::yes, Transpose::no, out, in, rows});
}

/// OpenBLAS as it is without minima: products on as many threads as it is told.
class OwnThreads {
 public:
  OwnThreads() {
    void* library = dlopen(blas::info().library.c_str(), RTLD_NOW | RTLD_LOCAL);
    check(library != nullptr, "products: {} cannot be opened again", blas::info().library);
    const std::string prefix = dlsym(library, "cblas_sgemm") ? "" : "scipy_";
    sgemm_ = reinterpret_cast<Sgemm>(dlsym(library, (prefix + "cblas_sgemm").c_str()));
    set_threads_ =
        reinterpret_cast<SetThreads>(dlsym(library, (prefix + "openblas_set_num_threads").c_str()));
    check(sgemm_ && set_threads_, "products: {} has no threads of its own", blas::info().library);
  }
  void set_threads(int n) const { set_threads_(n); }
  void operator()(const Product& p, const Tensor& a, const Tensor& b, Tensor& c) const {
    const bool at = p.ta == Transpose::yes, bt = p.tb == Transpose::yes;
    const auto size = [](i64 n) { return static_cast<int>(n); };
    constexpr int kRowMajor = 101, kNo = 111, kYes = 112;
    sgemm_(kRowMajor, at ? kYes : kNo, bt ? kYes : kNo, size(p.m), size(p.n), size(p.k), 1,
           a.data<float>(), size(at ? p.m : p.k), b.data<float>(), size(bt ? p.k : p.n), 0,
           c.data<float>(), size(p.n));
  }

 private:
  using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int,
                         float, float*, int);
  using SetThreads = void (*)(int);
  Sgemm sgemm_;
  SetThreads set_threads_;
};

void by_minima(const Product& p, const Tensor& a, const Tensor& b, Tensor& c) {
  const bool at = p.ta == Transpose::yes, bt = p.tb == Transpose::yes;
  gemm(1, Factor{a.data<float>(), at ? p.k : p.m, at ? p.m : p.k}.transposed(p.ta),
       Factor{b.data<float>(), bt ? p.n : p.k, bt ? p.k : p.n}.transposed(p.tb), 0,
       c.data<float>());
}

/// Milliseconds of the shortest call among as many as take a twentieth of a second.
template <class F>
double milliseconds(const F& f) {
  double least = 1e9;
  for (const Stopwatch clock; clock.seconds() < 0.05;) {
    const Stopwatch call;
    f();
    least = std::min(least, 1000 * call.seconds());
  }
  return least;
}

bool equal_bits(const Tensor& a, const Tensor& b) {
  return std::memcmp(a.data<float>(), b.data<float>(), static_cast<std::size_t>(a.bytes())) == 0;
}

}  // namespace

int main(int argc, char** argv) try {
  i64 dim = 256, layers = 4, heads = 4, hidden = 1024, tokens = 800, texts = 32, rounds = 5;
  int all = 2;
  CLI::App app("What equal bits for any number of threads cost a training step's products.");
  bench::add_number(app, "dim", dim);
  bench::add_number(app, "layers", layers);
  bench::add_number(app, "heads", heads)->description("no product depends on them");
  bench::add_number(app, "hidden", hidden);
  bench::add_number(app, "tokens", tokens);
  bench::add_number(app, "texts", texts);
  bench::add_threads(app, all);
  bench::add_number(app, "rounds", rounds);
  CLI11_PARSE(app, argc, argv);
  // OpenBLAS reads it where it is loaded: its threads are to sleep soon after a call. By default they look for work for
  // some 20 ms, and one that holds a core then leaves the other to both of ours.
  setenv("OPENBLAS_THREAD_TIMEOUT", "4", 0);
  std::vector<Product> products;
  add_linear(products, layers - 1, tokens, dim, 3 * dim);
  add_linear(products, 1, tokens, dim, 2 * dim);
  add_linear(products, 1, texts, dim, dim);  // queries
  for (const auto& [count, rows] : {std::pair{layers - 1, tokens}, std::pair{i64{1}, texts}}) {
    add_linear(products, count, rows, dim, dim);
    add_linear(products, count, rows, dim, hidden);
    add_linear(products, count, rows, hidden, dim);
  }

  set_threads(all);
  const OwnThreads own;
  double minima_ms = 0, openblas_ms = 0, flop = 0;
  i64 minima_differs = 0, openblas_differs = 0;
  fmt::print("{:<12} {:>5} {:>6} {:>6} {:>6} {:>9} {:>9} {:>9} {:>6}  {}\n", "ms", "times", "m",
             "n", "k", "minima", "OpenBLAS", "GFLOP/s", "cost", "other bits on one thread");
  for (const Product& p : products) {
    const Tensor a = bench::noise(p.m, p.k), b = bench::noise(p.k, p.n);  // of any order
    Tensor c = Tensor::empty({p.m, p.n}), one = Tensor::empty_like(c);
    std::vector<double> by_us, by_them;
    for (i64 round = 0; round < rounds; ++round) {
      own.set_threads(1);
      by_us.push_back(milliseconds([&] { by_minima(p, a, b, c); }));
      own.set_threads(all);
      by_them.push_back(milliseconds([&] { own(p, a, b, c); }));
    }
    own.set_threads(1);
    own(p, a, b, one);
    const bool theirs_changes = !equal_bits(c, one);
    by_minima(p, a, b, c);
    parallel_for(2, [&](i64 task) {
      if (task == 0) by_minima(p, a, b, one);  // within a task nothing is split
    });
    const bool ours_changes = !equal_bits(c, one);
    minima_differs += ours_changes;
    openblas_differs += theirs_changes;

    const auto times = static_cast<double>(p.count);
    const double ours = std::ranges::min(by_us), theirs = std::ranges::min(by_them);
    minima_ms += times * ours;
    openblas_ms += times * theirs;
    flop += times * p.flop();
    fmt::print("{:<12} {:>5} {:>6} {:>6} {:>6} {:>9.3f} {:>9.3f} {:>9.0f} {:>5.1f}%  {}{}\n",
               p.name, p.count, p.m, p.n, p.k, ours, theirs, p.flop() / ours / 1e6,
               100 * (ours / theirs - 1), ours_changes ? "minima " : "",
               theirs_changes ? "OpenBLAS" : "");
  }
  fmt::print("a step: {:.1f} ms by minima, {:.1f} by OpenBLAS's own threads: {:+.1f} %\n",
             minima_ms, openblas_ms, 100 * (minima_ms / openblas_ms - 1));
  const Json result{{"minima_ms", minima_ms},
                    {"openblas_ms", openblas_ms},
                    {"gflop", flop / 1e9},
                    {"shapes", std::ssize(products)},
                    {"minima_differs", minima_differs},
                    {"openblas_differs", openblas_differs}};
  fmt::print("{}\n", result.dump());
} catch (const Error& error) {
  fmt::print(stderr, "products: {}\n", error.what());
  return 2;
}

/// Every rule against its paper: plain loops in double, on whole matrices, with nothing fused,
/// folded or shared. Options are far from their defaults, so that each term of a formula counts.
#include <cmath>
#include <functional>
#include <regex>

#include "core/files/file.hpp"
#include "optim/rules.hpp"
#include "tests/optim/conformance.hpp"
#include "tests/optim/sm3.hpp"

using namespace minima;
using namespace minima::test;

namespace {

using Vector = std::vector<double>;
/// Changes the weights by the gradient of step t (from 1); keeps its own state.
using Textbook = std::function<void(Vector& p, const Vector& g, int t)>;

Vector to_vector(const Tensor& x) {
  Vector result;
  for (float each : x.span<float>()) result.push_back(static_cast<double>(each));
  return result;
}

double rms(const Vector& x) {
  double sum = 0;
  for (double each : x) sum += each * each;
  return std::sqrt(sum / static_cast<double>(x.size()));
}

/// Six steps of `spec`, with gradients that grow, shrink and come back, beside the textbook's.
void check_against(const std::string& spec, const Shape& shape, const Textbook& textbook) {
  CAPTURE(spec);
  CAPTURE(shape);
  const Model model({{"w", shape}});
  Vector p = to_vector(model[0].value);
  Optimizer optimizer = make_optimizer(spec, model.all());
  for (int t = 1; t <= 6; ++t) {
    CAPTURE(t);
    model.set_gradients(t,
                        std::array{1.0, 8.0, 0.02, 1.0, 3.0, 0.5}[static_cast<std::size_t>(t - 1)]);
    textbook(p, to_vector(model[0].gradient.values()), t);
    optimizer.step();
    const Vector actual = to_vector(model[0].value);
    double worst = 0;
    for (std::size_t i = 0; i < p.size(); ++i)
      worst = std::max(worst, std::abs(actual[i] - p[i]) / (1 + std::abs(p[i])));
    CHECK(worst < 1e-5);
  }
}

double corrected(double beta, int t) { return 1 - std::pow(beta, t); }

/// Batches of matrices [batch, n, m] as one list of numbers, and their running means.
struct Means {
  explicit Means(const Shape& shape)
      : m(shape[-1]), n(shape.rank() > 1 ? shape[-2] : 1), matrix(shape.rank() > 1) {
    batch = shape.size() / (n * m);
    R.resize(static_cast<std::size_t>(batch * n)), C.resize(static_cast<std::size_t>(batch * m));
  }
  /// β · old + (1 − β) · the mean of x over a row; the same over a column.
  void average(const Vector& x, double beta) {
    for (std::size_t i = 0; i < R.size(); ++i) {
      double sum = 0;
      for (i64 j = 0; j < m; ++j)
        sum += x[i * static_cast<std::size_t>(m) + static_cast<std::size_t>(j)];
      R[i] = beta * R[i] + (1 - beta) * sum / static_cast<double>(m);
    }
    for (std::size_t c = 0; c < C.size(); ++c) {
      const i64 b = static_cast<i64>(c) / m, j = static_cast<i64>(c) % m;
      double sum = 0;
      for (i64 i = 0; i < n; ++i) sum += x[static_cast<std::size_t>((b * n + i) * m + j)];
      C[c] = beta * C[c] + (1 - beta) * sum / static_cast<double>(n);
    }
  }
  /// R Cᵀ/max(mean(R), floor) at one place; of a vector, C.
  double moment(std::size_t at, double floor = 0) const {
    const i64 b = static_cast<i64>(at) / (n * m), i = static_cast<i64>(at) / m,
              j = static_cast<i64>(at) % m;
    const double c = C[static_cast<std::size_t>(b * m + j)];
    if (!matrix) return c;
    double sum = 0;
    for (i64 k = 0; k < n; ++k) sum += R[static_cast<std::size_t>(b * n + k)];
    return R[static_cast<std::size_t>(i)] * c / std::max(sum / static_cast<double>(n), floor);
  }
  i64 m, n, batch;
  bool matrix;
  Vector R, C;
};

Vector squares(const Vector& x, double plus) {
  Vector result = x;
  for (double& each : result) each = each * each + plus;
  return result;
}

const Shape kShapes[] = {{130}, {12, 17}, {140, 3}, {2, 133, 5}, {3, 4200}};

}  // namespace

TEST_CASE("SGD is its textbook") {
  struct Options {
    double momentum, dampening;
    bool nesterov;
  };
  for (const Options& o : {Options{0, 0, false}, Options{0.9, 0, false}, Options{0.8, 0.4, false},
                           Options{0.7, 0, true}}) {
    Vector b(130);
    check_against(
        fmt::format("sgd:lr=0.1:weight_decay=0.2:momentum={}:dampening={}:nesterov={}", o.momentum,
                    o.dampening, o.nesterov),
        {130}, [&](Vector& p, const Vector& g, int t) {
          for (std::size_t i = 0; i < p.size(); ++i) {
            const double d = g[i] + 0.2 * p[i];
            b[i] = t == 1 ? d : o.momentum * b[i] + (1 - o.dampening) * d;
            p[i] -= 0.1 * (o.momentum == 0 ? d : o.nesterov ? d + o.momentum * b[i] : b[i]);
          }
        });
  }
}

TEST_CASE("Adam and AdamW are their textbooks, with AMSGrad and decay before or after") {
  for (const bool decoupled : {false, true})
    for (const bool amsgrad : {false, true})
      for (const bool after : {false, true}) {
        if (after && !decoupled) continue;
        Vector m(130), v(130), largest(130);
        const double lr = 0.05, b1 = 0.8, b2 = 0.6, eps = 0.3, decay = 0.5;
        check_against(
            fmt::format("{}:lr=0.05:beta1=0.8:beta2=0.6:eps=0.3:weight_decay=0.5:amsgrad={}{}",
                        decoupled ? "adamw" : "adam", amsgrad, after ? ":decay_order=after" : ""),
            {130}, [&](Vector& p, const Vector& gradient, int t) {
              for (std::size_t i = 0; i < p.size(); ++i) {
                const double g = gradient[i] + (decoupled ? 0 : decay * p[i]);
                if (decoupled && !after) p[i] -= lr * decay * p[i];
                m[i] = b1 * m[i] + (1 - b1) * g;
                v[i] = b2 * v[i] + (1 - b2) * g * g;
                largest[i] = std::max(largest[i], v[i]);
                const double moment = (amsgrad ? largest[i] : v[i]) / corrected(b2, t);
                p[i] -= lr * m[i] / corrected(b1, t) / (std::sqrt(moment) + eps);
                if (decoupled && after) p[i] -= lr * decay * p[i];
              }
            });
      }
}

TEST_CASE("Lion is its textbook") {
  Vector m(130);
  check_against("lion:lr=0.05:beta1=0.7:beta2=0.4:weight_decay=0.5", {130},
                [&](Vector& p, const Vector& g, int) {
                  for (std::size_t i = 0; i < p.size(); ++i) {
                    const double c = 0.7 * m[i] + 0.3 * g[i];
                    p[i] -= 0.05 * ((c > 0) - (c < 0) + 0.5 * p[i]);
                    m[i] = 0.4 * m[i] + 0.6 * g[i];
                  }
                });
}

TEST_CASE("Adafactor as in Transformers is its textbook") {
  enum Step { given, relative, warming };
  for (const Shape& shape : kShapes)
    for (const Step kind : {given, relative, warming})
      for (const bool scaled : {false, true})
        for (const bool averaged : {false, true}) {
          Means V(shape);
          Vector m(static_cast<std::size_t>(shape.size()));
          const double eps2 = averaged ? 1.5 : 0.4;  // above and below RMS(p)
          check_against(
              fmt::format("adafactor:eps1=0.05:eps2={}:clip_threshold=0.8:decay_rate=-0.6:weight_"
                          "decay=0.3:scale_parameter={}{}{}",
                          eps2, scaled, averaged ? ":beta1=0.7" : "",
                          kind == given     ? ":relative_step=false:lr=0.2"
                          : kind == warming ? ":warmup_init=true"
                                            : ""),
              shape, [&](Vector& p, const Vector& g, int t) {
                const double s =
                    kind == given ? 0.2
                                  : std::min(kind == warming ? 1e-6 * t : 1e-2, 1 / std::sqrt(t));
                const double alpha = s * (scaled ? std::max(eps2, rms(p)) : 1);
                V.average(squares(g, 0.05), 1 - std::pow(t, -0.6));
                Vector u = g;
                for (std::size_t i = 0; i < u.size(); ++i) u[i] /= std::sqrt(V.moment(i));
                const double clip = std::max(1.0, rms(u) / 0.8);
                for (std::size_t i = 0; i < u.size(); ++i) {
                  double move = alpha * u[i] / clip;
                  if (averaged) move = m[i] = 0.7 * m[i] + 0.3 * move;
                  p[i] -= 0.3 * alpha * p[i] + move;
                }
              });
        }
}

TEST_CASE("Adafactor's warm-up is a step of 10⁻⁶ t") {
  const Model model({{"w", {4, 4}}});
  model[0].value.fill(0);
  Optimizer optimizer =
      make_optimizer("adafactor:warmup_init=true:scale_parameter=false", model.all());
  for (int t = 1; t <= 3; ++t) {
    model[0].gradient = Tensor::full({4, 4}, 1);
    optimizer.step();
    CHECK(model[0].value.data<float>()[5] == about(-1e-6 * t * (t + 1) / 2));
  }
}

TEST_CASE("Adafactor as in torch is its textbook") {
  for (const Shape& shape : kShapes)
    for (const double eps1 : {0.05, 0.9}) {  // a floor that seldom and that often acts
      Means V(shape);
      check_against(
          fmt::format(
              "adafactor-torch:lr=0.45:beta2_decay=-0.6:eps1={}:eps2=0.4:d=1.1:weight_decay=0.3",
              eps1),
          shape, [&](Vector& p, const Vector& g, int t) {
            const double alpha = std::max(0.4, rms(p)) * std::min(0.45, 1 / std::sqrt(t));
            for (double& x : p) x -= 0.45 * 0.3 * x;
            V.average(squares(g, 0), 1 - std::pow(t, -0.6));
            Vector u = g;
            for (std::size_t i = 0; i < u.size(); ++i)
              u[i] /= std::sqrt(std::max(V.moment(i, eps1), eps1 * eps1));
            const double clip = std::max(1.0, rms(u) / 1.1);
            for (std::size_t i = 0; i < u.size(); ++i) p[i] -= alpha * u[i] / clip;
          });
    }
}

TEST_CASE("CAME is its textbook") {
  for (const Shape& shape : kShapes) {
    Means V(shape), U(shape);
    Vector m(static_cast<std::size_t>(shape.size()));
    check_against(
        "came:lr=0.05:beta1=0.7:beta2=0.6:beta3=0.4:eps1=0.05:eps2=0.03:clip_threshold=0.8:weight_"
        "decay=0.3",
        shape, [&](Vector& p, const Vector& g, int) {
          V.average(squares(g, 0.05), 0.6);
          Vector u = g;
          for (std::size_t i = 0; i < u.size(); ++i) u[i] /= std::sqrt(V.moment(i));
          const double clip = std::max(1.0, rms(u) / 0.8);
          Vector residual = u;
          for (std::size_t i = 0; i < u.size(); ++i) {
            m[i] = 0.7 * m[i] + 0.3 * u[i] / clip;
            residual[i] = u[i] / clip - m[i];
          }
          U.average(squares(residual, 0.03), 0.4);
          for (std::size_t i = 0; i < u.size(); ++i)
            p[i] -= 0.05 * (0.3 * p[i] + m[i] / (U.matrix ? std::sqrt(U.moment(i)) : 1));
        });
  }
}

TEST_CASE("AdaPM with full momentum, with none, and with a factored moment is its textbook") {
  for (const Shape& shape : kShapes)
    for (const bool none : {false, true})
      for (const bool factored : {false, true}) {
        const bool averaged = !none || shape.rank() < 2, means = factored && shape.rank() >= 2;
        Means V(shape);
        Vector m(static_cast<std::size_t>(shape.size())), v = m;
        check_against(
            fmt::format(
                "adapm:lr=0.05:beta1=0.7:beta2=0.6:eps=0.3:weight_decay=0.5:none={}:factored={}",
                none ? "w" : "", factored),
            shape, [&](Vector& p, const Vector& g, int t) {
              V.average(squares(g, 1e-30), 0.6);
              for (std::size_t i = 0; i < p.size(); ++i) {
                p[i] -= 0.05 * 0.5 * p[i];
                m[i] = 0.7 * m[i] + 0.3 * g[i];
                v[i] = 0.6 * v[i] + 0.4 * g[i] * g[i];
                const double e = averaged ? m[i] / corrected(0.7, t) : g[i];
                const double moment = (means ? V.moment(i) : v[i]) / corrected(0.6, t);
                p[i] -= 0.05 * e / (std::sqrt(moment) + 0.3);
              }
            });
      }
}

TEST_CASE("AdaPM's low-rank momentum is what its formula makes of the basis that it keeps") {
  for (const Shape& shape : {Shape{9, 14}, Shape{14, 9}})
    for (const i64 r : {i64{3}, i64{9}}) {
      CAPTURE(shape);
      CAPTURE(r);
      const Model model({{"w", shape}});
      Optimizer optimizer = make_optimizer(
          fmt::format(
              "adapm:lr=0.05:beta1=0.7:beta2=0.6:eps=0.3:weight_decay=0.5:low_rank=w:rank={}", r),
          model.all());
      const i64 n = 9, m = 14;
      const auto slot = [&](const char* name) {
        for (const PlannedSlot& each : optimizer.state().slots)
          if (each.slot == name) return to_vector(optimizer.values(each));
        FAIL("no slot " << name);
        return Vector();
      };
      // Row i, column j of the matrix whose shorter side comes first.
      const auto at = [&](i64 i, i64 j) {
        return static_cast<std::size_t>(shape[0] == n ? i * m + j : j * n + i);
      };
      const auto index = [](i64 i, i64 j, i64 width) {
        return static_cast<std::size_t>(i * width + j);
      };
      Vector p = to_vector(model[0].value), v(p.size());
      for (int t = 1; t <= 5; ++t) {
        CAPTURE(t);
        const Vector Q = slot("basis"), B = slot("coef");
        model.set_gradients(t);
        const Vector g = to_vector(model[0].gradient.values());
        optimizer.step();
        const Vector next = slot("basis"), coef = slot("coef");
        double worst = 0;
        for (i64 a = 0; a < r; ++a)  // orthonormal
          for (i64 b = 0; b < r; ++b) {
            double dot = 0;
            for (i64 i = 0; i < n; ++i) dot += next[index(i, a, r)] * next[index(i, b, r)];
            worst = std::max(worst, std::abs(dot - (a == b)));
          }
        CHECK(worst < 1e-5);
        Vector A(p.size());  // β₁ Q B + (1 − β₁) g
        for (i64 i = 0; i < n; ++i)
          for (i64 j = 0; j < m; ++j) {
            double old = 0;
            for (i64 k = 0; k < r; ++k) old += Q[index(i, k, r)] * B[index(k, j, m)];
            A[index(i, j, m)] = 0.7 * old + 0.3 * g[at(i, j)];
          }
        worst = 0;
        double off = 0;
        for (i64 k = 0; k < r; ++k) {
          for (i64 j = 0; j < m; ++j) {  // B′ = Q′ᵀ A
            double projected = 0;
            for (i64 i = 0; i < n; ++i) projected += next[index(i, k, r)] * A[index(i, j, m)];
            worst = std::max(worst, std::abs(coef[index(k, j, m)] - projected));
          }
          if (t == 1) continue;  // A Wᵀ lies in the span of Q′, for W the rows of B
          Vector y(static_cast<std::size_t>(n));
          for (i64 i = 0; i < n; ++i)
            for (i64 j = 0; j < m; ++j)
              y[static_cast<std::size_t>(i)] += A[index(i, j, m)] * B[index(k, j, m)];
          Vector left = y;
          for (i64 b = 0; b < r; ++b) {
            double along = 0;
            for (i64 i = 0; i < n; ++i)
              along += next[index(i, b, r)] * y[static_cast<std::size_t>(i)];
            for (i64 i = 0; i < n; ++i)
              left[static_cast<std::size_t>(i)] -= along * next[index(i, b, r)];
          }
          off = std::max(off, rms(left) / rms(y));
        }
        CHECK(worst < 1e-5);
        CHECK(off < 1e-4);
        worst = 0;
        const Vector actual = to_vector(model[0].value);
        for (i64 i = 0; i < n; ++i)
          for (i64 j = 0; j < m; ++j) {  // e = Q′B′/(1 − β₁ᵗ) + (g − Q′Q′ᵀg)
            double e = g[at(i, j)];
            for (i64 k = 0; k < r; ++k) {
              double along = 0;
              for (i64 l = 0; l < n; ++l) along += next[index(l, k, r)] * g[at(l, j)];
              e += next[index(i, k, r)] * (coef[index(k, j, m)] / corrected(0.7, t) - along);
            }
            double &x = p[at(i, j)], &moment = v[at(i, j)];
            moment = 0.6 * moment + 0.4 * g[at(i, j)] * g[at(i, j)];
            x -= 0.05 * 0.5 * x + 0.05 * e / (std::sqrt(moment / corrected(0.6, t)) + 0.3);
            worst = std::max(worst, std::abs(x - actual[at(i, j)]));
          }
        CHECK(worst < 1e-5);
      }
    }
}

TEST_CASE("a rule that keeps the largest of rows and columns is its textbook, and conforms") {
  register_rule<Sm3>();
  for (const Shape& shape : kShapes) {
    Means V(shape);
    check_against("sm3:lr=0.3:eps=0.2", shape, [&](Vector& p, const Vector& g, int) {
      Vector R(V.R.size()), C(V.C.size());
      for (std::size_t at = 0; at < p.size(); ++at) {
        const auto row = at / static_cast<std::size_t>(V.m),
                   column = row / static_cast<std::size_t>(V.n) * static_cast<std::size_t>(V.m) +
                            at % static_cast<std::size_t>(V.m);
        const double moment =
            (V.matrix ? std::min(V.R[row], V.C[column]) : V.C[column]) + g[at] * g[at];
        R[row] = std::max(R[row], moment), C[column] = std::max(C[column], moment);
        p[at] -= 0.3 * g[at] / (std::sqrt(moment) + 0.2);
      }
      V.R = R, V.C = C;
    });
  }
  check_conformance("sm3");
}

namespace {

template <class... R>
std::vector<std::string> names_of(Rules<R...>) {
  return {std::string(R::name)...};
}

}  // namespace

TEST_CASE("every rule of this tree has its textbook, known answers and a row in optim/README.md") {
  for (const std::string& rule : names_of(BuiltInRules{})) {
    CAPTURE(rule);
    const auto names_it = [&](const std::string& file, const std::string& pattern) {
      CAPTURE(file);
      CHECK(std::regex_search(read_file(source_folder() / file), std::regex(pattern)));
    };
    names_it("tests/optim/textbook.cpp", "\"" + rule + "[:\"]");
    names_it("tests/optim/golden_replay.cpp", "\"" + rule + "\"\\}");
    names_it("optim/README.md", "\n\\| `" + rule + "` \\| .*p ←");
  }
}

/// What every optimizer in the registry must do, on every storage. A new rule is covered by being
/// in the list; one from outside of the tree by check_conformance.
#include "tests/optim/conformance.hpp"

#include "core/each.hpp"
#include "core/ops/matmul.hpp"
#include "optim/clip.hpp"
#include "optim/engine/matrix_pass.hpp"
#include "optim/registry.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("every option of every optimizer has a value off its default that changes a step") {
  for (const std::string& name : optimizer_names()) {
    CAPTURE(name);
    const Json options = default_options(name);
    CHECK(variants(name).size() == options.size() + 2);
    for (const auto& [option, value] : options.items()) {
      CAPTURE(option);
      CHECK(std::ranges::any_of(variants(name), [&](const std::string& variant) {
        return (":" + variant).find(":" + option + "=") != std::string::npos;
      }));
    }
  }
}

TEST_CASE("the plan of every optimizer declares the bytes that are allocated") {
  for (const std::string& name : optimizer_names()) check_bytes(name);
}

TEST_CASE("every optimizer descends on a quadratic and in Rosenbrock's valley") {
  for (const std::string& name : optimizer_names()) check_descends(name);
}

TEST_CASE("saved midway and continued, every optimizer goes on bit for bit") {
  for (const std::string& name : optimizer_names()) check_resumes(name);
}

TEST_CASE("a step computes with the values that its stored state holds") {
  for (const std::string& name : optimizer_names()) check_stored_values(name);
}

TEST_CASE("a traced element has the kernel's bits, for every optimizer and storage") {
  for (const std::string& name : optimizer_names()) check_trace(name);
}

TEST_CASE("a slot is declared nonnegative where it never has a negative number, and only there") {
  for (const std::string& name : optimizer_names()) check_signs(name);
}

TEST_CASE("where the gradient is 0 decay takes no weights away from 0") {
  for (const std::string& name : optimizer_names()) check_decay(name);
}

TEST_CASE("a group's options stand over the optimizer's, every one of them") {
  for (const std::string& name : optimizer_names()) check_groups(name);
}

TEST_CASE("a schedule's factor is one on the learning rate of every optimizer") {
  for (const std::string& name : optimizer_names()) check_schedule(name);
}

TEST_CASE("what never had a gradient does not move when there is no decay") {
  for (const std::string& name : optimizer_names()) check_stands_still(name);
}

TEST_CASE("a parameter without a gradient, or not trainable, is skipped whole") {
  for (const std::string& name : optimizer_names()) check_skips(name);
}

TEST_CASE("a step whose gradient overflowed changes nothing") {
  for (const std::string& name : optimizer_names()) check_overflow(name);
}

TEST_CASE("a weight that is not finite after a step is told by it") {
  for (const std::string& name : optimizer_names()) check_bad_weights(name);
}

TEST_CASE("an entry that is not finite leaves its weight alone under the guard") {
  for (const std::string& name : optimizer_names()) check_guard(name);
}

TEST_CASE("under the guard a gradient whose square overflows is as one that is not a number") {
  for (const char* spec : {"adam", "adamw", "adamw:amsgrad=true"})
    for (const char* state : {"fp32", "bf16", "block8"}) {
      const std::string guarded =
          fmt::format("{}:non_finite_guard=true:state={}:min_8bit_size=1", spec, state);
      CAPTURE(guarded);
      const Model large({{"w", {20, 30}}}), unknown({{"w", {20, 30}}});
      Optimizer a = make_optimizer(guarded, large.all()),
                b = make_optimizer(guarded, unknown.all());
      for (int k = 0; k < 3; ++k) {
        large.set_gradients(k), unknown.set_gradients(k);
        if (k == 1) {
          large[0].gradient.mutable_values().span<float>()[7] = 1e30f;
          unknown[0].gradient.mutable_values().span<float>()[7] = std::nanf("");
        }
        a.step(), b.step();
      }
      check_same(large, unknown);
      check_same_state(a, b);
    }
}

TEST_CASE("without the guard a gradient that is not a number reaches the weight") {
  const Model model({{"v", {8}}});
  Optimizer plain = make_optimizer("adamw", model.all());
  model[0].gradient = Tensor::full({8}, std::nan(""));
  plain.step();
  CHECK(std::isnan(model[0].value.data<float>()[0]));
}

TEST_CASE("a gradient of rows is the dense gradient with zeros elsewhere, bit for bit") {
  for (const std::string& name : optimizer_names()) check_rows(name);
}

TEST_CASE("gradients may be dense and of rows in turns") {
  for (const std::string& name : optimizer_names()) check_turns(name);
}

TEST_CASE("the first step is one of 32 bits whatever state is stored in, by blocks of any size") {
  for (const std::string name : {"adamw", "adafactor:beta1=0.9", "lion"}) {
    const Model narrow({{"w", {24, 5000}}}), wide({{"w", {24, 5000}}});
    Optimizer a = make_optimizer(name + ":state=block8:block_size=100", narrow.all()),
              b = make_optimizer(name, wide.all());
    narrow.set_gradients(0), wide.set_gradients(0);
    a.step(), b.step();
    CAPTURE(name);
    check_same(narrow, wide);
  }
}

TEST_CASE("a tensor of several tasks moves as the tensors that it could be cut into") {
  constexpr i64 kSize = 300007, kCut = 384 * 256;
  for (const std::string rule : {"adamw", "sgd:momentum=0.9", "lion"})
    for (const char* state : {"fp32", "bf16", "block8"}) {
      const std::string spec = rule + ":state=" + state;
      CAPTURE(spec);
      const Model whole({{"w", {kSize}}});
      std::vector<ParameterShape> shapes;
      for (i64 begin = 0; begin < kSize; begin += kCut)
        shapes.push_back({fmt::format("w{}", begin), {std::min(kCut, kSize - begin)}});
      const Model pieces(shapes);
      const auto piece_of = [=](const Tensor& x, std::size_t i) {
        const i64 begin = static_cast<i64>(i) * kCut;
        return x.rows(begin, std::min(begin + kCut, kSize)).clone();
      };
      for (std::size_t i = 0; i < shapes.size(); ++i) pieces[i].value = piece_of(whole[0].value, i);
      Optimizer a = make_optimizer(spec, whole.all()), b = make_optimizer(spec, pieces.all());
      for (int k = 0; k < 3; ++k) {
        whole.set_gradients(k);
        for (std::size_t i = 0; i < shapes.size(); ++i)
          pieces[i].gradient = piece_of(whole[0].gradient.values(), i);
        a.step(), b.step();
      }
      for (std::size_t i = 0; i < shapes.size(); ++i)
        CHECK(same_bits(pieces[i].value, piece_of(whole[0].value, i)));
    }
}

TEST_CASE("in a table of several tasks a gradient of rows is the dense one, bit for bit") {
  for (const std::string rule : {"adamw", "sgd:momentum=0.9", "lion"})
    for (const char* state : {"fp32", "bf16", "block8"})
      check_rows_of(rule + ":state=" + state, {{"table", {3000, 100}}}, {0, 5, 1310, 1311, 2999});
}

TEST_CASE("every optimizer refuses bad options by name") {
  for (const std::string& name : optimizer_names()) check_refusals(name);
}

TEST_CASE("scaling and clipping are folded into the step") {
  for (const std::string spec :
       {"sgd:lr=0.1", "adamw", "adafactor", "came", "adamw8bit:min_8bit_size=1"}) {
    CAPTURE(spec);
    const Model folded({{"w", {30, 40}}}), apart({{"w", {30, 40}}});
    Optimizer a = make_optimizer(spec, folded.all()), b = make_optimizer(spec, apart.all());
    folded.set_gradients(0, 1024), apart.set_gradients(0, 1024);
    const StepReport report = a.step({.clip_norm = 0.5, .gradient_scale = 1.0 / 1024});
    CHECK(report.clipped);
    CHECK(*report.grad_norm == doctest::Approx(global_norm(apart.all()) / 1024).epsilon(1e-9));
    const float factor = static_cast<float>(0.5 / (*report.grad_norm + 1e-6) / 1024);
    for (float& g : apart[0].gradient.mutable_values().span<float>()) g *= factor;
    b.step();
    check_close(folded[0].value, apart[0].value, {1e-7, 1e-6});
    CHECK_FALSE(a.step({.clip_norm = 1e9, .gradient_scale = 1.0 / 1024}).clipped);
    CHECK_FALSE(a.step().grad_norm.has_value());
  }
}

TEST_CASE(
    "clip_value cuts each entry of the scaled gradient, in every kind of pass, and NaN stays") {
  for (const std::string spec : {"sgd:lr=0.1", "adamw", "adafactor", "adafactor-torch", "came",
                                 "adapm:low_rank=w", "adamw8bit:min_8bit_size=1"}) {
    CAPTURE(spec);
    const Model folded({{"w", {30, 40}}}), apart({{"w", {30, 40}}});
    Optimizer a = make_optimizer(spec, folded.all()), b = make_optimizer(spec, apart.all());
    for (int k = 0; k < 2; ++k) {
      folded.set_gradients(k, 8), apart.set_gradients(k, 8);
      a.step({.clip_value = 0.25, .gradient_scale = 0.125});
      for (float& g : apart[0].gradient.mutable_values().span<float>())
        g = std::clamp(0.125f * g, -0.25f, 0.25f);
      b.step();
    }
    check_same(folded, apart);
    check_same_state(a, b);
  }
  const Model model({{"v", {8}}});
  Optimizer optimizer = make_optimizer("sgd:lr=1", model.all());
  model[0].gradient = Tensor::full({8}, std::nan(""));
  optimizer.step({.clip_value = 1});
  CHECK(std::isnan(model[0].value.data<float>()[0]));
}

namespace {

enum class Place { outside, inside };
constexpr std::string_view kPlaces[] = {"outside", "inside"};
std::span<const std::string_view> choices(Place) { return kPlaces; }

/// From outside of the tree: RMSProp (Tieleman, Hinton 2012), with a momentum that it may do without,
/// and ε outside of the root, as in PyTorch, or inside, as in TensorFlow.
struct RmsProp {
  static constexpr std::string_view name = "rmsprop_elsewhere";
  struct Options {
    double lr = 1e-2, alpha = 0.99, eps = 1e-8, momentum = 0;
    Place eps_place = Place::outside;
    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"alpha", &Options::alpha, below_one},
                        Field{"eps", &Options::eps, nonnegative},
                        Field{"momentum", &Options::momentum, below_one},
                        Field{"eps_place", &Options::eps_place}};
    }
  };
  static std::vector<Slot> slots(const Options& o) {
    std::vector<Slot> slots{{"square_avg", "v", Sign::nonnegative}};
    if (o.momentum > 0) slots.push_back({"momentum_buffer", "b"});
    return slots;
  }
  static bool keeps_step(const Options&) { return false; }
  static RmsProp prepare(const Options& o, i64) {
    const auto f = [](double x) { return static_cast<float>(x); };
    return {f(o.lr),  f(o.alpha),    f(1 - o.alpha),
            f(o.eps), f(o.momentum), o.eps_place == Place::inside};
  }
  template <class T>
  MINIMA_HD T update(T g, T& v) const {
    v = alpha * v + one_minus_alpha * g * g;
    return inside ? T(g / sqrt(v + eps)) : T(g / (sqrt(v) + eps));
  }
  template <class T>
  MINIMA_HD void operator()(T& p, T g, T& v) const {
    p = p - lr * update(g, v);
  }
  template <class T>
  MINIMA_HD void operator()(T& p, T g, T& v, T& b) const {
    b = momentum * b + update(g, v);
    p = p - lr * b;
  }
  float lr, alpha, one_minus_alpha, eps, momentum;
  bool inside;
};

/// From outside of the tree, of no state; its first step moves nothing, as ADOPT's (Taniguchi et al. 2024), and an option
/// counts from its sixth on, as RAdam's β₂ (Liu et al. 2020).
struct Late {
  static constexpr std::string_view name = "late";
  struct Options {
    double lr = 1e-2, later = 1;
    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"later", &Options::later, nonnegative}};
    }
  };
  static std::vector<Slot> slots(const Options&) { return {}; }
  static Late prepare(const Options& o, i64 t) {
    return {to_float(t == 1 ? 0 : t < 6 ? o.lr : o.lr * o.later)};
  }
  template <class T>
  MINIMA_HD void operator()(T& p, T g) const {
    p = p - lr * g;
  }
  float lr;
};

/// From outside of the tree, a matrix rule: each row of the gradient at length 1, by the running
/// mean of its squares; decay as in AdamW.
struct RowNormalized {
  static constexpr std::string_view name = "row_normalized";
  struct Options {
    double lr = 1e-2, beta2 = 0.9, weight_decay = 0;
    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"beta2", &Options::beta2, below_one},
                        Field{"weight_decay", &Options::weight_decay, nonnegative}};
    }
  };
  struct Square {
    MINIMA_HD static Square prepare(const Options&, const StepView&) { return {}; }
    MINIMA_HD Term operator()(const MatrixRow&, i64, float g, float) const { return {g * g}; }
  };
  /// R, and the step size of each row.
  struct Rows {
    Options o;
    template <class Team>
    MINIMA_HD void operator()(const Team& team, const StepView& x, i64 matrix) const {
      float *const R = x.means[0], *const step = x.workspace.factors.r[0];
      team.each(x.matrix.rows, [&](i64 row) MINIMA_INLINE {
        const i64 i = matrix * x.matrix.rows + row;
        R[i] = static_cast<float>(o.beta2 * static_cast<double>(R[i]) +
                                  (1 - o.beta2) * x.workspace.rows[i]);
        step[i] = R[i] > 0 ? static_cast<float>(o.lr) / std::sqrt(R[i]) : 0.0f;
      });
    }
  };
  struct Move {
    float keep;
    MINIMA_HD static Move prepare(const Options& o, const StepView&) {
      return {static_cast<float>(1 - o.lr * o.weight_decay)};
    }
    template <class T>
    MINIMA_HD void operator()(const MatrixRow& row, i64, T& p, T g) const {
      p = keep * p - row.r[0] * g;
    }
  };
  static std::vector<Slot> slots(const Options&, const ParameterShape& parameter) {
    const MatrixShape shape(parameter.shape);
    return {{"exp_avg_sq_row", "R", Sign::nonnegative, Shape{shape.batch * shape.rows}}};
  }
  template <class Passes>
  static void step(const Options& o, Passes& passes) {
    passes.sums(pass<Square>(o));
    passes.between(Rows{o});
    passes.apply(pass<Move>(o), first_slots<0>);
  }
};

/// From outside of the tree, after the manner of Muon: a momentum for each entry, and a step that mixes
/// those of a matrix. m ← β m + (1 − β) g,   p ← p − lr · m mᵀ m; of what is no matrix p ← p − lr · m
struct Cubed {
  static constexpr std::string_view name = "cubed";
  struct Options {
    double lr = 1e-3, beta = 0.9;
    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"beta", &Options::beta, below_one}};
    }
  };
  static std::vector<Slot> slots(const Options&, const ParameterShape& parameter) {
    return {{"momentum", "m", Sign::any, parameter.shape}};  // in fp32, where products can read it
  }
  static i64 temporary(const Options&, const ParameterShape& parameter) {
    const MatrixShape shape(parameter.shape);
    return 2 * shape.size() + shape.rows * shape.rows;
  }
  struct Average {
    float beta, one_minus_beta;
    const float* g;
    float* m;
    MINIMA_HD void operator()(i64 i) const { m[i] = beta * m[i] + one_minus_beta * g[i]; }
  };
  struct Direction {
    double lr;
    const float* u;
  };
  struct Move {
    float lr;
    const float* u;
    MINIMA_HD static Move prepare(const Direction& o, const StepView&) {
      return {static_cast<float>(o.lr), o.u};
    }
    template <class T>
    MINIMA_HD void operator()(const MatrixRow& row, i64 j, T& p, T) const {
      p = p - lr * T(u[row.begin + j]);
    }
    template <class F>
    void constants(const F& f, const MatrixRow& row, i64 j) {
      f("lr", lr), f("u", u[row.begin + j]);
    }
  };
  /// Of one parameter.
  template <class Passes>
  static void step_alone(const Options& o, Passes& passes) {
    using ops::Factor;
    const StepView& x = passes.on_host();
    const i64 rows = x.matrix.rows, columns = x.matrix.columns;
    const auto f = [](double value) { return static_cast<float>(value); };
    const auto room = [&](i64 size) { return Tensor::empty({size}, DType::f32, passes.place()); };
    Tensor G = room(x.matrix.size()), U = room(x.matrix.size()), M = room(rows * rows);
    float *const m = x.means[0], *const u = U.data<float>(), *const mm = M.data<float>();
    passes.copy_gradient(G.data<float>());
    each(passes.device(), x.matrix.size(), Average{f(o.beta), f(1 - o.beta), G.data<float>(), m},
         1);
    if (x.shape.rank() != 2) return passes.apply(pass<Move>(Direction{o.lr, m}), first_slots<0>);
    gemm(passes.device(), 1, Factor{m, rows, columns}, Factor{m, rows, columns}.transposed(), 0,
         mm);
    gemm(passes.device(), 1, Factor{mm, rows, rows}, Factor{m, rows, columns}, 0, u);
    passes.apply(pass<Move>(Direction{o.lr, u}), first_slots<0>);
  }
  template <class Passes>
  static void step(const Options& o, Passes& passes) {
    passes.by_kind([](const StepView& x) { return x.parameter->name; },
                   [&](auto& one, const std::string&) { step_alone(o, one); });
  }
};

}  // namespace

TEST_CASE("an elementwise rule from outside of the tree conforms like those within") {
  register_rule<RmsProp>();
  check_conformance("rmsprop_elsewhere");
}

TEST_CASE("so does one that begins to move with its second step") {
  register_rule<Late>();
  check_conformance("late");
}

TEST_CASE("a matrix rule from outside of the tree conforms like those within") {
  register_rule<RowNormalized>();
  check_conformance("row_normalized");
}

TEST_CASE("a rule that multiplies matrices, from outside of the tree, conforms as well") {
  register_rule<Cubed>();
  check_conformance("cubed");
}

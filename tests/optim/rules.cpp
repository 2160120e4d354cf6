/// The formulas themselves: one source for kernel, reference and explanation; and the block
/// storage.
#include <cmath>

#include "core/code_map.hpp"
#include "optim/adamw.hpp"
#include "optim/engine/traced.hpp"
#include "optim/lion.hpp"
#include "optim/registry.hpp"
#include "optim/sgd.hpp"
#include "tests/optim/cut_momentum.hpp"
#include "tests/optim/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

/// Runs `steps` of R on 257 numbers through the optimizer, and beside it on Traced and double
/// scalars.
template <class R, int kSlots>
void check_scalars(const std::string& spec, const typename R::Options& options) {
  CAPTURE(spec);
  const Model model({{"x", {257}}});
  const Tensor start = model[0].value.clone();
  Optimizer optimizer = make_optimizer(spec, model.all());
  std::vector<std::vector<float>> gradients;
  for (int k = 0; k < 5; ++k) {
    model.set_gradients(k);
    const auto g = model[0].gradient.values().span<float>();
    gradients.emplace_back(g.begin(), g.end());
    optimizer.step();
  }
  for (std::size_t i = 0; i < 257; ++i) {
    float traced = start.data<float>()[i], traced_state[kSlots] = {};
    double exact = traced, exact_state[kSlots] = {};
    for (int k = 0; k < 5; ++k) {
      const R rule = R::prepare(options, k + 1);
      const float g = gradients[static_cast<std::size_t>(k)][i];
      Trace trace;
      Traced p = trace.input("p", traced), state[kSlots];
      for (int s = 0; s < kSlots; ++s) state[s] = trace.input("s", traced_state[s]);
      if constexpr (kSlots == 1) {
        rule(p, trace.input("g", g), state[0]);
        rule(exact, static_cast<double>(g), exact_state[0]);
      } else if constexpr (kSlots == 2) {
        rule(p, trace.input("g", g), state[0], state[1]);
        rule(exact, static_cast<double>(g), exact_state[0], exact_state[1]);
      } else {
        rule(p, trace.input("g", g), state[0], state[1], state[2]);
        rule(exact, static_cast<double>(g), exact_state[0], exact_state[1], exact_state[2]);
      }
      traced = p.value;
      for (int s = 0; s < kSlots; ++s) traced_state[s] = state[s].value;
    }
    CAPTURE(i);
    CHECK(traced == model[0].value.data<float>()[i]);
    CHECK(std::abs(exact - static_cast<double>(traced)) < 1e-5 * (1 + std::abs(exact)));
    CHECK(traced_state[0] == optimizer.tensors()[0].tensor.data<float>()[i]);
  }
}

}  // namespace

TEST_CASE("a traced step has the kernel's bits, and the double reference is near") {
  check_scalars<Sgd, 1>("sgd:lr=0.1:momentum=0.9:nesterov=true:weight_decay=0.1",
                        {.lr = 0.1, .momentum = 0.9, .nesterov = true, .weight_decay = 0.1});
  check_scalars<AdamW, 2>("adamw:lr=0.1:weight_decay=0.1", {.lr = 0.1, .weight_decay = 0.1});
  check_scalars<AdamW, 3>("adamw:lr=0.1:amsgrad=true:maximize=true",
                          {.lr = 0.1, .amsgrad = true, .maximize = true});
  check_scalars<Lion, 1>("lion:weight_decay=0.1", {.weight_decay = 0.1});
  register_rule<CutMomentum>();
  check_scalars<CutMomentum, 1>("cut_momentum:limit=0.5", {.limit = 0.5});
}

TEST_CASE("a trace prints the formula that was computed") {
  Trace trace;
  Traced p = trace.input("p", 1.5f), b = trace.input("b", 0.5f);
  const Sgd rule = Sgd::prepare({.lr = 0.5, .momentum = 0.25, .dampening = 0.5}, 2);
  rule(p, trace.input("g", 2), b);
  trace.name(b, "b'");
  CHECK(trace.expression(b) == "0.25 * b + 0.5 * (g + 0 * p)");
  CHECK(trace.expression(p) == "p - 0.5 * b'");
  CHECK(p.value == 1.5f - 0.5f * (0.25f * 0.5f + 0.5f * 2));
  const Traced a = trace.input("a", 4), c = trace.input("c", 2);
  CHECK(trace.expression(a - (c - a)) == "a - (c - a)");
  CHECK(trace.expression(sqrt(a * (a + c)) / -c) == "sqrt(a * (a + c)) / -c");
  CHECK(trace.expression(smaller(abs(c - a), larger(a, c))) == "min(abs(c - a), max(a, c))");
}

TEST_CASE("a trace knows a constant by where it lies, while the formula is traced") {
  Trace trace;
  const Traced p = trace.input("p", 3);
  float x = 2;
  const float copy = x;
  {
    const Trace::OfConstants looking(trace);
    Trace::constant("lr", x), Trace::constant("unused", copy);
    CHECK(trace.expression(x * p + 2 * p) == "lr * p + 2 * p");
  }
  REQUIRE(trace.constants().size() == 1);
  CHECK(trace.constants()[0].letter == "lr");
  x = 5;
  const Trace::OfConstants again(trace);
  CHECK(trace.expression(x * p) == "5 * p");
}

TEST_CASE(
    "a formula takes whole numbers and floats, and no double, which a kernel would compute with") {
  static_assert(requires(Traced x) { 1 - x, 0.5f * x; });
  static_assert(std::is_convertible_v<float, Traced> && std::is_convertible_v<int, Traced>);
  static_assert(!std::is_convertible_v<double, Traced>);
}

TEST_CASE("constants are formed in double and rounded once") {
  const AdamW rule = AdamW::prepare({}, 1);
  CHECK(rule.moments.one_minus_beta2 == static_cast<float>(1 - 0.999));
  CHECK(rule.moments.one_minus_beta2 != 1 - 0.999f);
  CHECK(integer_power(0.5, 10) == std::ldexp(1, -10));
  CHECK(integer_power(0.9, 0) == 1);
}

TEST_CASE("Adafactor's decay takes its whole step size, parameter scale included") {
  const Model model({{"w", {6, 5}}});
  model[0].value.fill(3);
  model[0].gradient = Tensor::zeros({6, 5});
  Optimizer optimizer = make_optimizer("adafactor:weight_decay=0.5", model.all());
  optimizer.step();  // α = 10⁻² · RMS(p) = 0.03, and the update is 0
  for (float p : model[0].value.span<float>()) CHECK(p == doctest::Approx(3 * (1 - 0.5 * 0.03)));
  optimizer = make_optimizer("adafactor:weight_decay=0.5:scale_parameter=false", model.all());
  model[0].value.fill(3);
  optimizer.step();
  for (float p : model[0].value.span<float>()) CHECK(p == doctest::Approx(3 * (1 - 0.5 * 0.01)));
}

TEST_CASE("AMSGrad's maximum keeps what is not a number, as torch.maximum does") {
  for (const char* spec : {"adam:amsgrad=true", "adamw:amsgrad=true"}) {
    const Model model({{"v", {2}}});
    Optimizer optimizer = make_optimizer(spec, model.all());
    for (const float first : {1.0f, std::nanf("")}) {
      model[0].gradient = Tensor::from(std::vector{first, 1.0f});
      optimizer.step();
    }
    for (const auto& [name, slot] : optimizer.tensors()) {
      if (name == "v/step") continue;
      CAPTURE(name);
      CHECK(std::isnan(slot.data<float>()[0]));
      CHECK(std::isfinite(slot.data<float>()[1]));
    }
  }
}

TEST_CASE("an update that is not a number anywhere moves no weight unclipped, but as in torch") {
  for (const char* spec : {"adafactor", "came:lr=1e-3", "adafactor-torch"}) {
    const Model model({{"v", {2}}});
    Optimizer optimizer = make_optimizer(spec, model.all());
    model[0].gradient = Tensor::from(std::vector{std::nanf(""), 1.0f});
    optimizer.step();
    const float* v = model[0].value.data<float>();
    CHECK(std::isnan(v[0]));
    CHECK(std::isnan(v[1]) == (std::string(spec) != "adafactor-torch"));
    const Model matrix({{"w", {3, 2}}});
    Optimizer of_matrix = make_optimizer(spec, matrix.all());
    matrix[0].gradient =
        Tensor::from(std::vector{std::nanf(""), 1.0f, 1.0f, 1.0f, 2.0f, 1.0f}).reshape({3, 2});
    of_matrix.step();
    for (const float w : matrix[0].value.span<float>()) CHECK(std::isnan(w));
  }
}

TEST_CASE("the encoding tables agree with the search, at every border and between") {
  for (const CodeMap* map : {&signed_code_map(), &unsigned_code_map()}) {
    const bool with_sign = map == &signed_code_map();
    const auto check_at = [&](u32 bits) {
      const float x = std::bit_cast<float>(bits);
      if (!(std::abs(x) <= 1) || (!with_sign && std::signbit(x))) return true;
      return map->code(bits) == slot_code(*map, x);
    };
    u32 wrong = 0;
    for (int code = 0; code + 1 < 256; ++code) {
      const u32 border = std::bit_cast<u32>((map->value[code] + map->value[code + 1]) * 0.5f);
      const u32 value = std::bit_cast<u32>(map->value[code]);
      for (u32 k = 0; k < 200; ++k)
        for (u32 bits : {border - 100 + k, value - 100 + k}) wrong += !check_at(bits);
    }
    for (u32 bits = 0; bits <= 0x3f800000u; bits += 997)
      wrong += !check_at(bits) + !check_at(bits | 0x80000000u);
    CHECK(wrong == 0);
    CHECK(map->code(0) == map->zero);
    CHECK(map->value[map->zero] == 0);
    for (float x : {HUGE_VALF, -HUGE_VALF, std::nanf(""), 2.0f})  // any bits stay inside the table
      CHECK(map->code(std::bit_cast<u32>(x)) < 256);
  }
}

TEST_CASE("what is stored in a block is within half a step of the code, and zero stays zero") {
  const i64 n = 1000, block = 256;
  const Tensor x = random_tensor({n}, "block");
  std::vector<float> values(x.span<float>().begin(), x.span<float>().end()), scratch(256);
  for (i64 i = 256; i < 512; ++i) values[static_cast<std::size_t>(i)] = 0;
  values[10] = 0;
  std::vector<u8> codes(static_cast<std::size_t>(n));
  float absmax[4];
  const SlotView slot{Storage::block8, codes.data(), absmax, block, &signed_code_map()};
  for (i64 at = 0; at < n; at += block) {
    const i64 length = std::min(block, n - at);
    close_slot(slot, at, length, values.data() + at);
    const float* decoded = open_slot(slot, at, length, scratch.data());
    for (i64 i = 0; i < length; ++i) {
      const float wanted = values[static_cast<std::size_t>(at + i)];
      CHECK(std::abs(decoded[i] - wanted) <= 0.008f * absmax[at / block]);
      if (wanted == 0) CHECK(decoded[i] == 0);
    }
  }
  CHECK(absmax[1] == 0);
  CHECK(codes[300] == slot.map->zero);
}

namespace {

/// The options of the rules below.
struct OneRate {
  double lr = 0.5;
  static constexpr auto fields() { return std::tuple{Field{"lr", &OneRate::lr, nonnegative}}; }
};

/// A rule that this tree does not know: plain gradient descent on a slot's average.
struct Outsider {
  static constexpr std::string_view name = "outsider";
  using Options = OneRate;
  static std::vector<Slot> slots(const Options&) { return {{"average"}}; }
  static Outsider prepare(const Options& o, i64) { return {static_cast<float>(o.lr)}; }
  template <class T>
  MINIMA_HD void operator()(T& p, T g, T& average) const {
    average = 0.5f * average + 0.5f * g;
    p = p - lr * average;
  }
  float lr;
};

/// Says that it needs no t, and asks for it.
struct Uncounted {
  static constexpr std::string_view name = "uncounted";
  using Options = OneRate;
  static std::vector<Slot> slots(const Options&) { return {}; }
  static bool keeps_step(const Options&) { return false; }
  static Uncounted prepare(const Options& o, i64 t) {
    return {static_cast<float>(o.lr * integer_power(2, t))};
  }
  template <class T>
  MINIMA_HD void operator()(T& p, T g) const {
    p = p - lr * g;
  }
  float lr;
};

}  // namespace

TEST_CASE("a rule from outside the tree is an optimizer like the others") {
  register_optimizer("outsider", std::make_unique<RuleRunner<Outsider>>());
  CHECK_THROWS_WITH_AS(register_rule<Outsider>(),
                       "optimizers: the name 'outsider' is taken; give the rule another", Error);
  const Model model({{"x", {5000}}});
  const Tensor start = model[0].value.clone();
  Optimizer optimizer = make_optimizer("outsider:lr=0.25:state=block8", model.all());
  CHECK(optimizer.scales() == 20);
  model.set_gradients(0);
  optimizer.step();
  for (i64 i = 0; i < 5000; ++i)
    CHECK(model[0].value.data<float>()[i] ==
          start.data<float>()[i] - 0.25f * (0.5f * model[0].gradient.values().data<float>()[i]));
}

TEST_CASE("to a rule that says it needs no t it is 0, by which a correction for bias fails") {
  register_rule<Uncounted>();
  Parameter w{"w", Tensor::full({3}, 2), Tensor::full({3}, 1)};
  make_optimizer("uncounted", std::vector<Parameter*>{&w}).step();
  CHECK(w.value.data<float>()[0] == 1.5f);
}

namespace {

/// A slot of one number in all, which only matrix rules may keep.
struct Shaped {
  static constexpr std::string_view name = "shaped";
  using Options = OneRate;
  static std::vector<Slot> slots(const Options&) { return {{"product", "μ", Sign::any, Shape{}}}; }
  static Shaped prepare(const Options&, i64) { return {}; }
  template <class T>
  MINIMA_HD void operator()(T& p, T g, T& product) const {
    p = p - g * product;
  }
};

/// An option that every optimizer has.
struct Hiding {
  static constexpr std::string_view name = "hiding";
  struct Options {
    double lr = 1, state = 0;
    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative}, Field{"state", &Options::state}};
    }
  };
  static std::vector<Slot> slots(const Options&) { return {}; }
  static Hiding prepare(const Options&, i64) { return {}; }
  template <class T>
  MINIMA_HD void operator()(T& p, T g) const {
    p = p - g;
  }
};

/// A slot of the name that the engine's count has.
struct Twice {
  static constexpr std::string_view name = "twice";
  using Options = OneRate;
  static std::vector<Slot> slots(const Options&) { return {{"step"}}; }
  static Twice prepare(const Options&, i64) { return {}; }
  template <class T>
  MINIMA_HD void operator()(T& p, T g, T&) const {
    p = p - g;
  }
};

/// Names one slot and takes none.
struct Forgetful {
  static constexpr std::string_view name = "forgetful";
  using Options = OneRate;
  static std::vector<Slot> slots(const Options&) { return {{"exp_avg"}}; }
  static Forgetful prepare(const Options&, i64) { return {}; }
  template <class T>
  MINIMA_HD void operator()(T& p, T g) const {
    p = p - g;
  }
};

}  // namespace

TEST_CASE("a rule whose formula does not take the slots that it names is refused") {
  CHECK_THROWS_WITH_AS(RuleRunner<Forgetful>().slots({"x", {4}}),
                       doctest::Contains("a number that its operator() does not take"), Error);
  CHECK_THROWS_WITH_AS(RuleRunner<Shaped>().slots({"x", {4}}),
                       doctest::Contains("'product' has a shape of its own"), Error);
}

TEST_CASE("a rule that could not be asked for, or whose options or slots collide, is refused") {
  CHECK_THROWS_WITH_AS(register_optimizer("a:b", std::make_unique<RuleRunner<Forgetful>>()),
                       doctest::Contains("no colon"), Error);
  CHECK_THROWS_WITH_AS(register_rule<Hiding>(), doctest::Contains("option 'state'"), Error);
  CHECK_THROWS_WITH_AS(plan_slots({"x", {4}}, RuleRunner<Twice>(), {}),
                       doctest::Contains("two slots named 'step'"), Error);
}

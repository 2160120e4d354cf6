/// explain shows the numbers of the real kernels.
#include "train/explain.hpp"

#include <set>
#include <sstream>

#include "core/text/utf8.hpp"
#include "tests/support.hpp"

using namespace minima;

namespace {

Tensor random_tensor(const Shape& shape, const std::string& stream) {
  return test::normal(shape, stream).to(DType::f32);
}

float sign(float x) { return static_cast<float>((x > 0) - (x < 0)); }

/// The value of a printed expression, operation by operation in float, as a reader computes it.
class Reader {
 public:
  static float value(const std::string& text) {
    Reader reader{text};
    const float x = reader.sum();
    CHECK(reader.rest_ == "");
    return x;
  }

 private:
  explicit Reader(const std::string& text) : rest_(text) {}

  bool take(std::string_view word) {
    const bool found = rest_.starts_with(word);
    if (found) rest_.remove_prefix(word.size());
    return found;
  }
  float sum() {
    float x = product();
    for (;;)
      if (take(" + "))
        x = x + product();
      else if (take(" - "))
        x = x - product();
      else
        return x;
  }
  float product() {
    float x = factor();
    for (;;)
      if (take(" * "))
        x = x * factor();
      else if (take(" / "))
        x = x / factor();
      else
        return x;
  }
  float closed(float x) {
    CHECK(take(")"));
    return x;
  }
  float factor() {
    if (take("(")) return closed(sum());
    if (take("sqrt(")) return closed(std::sqrt(sum()));
    if (take("abs(")) return closed(std::abs(sum()));
    if (take("sign(")) return sign(closed(sum()));
    for (const bool largest : {true, false})
      if (take(largest ? "max(" : "min(")) {
        const float a = sum();
        CHECK(take(", "));
        const float b = closed(sum());
        return largest ? std::max(a, b) : std::min(a, b);
      }
    char* end = nullptr;
    const float x = std::strtof(rest_.data(), &end);
    if (end == rest_.data() && take("-")) return -factor();
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return x;
  }

  std::string_view rest_;
};

}  // namespace

TEST_CASE("an explained step is the optimizer's step, bit for bit, in fp32, bf16 and 8 bits") {
  const Shape shape{9, 64};
  const i64 element = 5 * 64 + 3;
  std::vector<std::string> rules = optimizer_names();
  for (const char* more :
       {"adam:weight_decay=0.1:amsgrad=true", "sgd:lr=0.1:momentum=0.9", "adafactor:beta1=0.9"})
    rules.emplace_back(more);
  for (const std::string& rule : rules)
    for (const char* state : {"fp32", "bf16", "block8"}) {
      const std::string spec = rule + ":state=" + state;
      CAPTURE(spec);
      Explanation explanation(spec, random_tensor(shape, "w"),
                              {.element = element, .step = {.clip_norm = 2}});
      Parameter parameter{"w", random_tensor(shape, "w"), {}};
      Optimizer optimizer =
          make_optimizer(spec + ":min_8bit_size=1", std::vector<Parameter*>{&parameter});
      for (int k = 0; k < 3; ++k) {
        const Tensor gradient = random_tensor(shape, "g" + std::to_string(k));
        const Json step = explanation.step(gradient);
        parameter.gradient = gradient;
        optimizer.step({.clip_norm = 2});
        const auto same = [](const Json& shown, float kernel) {
          CHECK(static_cast<float>(shown.get<double>()) == kernel);
        };
        same(step["value"]["after"], parameter.value.data<float>()[element]);
        same(step["lines"].back()["letter"] == "p" ? step["lines"].back()["value"]
                                                   : step["value"]["after"],
             parameter.value.data<float>()[element]);
        const auto tensors = by_name(optimizer.tensors());
        for (const Json& slot : step["slots"]) {
          const std::string key = "w/" + slot["slot"].get<std::string>();
          CAPTURE(key);
          if (slot.contains("code")) {
            CHECK(slot["code"] == tensors.at(key + ".codes").data<u8>()[element]);
            same(slot["absmax"], tensors.at(key + ".absmax").data<float>()[element / 256]);
            same(slot["after"], static_cast<float>(slot["map"].get<double>()) *
                                    static_cast<float>(slot["absmax"].get<double>()));
          }
          for (const PlannedSlot& planned : optimizer.state().slots) {
            if (planned.key() != key) continue;
            const Tensor values = optimizer.values(planned);
            if (planned.dense) {
              same(slot["after"], values.data<float>()[element]);
              continue;
            }
            REQUIRE(std::ssize(slot["after"]) == values.size());
            for (i64 i = 0; i < values.size(); ++i)
              same(slot["after"][static_cast<std::size_t>(i)], values.data<float>()[i]);
          }
        }
        CHECK(describe(step).find("nan") == std::string::npos);
        for (const Json& line : step["lines"]) {
          CAPTURE(line["letters"]);
          CAPTURE(line["numbers"]);
          same(line["value"], Reader::value(line["numbers"]));
        }
      }
    }
}

TEST_CASE("what a step begins with is given whole, and state begins as 0 in 8 bits too") {
  Explanation explanation("adamw8bit", random_tensor({2, 3}, "w"), {.element = 4});
  const Json step = explanation.step(random_tensor({2, 3}, "g"));
  CHECK(step["given"]["weight"][4] == step["value"]["before"]);
  CHECK(step["given"]["gradient"][4] == step["gradient"]);
  CHECK(step["given"]["gradient"].size() == 6);
  for (const Json& slot : step["slots"]) CHECK(slot["before"].dump() == "0.0");
  CHECK(describe(step).find("element 4 (row 1, column 1) of [2,3]") != std::string::npos);
  CHECK(describe(step).find("-0 ") == std::string::npos);
  CHECK(describe(step).find("(-0)") == std::string::npos);
}

TEST_CASE("momentum of low rank has its letter in the formula, and its factors are told whole") {
  Explanation explanation("adapm", random_tensor({4, 4}, "w"), {.name = "q_lin.weight"});
  const Json step = explanation.step(random_tensor({4, 4}, "g"));
  CHECK(step["lines"].back()["letters"] == "(1 − lr·λ) * p - lr * e / (√v̂ + ε)");
  CHECK(step["slots"][0]["slot"] == "basis");
  CHECK(step["slots"][0]["after"].size() == 16);
}

TEST_CASE("what is told of letters and slots begins in one column, however long a name is") {
  for (const char* spec : {"adamw", "sgd:momentum=0.9", "adafactor-torch", "came"}) {
    CAPTURE(spec);
    Explanation explanation(spec, random_tensor({4, 4}, "w"), {});
    std::istringstream lines(describe(explanation.step(random_tensor({4, 4}, "g"))));
    std::string line;
    std::getline(lines, line);
    std::set<std::size_t> columns;
    while (std::getline(lines, line)) {
      const auto begin = std::min({line.find(" = "), line.find("← "), line.find("stored in ")});
      REQUIRE(begin != std::string::npos);
      columns.insert(columns_of(line.substr(0, begin + (line[begin] == ' '))));
    }
    CHECK(columns.size() == 1);
  }
}

TEST_CASE("a schedule's factor is told, but where it has no effect") {
  const ExplainOptions halved{.step = {.lr_factor = 0.5}};
  for (const char* spec : {"sgd:lr=0.1", "adafactor"}) {
    Explanation explanation(spec, random_tensor({3}, "w"), halved);
    const Json step = explanation.step(random_tensor({3}, "g"));
    const bool scheduled = std::string(spec) != "adafactor";
    CHECK(step["lr_factor"] == (scheduled ? 0.5 : 1));
    CHECK((describe(step).find("the learning rate is multiplied by 0.5") != std::string::npos) ==
          scheduled);
  }
}

TEST_CASE("a vector's factors that are 1 say why") {
  Explanation explanation("came", random_tensor({3}, "w"), {});
  const std::string text = describe(explanation.step(random_tensor({3}, "g")));
  CHECK(text.find("√(mean(R)/R)   = 1   a vector has no means of rows") != std::string::npos);
  CHECK(text.find("√(1/S)         = 1   a vector has no confidence") != std::string::npos);
}

TEST_CASE("no result of CAME has the letter of its threshold") {
  Explanation explanation("came", random_tensor({3, 2}, "w"), {});
  const Json step = explanation.step(random_tensor({3, 2}, "g"));
  CHECK(step["notes"].dump().find("RMS(u)/d") != std::string::npos);
  for (const Json& line : step["lines"]) CHECK(line["letter"] != "d");
}

TEST_CASE("a constant that is negated says so, and a single number has no shape") {
  for (const char* direction : {"false", "true"}) {
    Explanation explanation(fmt::format("adafactor-torch:maximize={}", direction),
                            random_tensor({3, 2}, "w"), {});
    const Json step = explanation.step(random_tensor({3, 2}, "g"));
    const bool climbs = std::string(direction) == "true";
    const Json& factor = step["constants"].back();
    CHECK(factor["letter"] == (climbs ? "(−α/clip)" : "α/clip"));
    CHECK((factor["value"].get<double>() < 0) == climbs);
  }
  Explanation explanation("adafactor", random_tensor({3, 2}, "w"), {});
  CHECK(describe(explanation.step(random_tensor({3, 2}, "g"))).find("[]") == std::string::npos);
}

TEST_CASE("an element that is not there is refused") {
  CHECK_THROWS_WITH_AS(Explanation("adamw", Tensor::zeros({3}), {.element = 3}),
                       doctest::Contains("there is no element 3; the weight is [3]"), Error);
}

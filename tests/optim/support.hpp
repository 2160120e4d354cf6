/// What the tests of optim share: parameters with random values, every optimizer with every option
/// off its default, and the shapes of DistilBERT.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>

#include "core/rng.hpp"
#include "core/text/split.hpp"
#include "optim/optimizer.hpp"
#include "optim/registry.hpp"
#include "tests/support.hpp"

namespace minima::test {

/// Made once: the tests ask for the same ones thousands of times.
inline Tensor random_tensor(const Shape& shape, const std::string& stream, double scale = 1) {
  static std::map<std::tuple<std::string, std::string, double>, Tensor> made;
  Tensor& x = made[{fmt::format("{}", shape), stream, scale}];
  if (!x.defined()) {
    RandomSequence random(7, stream);
    x = Tensor::empty(shape);
    for (float& value : x.span<float>()) value = static_cast<float>(scale * random.normal());
  }
  return x.clone();
}

/// Parameters whose values and gradients are functions of their names and the step.
struct Model {
  explicit Model(const std::vector<ParameterShape>& shapes) {
    for (const ParameterShape& shape : shapes) {
      parameters.push_back(std::make_unique<Parameter>());
      parameters.back()->name = shape.name;
      parameters.back()->value = random_tensor(shape.shape, shape.name);
    }
  }
  std::vector<Parameter*> all() const {
    std::vector<Parameter*> result;
    for (const auto& p : parameters) result.push_back(p.get());
    return result;
  }
  void set_gradients(i64 step, double scale = 1) const {
    for (const auto& p : parameters)
      p->gradient = random_tensor(p->value.shape(), p->name + std::to_string(step), scale);
  }
  Parameter& operator[](std::size_t i) const { return *parameters[i]; }
  std::vector<std::unique_ptr<Parameter>> parameters;
};

inline void check_same(const Model& a, const Model& b) {
  for (std::size_t i = 0; i < a.parameters.size(); ++i) {
    CAPTURE(a[i].name);
    CHECK(same_bits(a[i].value, b[i].value));
  }
}

inline void check_same_state(const Optimizer& a, const Optimizer& b) {
  const auto x = a.tensors(), y = b.tensors();
  REQUIRE(x.size() == y.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    CAPTURE(x[i].name);
    CHECK(same_bits(x[i].tensor, y[i].tensor));
  }
}

/// The options of a rule and their defaults.
inline Json default_options(const std::string& name) {
  const Model model({{"w", {1}}});
  return make_optimizer(name, model.all()).options()["groups"][0]["options"];
}

inline std::string join_options(const std::string& a, const std::string& b) {
  return a.empty() || b.empty() ? a + b : a + ":" + b;
}

namespace detail {

/// What six steps make of some weights; empty where the options are refused.
inline std::string outcome(const std::string& name, const std::string& options) {
  const Model model({{"w", {8, 12}}, {"q_lin", {6, 9}}, {"embeddings", {5, 4}}, {"small", {7}}});
  for (float& x : model[3].value.span<float>()) x *= 0.01f;
  std::string bytes;
  try {
    Optimizer optimizer = make_optimizer(join_options(name, options), model.all());
    // A gradient that grows is clipped; one that vanishes lets AMSGrad's maximum stand out.
    for (int k = 0; k < 6; ++k) {
      model.set_gradients(k, k == 1 ? 10 : k == 2 ? 0.01 : 1);
      optimizer.step();
    }
  } catch (const Error&) {
    if (options.empty()) throw;  // the rule as it is
    return bytes;
  }
  for (const Parameter* p : model.all()) {
    if (options.empty())
      REQUIRE(
          std::ranges::all_of(p->value.span<float>(), [](float x) { return std::isfinite(x); }));
    bytes.append(reinterpret_cast<const char*>(p->value.raw()),
                 static_cast<std::size_t>(p->value.bytes()));
  }
  return bytes;
}

/// What to try for an option: numbers, a pattern, and the names that it says it takes.
inline std::vector<std::string> values_of(const OptionHelp& option) {
  std::vector<std::string> values{"0.5", "2", "-0.5", "^", "0.9"};
  for (const std::string& name : split(option.takes, ',')) {
    const std::size_t begin = std::min(name.find_first_not_of(' '), name.size());
    if (name.find(' ', begin) == name.npos) values.push_back(name.substr(begin));
  }
  return values;
}

/// Options that take `option` off its default so that it changes what the rule does, with another
/// one where the rule refuses it alone or does nothing with it (nesterov wants momentum).
inline std::string variant(const std::string& name, const OptionHelp& option,
                           const std::vector<OptionHelp>& options) {
  const std::string without = outcome(name, "");
  std::vector<std::string> companions{""};
  for (const OptionHelp& other : options)
    for (const std::string& text : values_of(other))
      if (other.name != option.name) companions.push_back(other.name + "=" + text);
  for (const std::string& companion : companions) {
    const std::string alone = outcome(name, companion);
    for (const std::string& text : values_of(option)) {
      const std::string both = join_options(companion, option.name + "=" + text);
      const std::string with = outcome(name, both);
      if (!with.empty() && with != (alone.empty() ? without : alone)) return both;
    }
  }
  FAIL(name << ": no value of '" << option.name
            << "' is known to the tests that changes what a step does; add one to `values_of`");
  return "";
}

}  // namespace detail

/// The rule as it is (""); each option of its table off its default; and as many as go together. A rule
/// that gains an option gains a variant, or the tests fail.
inline const std::vector<std::string>& variants(const std::string& name) {
  static std::map<std::string, std::vector<std::string>> known;
  std::vector<std::string>& result = known[name];
  if (!result.empty()) return result;
  result.push_back("");
  const std::vector<OptionHelp> options = resolve(name).rule->help();
  for (const OptionHelp& option : options) result.push_back(detail::variant(name, option, options));
  std::string all;
  for (const std::string& variant : result) {
    const std::string more = join_options(all, variant);
    if (!variant.empty() && !detail::outcome(name, more).empty()) all = more;
  }
  result.push_back(all);
  return result;
}

/// The variants of one optimizer, and of all in the registry, on every storage.
inline std::vector<std::string> specs(const std::string& name) {
  std::vector<std::string> result;
  for (const std::string& options : variants(name))
    for (const char* state : {"fp32", "bf16", "block8"})
      result.push_back(join_options(name, options) + ":state=" + state + ":min_8bit_size=256");
  return result;
}
inline std::vector<std::string> all_specs() {
  std::vector<std::string> result;
  for (const std::string& name : optimizer_names())
    std::ranges::copy(specs(name), std::back_inserter(result));
  return result;
}

/// The 104 tensors of DistilBERT-base-cased with a classifier of two labels.
inline std::vector<ParameterShape> distilbert() {
  std::vector<ParameterShape> shapes;
  const auto linear = [&](const std::string& name, i64 out, i64 in) {
    shapes.push_back({name + ".weight", {out, in}});
    shapes.push_back({name + ".bias", {out}});
  };
  const auto norm = [&](const std::string& name) {
    shapes.push_back({name + ".weight", {768}});
    shapes.push_back({name + ".bias", {768}});
  };
  const std::string embeddings = "distilbert.embeddings.";
  shapes.push_back({embeddings + "word_embeddings.weight", {28996, 768}});
  shapes.push_back({embeddings + "position_embeddings.weight", {512, 768}});
  norm(embeddings + "LayerNorm");
  for (int i = 0; i < 6; ++i) {
    const std::string layer = fmt::format("distilbert.transformer.layer.{}.", i);
    for (const char* part : {"q_lin", "k_lin", "v_lin", "out_lin"})
      linear(layer + "attention." + part, 768, 768);
    norm(layer + "sa_layer_norm");
    linear(layer + "ffn.lin1", 3072, 768);
    linear(layer + "ffn.lin2", 768, 3072);
    norm(layer + "output_layer_norm");
  }
  linear("pre_classifier", 768, 768);
  linear("classifier", 2, 768);
  return shapes;
}

}  // namespace minima::test

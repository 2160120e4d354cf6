/// What the tests of optim share: parameters with random values, and the shapes of DistilBERT.
#pragma once

#include <cstring>
#include <memory>

#include "core/rng.hpp"
#include "optim/optimizer.hpp"
#include "optim/registry.hpp"
#include "tests/support.hpp"

namespace minima::test {

inline Tensor random_tensor(const Shape& shape, const std::string& stream, double scale = 1) {
  RandomSequence random(7, stream);
  Tensor x = Tensor::empty(shape);
  for (float& value : x.span<float>()) value = static_cast<float>(scale * random.normal());
  return x;
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

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw(), b.raw(), static_cast<std::size_t>(a.bytes())) == 0;
}

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

/// An optimizer under test: a name with every option that matters off its neutral value, on a
/// storage.
inline std::vector<std::string> all_specs() {
  static const std::map<std::string, std::string> options{
      {"sgd", ":lr=0.01:momentum=0.9:dampening=0.1:weight_decay=0.01"},
      {"adam", ":weight_decay=0.01:amsgrad=true"},
      {"adafactor", ":lr=0.01:relative_step=false:beta1=0.9:weight_decay=0.01:clip_threshold=0.5"},
      {"adam8bit", ":weight_decay=0.1"},
      {"lion", ":weight_decay=0.1"}};
  std::vector<std::string> specs;
  for (const std::string& name : optimizer_names())
    for (const char* state : {"fp32", "bf16", "block8"}) {
      const auto found = options.find(name);
      specs.push_back(name + (found == options.end() ? "" : found->second) + ":state=" + state +
                      ":min_8bit_size=256");
    }
  return specs;
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

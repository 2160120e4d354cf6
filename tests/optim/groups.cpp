/// Parameter groups: which parameter gets which options.
#include "optim/optimizer.hpp"
#include "optim/registry.hpp"
#include "tests/support.hpp"

using namespace minima;

namespace {

struct Bare {
  static constexpr std::string_view name = "bare_sgd";
  struct Options {
    double lr = 0.1;
    static constexpr auto fields() { return std::tuple{Field{"lr", &Options::lr, nonnegative}}; }
  };
  static std::vector<Slot> slots(const Options&) { return {}; }
  static bool keeps_step(const Options&) { return false; }
  MINIMA_HD static Bare prepare(const Options& o, i64) { return {static_cast<float>(o.lr)}; }
  template <class T>
  MINIMA_HD void operator()(T& p, T g) const {
    p = p - lr * g;
  }
  float lr;
};

Parameter parameter(const char* name, Shape shape) {
  return {.name = name, .value = Tensor::zeros(shape), .gradient = {}};
}

struct NamedModel {
  Parameter embeddings = parameter("embeddings.weight", {4, 2});
  Parameter norm = parameter("embeddings.layer_norm.weight", {2});
  Parameter weight = parameter("classifier.weight", {2, 2});
  Parameter bias = parameter("classifier.bias", {2});
  std::vector<Parameter*> all() { return {&embeddings, &norm, &weight, &bias}; }
};

/// The options that a parameter has in an optimizer.
Json options_of(const Optimizer& optimizer, const std::string& parameter) {
  const Json options = optimizer.options();
  for (const Json& group : options["groups"])
    for (const Json& name : group["parameters"])
      if (name == parameter) return group["options"];
  return {};
}

}  // namespace

TEST_CASE("the first matching pattern gives a parameter its options, over those of its group") {
  NamedModel model;
  const auto groups = group_by_pattern(
      decay_groups(model.all()), {GroupPattern::parse("embeddings:lr=1e-5"),
                                  GroupPattern::parse("layer_norm|bias:lr=0.5:weight_decay=0.25")});
  const Optimizer optimizer = make_optimizer("adamw:lr=1e-3:weight_decay=0.1", groups);
  const Json embeddings = options_of(optimizer, "embeddings.weight");
  CHECK(embeddings["lr"] == 1e-5);
  CHECK(embeddings["weight_decay"] == 0.1);
  const Json norm = options_of(optimizer, "embeddings.layer_norm.weight");  // the first wins
  CHECK(norm["lr"] == 1e-5);
  CHECK(norm["weight_decay"] == 0);  // that of biases and norms stays
  const Json weight = options_of(optimizer, "classifier.weight");
  CHECK(weight["lr"] == 1e-3);
  CHECK(weight["weight_decay"] == 0.1);
  const Json bias = options_of(optimizer, "classifier.bias");
  CHECK(bias["lr"] == 0.5);
  CHECK(bias["weight_decay"] == 0.25);  // unless it is overridden
}

TEST_CASE("a pattern is a piece of the name, unless it says where a part begins or ends") {
  const std::string name = "distilbert.layer.1.pre_classifier.weight/exp_avg_sq";
  for (const char* pattern :
       {"classifier", "^pre_classifier", "classifier$", "^distilbert", "exp_avg_sq$", "^layer.1$",
        "nothing|^weight$", "/exp_avg", "||layer"})
    CHECK_MESSAGE(matches(name, pattern), pattern);
  for (const char* pattern :
       {"^classifier", "pre$", "exp_avg$", "^layer.$", "^bert", "^bias|^classifier$", "", "|"})
    CHECK_MESSAGE(!matches(name, pattern), pattern);

  Parameter before = parameter("pre_classifier.weight", {2, 2}),
            last = parameter("classifier.weight", {2, 2});
  const auto groups =
      group_by_pattern({{{&before, &last}, ""}}, {GroupPattern::parse("^classifier:lr=1")});
  const Optimizer optimizer = make_optimizer("adamw:lr=0.5", groups);
  CHECK(options_of(optimizer, "classifier.weight")["lr"] == 1);
  CHECK(options_of(optimizer, "pre_classifier.weight")["lr"] == 0.5);
}

TEST_CASE("a pattern without options or without parameters is refused by name") {
  NamedModel model;
  for (const char* wrong : {"embeddings", "embeddings:", ":lr=1", ""})
    CHECK_THROWS_WITH_AS(GroupPattern::parse(wrong), doctest::Contains("a pattern and options"),
                         Error);
  CHECK_THROWS_WITH_AS(GroupPattern::parse("bias:lr"), doctest::Contains("name=value"), Error);
  CHECK_THROWS_WITH_AS(group_by_pattern({{model.all(), ""}}, {{"encoder", "lr=1"}}),
                       doctest::Contains("'encoder'"), Error);
  CHECK_THROWS_WITH_AS(
      group_by_pattern({{model.all(), ""}}, {{"bias|weight", "lr=1"}, {"bias", "lr=2"}}),
      doctest::Contains("'bias'"), Error);
  for (const char* pattern : {"bias|nowhere", "nowhere|bias"})
    CHECK_THROWS_WITH_AS(group_by_pattern({{model.all(), ""}}, {{pattern, "lr=1"}}),
                         doctest::Contains("'nowhere' matches no parameter"), Error);
  CHECK_THROWS_WITH_AS(group_by_pattern({{model.all(), ""}}, {{"bias|", "lr=1"}}),
                       doctest::Contains("'' matches no parameter"), Error);
  CHECK_THROWS_WITH_AS(
      make_optimizer("adamw", group_by_pattern({{model.all(), ""}}, {{"bias", "betas=1"}})),
      doctest::Contains("betas"), Error);
}

TEST_CASE("a rule's own pattern is looked for in all groups that have it") {
  NamedModel model;
  const auto groups = [&](const char* pattern) {
    return group_by_pattern(decay_groups(model.all()), {{"embeddings", pattern}});
  };
  // The one is in the group that decays, the other in the one that does not.
  const Optimizer optimizer = make_optimizer("adapm", groups("full=embeddings.weight|layer_norm"));
  CHECK(options_of(optimizer, "embeddings.weight")["full"] == "embeddings.weight|layer_norm");
  CHECK(optimizer.state().slots.front().slot == "exp_avg");
  for (const char* wrong : {"full=classifier", "full=layer_norm|nowhere"})
    CHECK_THROWS_WITH_AS(make_optimizer("adapm", groups(wrong)),
                         doctest::Contains("among a group's parameters"), Error);
}

TEST_CASE("a rule without weight decay has one group for all parameters") {
  NamedModel model;
  register_rule<Bare>();
  CHECK(decay_groups(model.all(), "bare_sgd").size() == 1);
  CHECK(decay_groups(model.all(), "adamw8bit:lr=1").size() == 2);
  CHECK(make_optimizer("bare_sgd", decay_groups(model.all(), "bare_sgd")).state_bytes() == 0);
}

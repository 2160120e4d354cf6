#include "optim/options.hpp"

#include "tests/data/files.hpp"
#include "tests/optim/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

std::string refusal_of(const std::string& spec, const std::string& group = "") {
  const Model model({{"w", {4, 4}}});
  return error_of([&] { make_optimizer(spec, std::vector<ParameterGroup>{{model.all(), group}}); });
}

}  // namespace

TEST_CASE("an unknown optimizer or option is refused by name, with the nearest and the list") {
  CHECK(refusal_of("adam-w").starts_with(
      "no optimizer named 'adam-w'; did you mean 'adamw'? There are: sgd, "));
  CHECK(refusal_of("adamw:betas=0.9")
            .starts_with("adamw: no option named 'betas'; did you mean 'beta"));
  CHECK(refusal_of("adamw:betas=0.9")
            .ends_with("It has: lr, beta1, beta2, eps, weight_decay, amsgrad, maximize, "
                       "decay_order, state, block_size, "
                       "min_8bit_size, fp32, bf16, block8, non_finite_guard, lazy_rows"));
  CHECK(
      refusal_of("adamw", "lrr=1").starts_with("adamw: no option named 'lrr'; did you mean 'lr'?"));
  CHECK(refusal_of("adamw", "state=block8").starts_with("adamw: state is the whole optimizer's"));
}

TEST_CASE("the guard is on where state may be in block8, unless it is told off") {
  const Model model({{"w", {64, 64}}});
  const auto guards = [&](const std::string& spec) {
    return make_optimizer(spec, model.all()).options()["non_finite_guard"].get<bool>();
  };
  CHECK(guards("adamw:state=block8"));
  CHECK(guards("adamw:block8=exp_avg"));
  CHECK_FALSE(guards("adamw"));
  CHECK_FALSE(guards("adamw:block8=exp_avg:non_finite_guard=false"));
}

TEST_CASE("a spec that ends with a colon is refused") {
  CHECK(refusal_of("adamw:") ==
        "'adamw:' ends with a colon; options follow it, as in adamw:lr=1e-3");
  CHECK(refusal_of("adamw:lr=1:") == "options 'lr=1:' end with a colon");
}

TEST_CASE("a value that cannot be read or is out of range is refused") {
  CHECK(refusal_of("adamw:lr=-1") == "adamw: lr is -1; it must be at least 0");
  CHECK(refusal_of("adamw:lr=fast") ==
        "adamw: lr is 'fast'; it must be a number, such as 0.001 or 1e-3");
  CHECK(refusal_of("adamw:lr=1e999").starts_with("adamw: lr is '1e999'"));
  CHECK(refusal_of("adamw:lr=nan").starts_with("adamw: lr is 'nan'"));
  CHECK(refusal_of("adamw:beta1=1") == "adamw: beta1 is 1; it must be at least 0 and below 1");
  CHECK(refusal_of("sgd:nesterov=yes") == "sgd: nesterov is 'yes'; it must be true or false");
  CHECK(refusal_of("adamw:decay_order=last") ==
        "adamw: decay_order is 'last'; it must be one of: before, after");
  CHECK(refusal_of("adamw:state=int4") ==
        "adamw: state is 'int4'; it must be one of: fp32, bf16, block8");
  CHECK(refusal_of("adamw8bit:block_size=8") ==
        "adamw8bit: block_size is 8; it must be at least 16 and at most 4096");
  CHECK(refusal_of("adamw8bit:block_size=100.5") ==
        "adamw8bit: block_size is 100.5; it must be a whole number");
  CHECK(refusal_of("adamw8bit:min_8bit_size=1e300").find("it must be at least 0 and at most") !=
        std::string::npos);
  CHECK(refusal_of("adamw:lr").ends_with("'lr' is not of the form name=value"));
  CHECK(refusal_of("adamw:lr=1:lr=2").ends_with("lr is given twice"));
}

TEST_CASE("a number that is infinite or nothing in 32 bits is refused") {
  const Model model({{"w", {4, 4}}});
  for (const auto& [option, words] :
       {std::pair{"lr=1e39", "lr is 1e+39; steps are computed in 32 bits, whose largest number is"},
        {"eps=1e-50", "eps is 1e-50; in 32 bits, as steps are computed, that is 0"},
        {"beta2=0.99999999999", "in 32 bits, as steps are computed, that is 1"}})
    CHECK_THROWS_WITH_AS(make_optimizer(std::string("adamw:") + option, model.all()),
                         doctest::Contains(words), Error);
  CHECK_NOTHROW(make_optimizer("adamw:lr=3e38:eps=1e-45", model.all()));
}

TEST_CASE("an illegal mix of options is refused with the ways out") {
  CHECK(refusal_of("adafactor:lr=1e-3") ==
        "adafactor: lr=0.001 together with relative_step, which makes its own step size; leave lr "
        "out, or "
        "add relative_step=false");
  CHECK(refusal_of("adafactor", "lr=1e-3").starts_with("adafactor: lr=0.001 together with"));
  CHECK(refusal_of("adafactor:relative_step=false") ==
        "adafactor: relative_step=false without lr; give lr, or leave relative_step on");
  CHECK(refusal_of("adafactor:relative_step=false:lr=1:warmup_init=true")
            .starts_with("adafactor: warmup_init"));
  CHECK(refusal_of("sgd:nesterov=true").starts_with("sgd: nesterov with momentum 0"));
  CHECK(
      refusal_of("sgd:nesterov=true:momentum=0.9:dampening=0.1").starts_with("sgd: nesterov with"));
  CHECK(refusal_of("adafactor:beta1=none") == "");
}

TEST_CASE("resolved options can be read back") {
  const Model model({{"a.weight", {4, 4}},
                     {"a.bias", {4}},
                     {"sa_layer_norm.weight", {4}},
                     {"LayerNorm.weight", {4}}});
  const Optimizer optimizer = make_optimizer("adamw8bit:lr=0.01", decay_groups(model.all()));
  const Json options = optimizer.options();
  CHECK(options["optimizer"] == "adamw8bit");
  CHECK(options["storage"]["state"] == "block8");
  CHECK(options["non_finite_guard"] == true);
  REQUIRE(options["groups"].size() == 2);
  CHECK(options["groups"][0]["options"]["lr"] == 0.01);
  CHECK(options["groups"][0]["options"]["weight_decay"] == 0.01);
  CHECK(options["groups"][0]["options"]["decay_order"] == "before");
  CHECK(options["groups"][0]["parameters"] == Json{"a.weight"});
  CHECK(options["groups"][1]["options"]["weight_decay"] == 0.0);
  CHECK(options["groups"][1]["parameters"] ==
        Json{"a.bias", "sa_layer_norm.weight", "LayerNorm.weight"});
  CHECK(make_optimizer("adafactor", model.all()).options()["groups"][0]["options"]["lr"].is_null());
  CHECK(make_optimizer("adam8bit", model.all()).options()["groups"][0]["options"]["weight_decay"] ==
        0.0);
}

TEST_CASE("state is kept by name, so a name may stand for one parameter only") {
  const Model model({{"w", {2}}, {"w", {3}}});
  CHECK_THROWS_WITH_AS(make_optimizer("adamw", model.all()),
                       "optimizer: two parameters are named 'w'; state is kept by name", Error);
  CHECK_THROWS_WITH_AS(make_optimizer("adamw", std::vector<Parameter*>{nullptr}),
                       "optimizer: a parameter is null", Error);
  CHECK_THROWS_WITH_AS(decay_groups({nullptr}), "groups: a parameter is null", Error);
}

#include "optim/storage/plan.hpp"

#include "core/buffer.hpp"
#include "core/code_map.hpp"
#include "core/cpu/threads.hpp"
#include "tests/optim/support.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("the state of DistilBERT is predicted to the byte") {
  const std::vector<ParameterShape> shapes = distilbert();
  i64 values = 0;
  for (const ParameterShape& shape : shapes) values += shape.shape.size();
  CHECK(shapes.size() == 104);
  CHECK(values == 65'783'042);

  const auto check_plan = [&](const std::string& spec, i64 elements, i64 scales, i64 bytes) {
    CAPTURE(spec);
    const StatePlan plan = plan_state(spec, shapes);
    CHECK(plan.elements() == elements);
    CHECK(plan.scales() == scales);
    CHECK(plan.bytes() == bytes);
  };
  check_plan("sgd", 0, 0, 0);
  check_plan("sgd:momentum=0.9", 65'783'042, 0, 263'132'168);
  check_plan("adam", 131'566'188, 0, 526'264'752);
  check_plan("adamw", 131'566'188, 0, 526'264'752);
  check_plan("adamw:amsgrad=true", 197'349'230, 0, 789'396'920);
  check_plan("adamw8bit", 131'566'188, 513'432, 134'002'704);
  check_plan("adam8bit", 131'566'188, 513'432, 134'002'704);
  check_plan("adamw:state=block8", 131'566'188, 513'432, 134'002'704);
  // 416 more than the sheet's figures, which leave the step counts out.
  check_plan("adamw8bit:fp32=embeddings.word|embeddings.position", 131'566'188, 336'384,
             269'266'960 + 416);
  check_plan("adafactor", 178'712, 0, 714'848);
  check_plan("adafactor:beta1=0.9", 65'961'754, 0, 263'847'016);
}

TEST_CASE("the state that is allocated has the bytes that were predicted, for every optimizer") {
  const std::vector<ParameterShape> shapes{{"w", {65, 67}}, {"k", {63, 65}}, {"t", {3, 20, 90}},
                                           {"b", {37}},     {"s", {}},       {"none", {0, 4}}};
  const Model model(shapes);
  signed_code_map();
  for (const std::string& spec : all_specs()) {
    CAPTURE(spec);
    const StatePlan plan = plan_state(spec, shapes);
    const i64 before = memory_stats().live;
    const Optimizer optimizer = make_optimizer(spec, model.all());
    CHECK(memory_stats().live - before == plan.bytes());
    CHECK(optimizer.state_bytes() == plan.bytes());
    CHECK(optimizer.state_elements() == plan.elements());
    CHECK(optimizer.scales() == plan.scales());
    i64 in_file = 0;
    for (const NamedTensor& x : optimizer.tensors()) in_file += x.tensor.bytes();
    CHECK(in_file == plan.bytes());
  }
}

TEST_CASE(
    "what a step makes for its own use is no larger than the largest parameter, on many threads") {
  std::vector<ParameterShape> shapes{{"embeddings", {1200, 256}}};
  for (int k = 0; k < 16; ++k) shapes.push_back({fmt::format("q_lin.{}", k), {256, 256}});
  const Model model(shapes);
  model.set_gradients(0);
  const int before = threads();
  set_threads(16);
  for (const char* spec : {"adamw", "adamw8bit", "adafactor", "adafactor-torch", "came",
                           "adapm:rank=2", "adapm:rank=2:factored=true"}) {
    CAPTURE(spec);
    Optimizer optimizer = make_optimizer(spec, model.all());
    for (int k = 0; k < 3; ++k) {
      reset_peak_memory();
      const i64 live = memory_stats().live;
      optimizer.step();
      const bool elementwise = std::string(spec).starts_with("adamw");
      CHECK(memory_stats().peak - live <= (elementwise ? 0 : model[0].value.bytes()));
    }
  }
  set_threads(before);
}

TEST_CASE("an override that matches no slot is refused, with a name of one") {
  const std::vector<ParameterShape> shapes{{"embeddings", {100, 50}}, {"bias", {50}}};
  const Model model(shapes);
  for (const char* option :
       {"fp32=embedings", "bf16=step", "block8=exp_avg_row", "fp32=embeddings:bf16=embeddings"}) {
    const std::string spec = std::string("adamw8bit:") + option;
    const std::string last = std::string(option).substr(std::string(option).rfind(':') + 1);
    const std::string words =
        "adamw8bit: " + last + " decides over no slot; they are named like 'embeddings/exp_avg'";
    CHECK_THROWS_WITH_AS(make_optimizer(spec, model.all()), words.c_str(), Error);
    CHECK_THROWS_WITH_AS(plan_state(spec, shapes), words.c_str(), Error);
  }
  for (const std::string idle : {"nowhere", ""}) {
    const std::string option = "fp32=embeddings|" + idle;
    CHECK_THROWS_WITH_AS(plan_state("adamw8bit:" + option, shapes),
                         ("adamw8bit: '" + idle + "' in " + option +
                          " matches no slot; they are named like 'embeddings/exp_avg'")
                             .c_str(),
                         Error);
  }
  CHECK_THROWS_WITH_AS(plan_state("sgd:momentum=0:fp32=embeddings", shapes),
                       "sgd: fp32=embeddings decides over no slot that could be stored otherwise",
                       Error);
}

TEST_CASE(
    "a rule's own pattern that matches no parameter is refused, but for those of its default") {
  const std::vector<ParameterShape> shapes{{"embeddings", {4, 4}}, {"ffn.lin1", {4, 4}}};
  CHECK(plan_state("adapm:low_rank=ffn|q_lin:none=embeddings", shapes).slots.size() == 6);
  for (const std::string option : {"full=fnn", "none=embeddings|fnn", "low_rank=ffn|fnn"}) {
    const std::string words = "adapm: 'fnn' in " + option.substr(0, option.find('=')) +
                              " matches no parameter; they are named like 'embeddings'";
    CHECK_THROWS_WITH_AS(plan_state("adapm:" + option, shapes), words.c_str(), Error);
    const Model model(shapes);
    CHECK_THROWS_WITH_AS(make_optimizer("adapm:" + option, model.all()), words.c_str(), Error);
  }
  const Model model(shapes);
  const auto grouped = [&](const std::string& options) {
    return make_optimizer("adapm:full=ffn", {{{&model[0]}, options}, {{&model[1]}, ""}});
  };
  CHECK_NOTHROW(grouped("none=embeddings"));
  CHECK_THROWS_WITH_AS(grouped("none=ffn.lin1"),
                       "adapm, among a group's parameters: 'ffn.lin1' in none matches no "
                       "parameter; they are named like 'embeddings'",
                       Error);
}

TEST_CASE("a slot's storage follows size, overrides and kind, and the plan says why") {
  const std::vector<ParameterShape> shapes{
      {"embeddings.weight", {100, 50}}, {"lin.weight", {64, 64}}, {"lin.bias", {64}}};
  const auto storages = [&](const std::string& spec) {
    std::string all;
    for (const PlannedSlot& slot : plan_state(spec, shapes).slots)
      if (slot.slot != "step") all += std::string(storage_name(slot.storage)) + " ";
    return all;
  };
  CHECK(storages("adamw") == "fp32 fp32 fp32 fp32 fp32 fp32 ");
  CHECK(storages("adamw8bit") == "block8 block8 block8 block8 fp32 fp32 ");
  CHECK(storages("adamw8bit:min_8bit_size=4097") == "block8 block8 fp32 fp32 fp32 fp32 ");
  CHECK(storages("adamw8bit:fp32=embeddings") == "fp32 fp32 block8 block8 fp32 fp32 ");
  CHECK(storages("adamw8bit:fp32=/exp_avg_sq:bf16=bias/exp_avg") ==
        "block8 fp32 block8 fp32 bf16 fp32 ");
  CHECK(storages("adafactor:beta1=0.9:state=block8") ==
        "fp32 fp32 fp32 block8 fp32 fp32 fp32 block8 fp32 fp32 fp32 ");
  const StatePlan plan = plan_state("adamw8bit", shapes);
  CHECK(plan.slots[0].reason == "state=block8");
  CHECK(plan.slots[6].reason == "under 4096 elements");
}

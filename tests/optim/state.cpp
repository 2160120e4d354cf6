#include <filesystem>
#include <fstream>

#include "core/files/file.hpp"
#include "tests/data/files.hpp"
#include "tests/optim/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

std::filesystem::path file() {
  static const Folder folder;
  return std::filesystem::path(folder.path()) / "state.safetensors";
}

std::string load_error(Optimizer& optimizer) {
  return error_of([&] { optimizer.load(file()); });
}

/// Without the care of write_file, which waits for the disk: for files that are read at once.
void write_in_place(const std::string& bytes) { std::ofstream(file(), std::ios::binary) << bytes; }

Optimizer stepped(const std::string& spec, const Model& model) {
  Optimizer optimizer = make_optimizer(spec, model.all());
  model.set_gradients(0);
  optimizer.step();
  return optimizer;
}

}  // namespace

TEST_CASE("state has its names, types and shapes in the file") {
  const Model model({{"w", {64, 65}}, {"b", {10}}});
  stepped("adamw8bit", model).save(file());
  const SafetensorsFile saved(file());
  std::string all;
  for (const auto& [name, entry] : saved.entries())
    all += fmt::format("{} {} {}\n", name, entry.type, entry.shape);
  CHECK(all ==
        "b/exp_avg F32 [10]\nb/exp_avg_sq F32 [10]\nb/step I32 []\n"
        "w/exp_avg.absmax F32 [17]\nw/exp_avg.codes U8 [64, 65]\n"
        "w/exp_avg_sq.absmax F32 [17]\nw/exp_avg_sq.codes U8 [64, 65]\nw/step I32 []\n");
  CHECK(saved.read("w/step").item() == 1);
  const Json options = parse_json(saved.metadata().at("options"), "metadata");
  CHECK(options["slots"]["w/exp_avg"] ==
        Json{{"storage", "block8"}, {"sign", "any"}, {"block_size", 256}});
  CHECK(options["groups"][0]["options"]["lr"] == 0.001);

  stepped("adafactor:beta1=0.9", model).save(file());
  all.clear();
  const SafetensorsFile factored(file());
  for (const auto& [name, entry] : factored.entries())
    all += fmt::format("{} {}\n", name, entry.shape);
  CHECK(all ==
        "b/RMS []\nb/exp_avg [10]\nb/exp_avg_sq [10]\nb/step []\n"
        "w/RMS []\nw/exp_avg [64, 65]\nw/exp_avg_sq_col [65]\nw/exp_avg_sq_row [64]\nw/step []\n");

  stepped("sgd:momentum=0.9", model).save(file());
  CHECK(SafetensorsFile(file()).entries().size() == 2);
}

TEST_CASE(
    "a state of another model is refused with everything that does not fit, and nothing changes") {
  const Model other({{"w", {2, 3}}, {"gone", {4}}}), model({{"w", {4, 3}}, {"b", {4}}}),
      same({{"w", {4, 3}}, {"b", {4}}});
  stepped("adamw", other).save(file());
  Optimizer optimizer = stepped("adamw", model);
  const Optimizer reference = stepped("adamw", same);
  CHECK(
      load_error(optimizer) ==
      file().string() +
          ": optimizer state: it belongs to another model, optimizer or storage than this adamw:"
          "\n  missing: b/exp_avg (f32 [4])\n  missing: b/exp_avg_sq (f32 [4])\n  missing: b/step "
          "(i32 [])"
          "\n  other: w/exp_avg is f32 [2, 3] there, f32 [4, 3] here"
          "\n  other: w/exp_avg_sq is f32 [2, 3] there, f32 [4, 3] here"
          "\n  too many: gone/exp_avg (f32 [4])\n  too many: gone/exp_avg_sq (f32 [4])"
          "\n  too many: gone/step (i32 [])");
  check_same_state(optimizer, reference);

  stepped("adam", same).save(file());
  CHECK(load_error(optimizer).ends_with("the state of adam; this optimizer is adamw"));
  stepped("adamw:state=bf16", same).save(file());
  CHECK(load_error(optimizer).find("other: w/exp_avg is bf16 [4, 3] there, f32 [4, 3] here") !=
        std::string::npos);
  check_same_state(optimizer, reference);
}

TEST_CASE(
    "a file cut off anywhere, or with a bit flipped anywhere, is refused and nothing changes") {
  for (const char* spec :
       {"adamw8bit:min_8bit_size=1", "sgd:momentum=0.9", "adafactor:beta1=0.9"}) {
    CAPTURE(spec);
    const Model later({{"w", {20, 3}}}), model({{"w", {20, 3}}}), same({{"w", {20, 3}}});
    Optimizer further = stepped(spec, later), optimizer = stepped(spec, model);
    const Optimizer reference = stepped(spec, same);
    further.step();
    further.save(file());
    const std::string whole = read_file(file());
    i64 accepted = 0;
    const auto refuse = [&](const std::string& bytes) {
      write_in_place(bytes);
      const std::string error = load_error(optimizer);
      accepted += error.empty() || error.find(file().string()) != 0;
    };
    for (std::size_t length = 0; length < whole.size(); length += 13)
      refuse(whole.substr(0, length));
    refuse(whole.substr(0, whole.size() - 1));
    refuse(whole + '\0');
    for (std::size_t at = 0; at < whole.size(); at += 5) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
      refuse(flipped);
    }
    CHECK(accepted == 0);
    check_same(model, same);
    check_same_state(optimizer, reference);
    write_in_place(whole);
    CHECK(load_error(optimizer) == "");
  }
  std::filesystem::remove(file());
}

TEST_CASE("a file that is no optimizer's state, or of another format, is refused") {
  const Model model({{"w", {4, 3}}}), same({{"w", {4, 3}}});
  Optimizer optimizer = stepped("adamw", model);
  const Optimizer reference = stepped("adamw", same);
  save_safetensors(file(), {{"w", Tensor::zeros({2})}});
  CHECK(load_error(optimizer).find("not an optimizer's state") != std::string::npos);
  save_safetensors(file(), {{"w", Tensor::zeros({2})}}, {{"format", "minima-optimizer-0"}});
  CHECK(load_error(optimizer).find("its format is 'minima-optimizer-0'") != std::string::npos);
  std::filesystem::remove(file());
  CHECK(load_error(optimizer).find("cannot be opened") != std::string::npos);
  check_same(model, same);
  check_same_state(optimizer, reference);
}

TEST_CASE("a state that counts steps below 0 is refused, and nothing changes") {
  const Model model({{"w", {4, 3}}}), same({{"w", {4, 3}}});
  Optimizer optimizer = stepped("adamw", model);
  const Optimizer reference = stepped("adamw", same);
  std::map<std::string, Tensor> state;
  for (const NamedTensor& x : optimizer.tensors()) state.emplace(x.name, x.tensor.clone());
  state.at("w/step").data<i32>()[0] = -1;
  CHECK_THROWS_WITH_AS(optimizer.assign(state), "optimizer state: w/step is -1; it counts steps",
                       Error);
  CHECK_THROWS_WITH_AS(optimizer.set_values(optimizer.state().slots.back(), Tensor::full({}, -1)),
                       "optimizer state: w/step is -1; it counts steps", Error);
  check_same_state(optimizer, reference);
}

TEST_CASE("a parameter without a value, or whose shape is no longer its state's, is refused") {
  Parameter w;
  w.name = "w";
  CHECK_THROWS_WITH_AS(make_optimizer("adamw", std::vector<Parameter*>{&w}),
                       "optimizer: 'w' has no value yet", Error);
  w.value = Tensor::zeros({2, 2}, DType::i64);
  CHECK_THROWS_WITH_AS(make_optimizer("adamw", std::vector<Parameter*>{&w}),
                       doctest::Contains("must be f32 or bf16"), Error);
  w.value = Tensor::zeros({2, 2});
  Optimizer optimizer = make_optimizer("adamw", std::vector<Parameter*>{&w});
  for (const Shape& other : {Shape{2000, 2000}, Shape{1, 2}, Shape{4}}) {
    w.value = Tensor::zeros(other), w.gradient = Tensor::zeros(other);
    CHECK_THROWS_WITH_AS(optimizer.step(), doctest::Contains("its state was made for [2, 2]"),
                         Error);
  }
}

TEST_CASE("an optimizer's parameters are named where it is made, however many") {
  Parameter a{"a", Tensor::zeros({2})}, b{"b", Tensor::zeros({2})};
  CHECK(make_optimizer("sgd:lr=1", {}).parameters().empty());
  CHECK(make_optimizer("sgd:lr=1", {&a}).parameters().size() == 1);
  CHECK(make_optimizer("sgd:lr=1", {&a, &b}).parameters().size() == 2);
  const Optimizer groups = make_optimizer("sgd:lr=1", {{{&a}, "lr=2"}, {{&b}, ""}});
  CHECK(groups.options()["groups"].size() == 2);
}

TEST_CASE("an optimizer that was moved from says so, and can be given another") {
  Parameter w{"w", Tensor::zeros({2})};
  Optimizer first = make_optimizer("sgd:lr=1", {&w}), second = std::move(first);
  CHECK_THROWS_WITH_AS(first.step(), doctest::Contains("optimizer: it was moved from"), Error);
  CHECK_THROWS_AS(first.name(), Error);
  CHECK_THROWS_AS(first.state_bytes(), Error);
  first = std::move(second);
  CHECK(first.name() == "sgd");
}

TEST_CASE("a name that is not UTF-8 is refused") {
  const Model model({{"\xff", {2}}});
  CHECK_THROWS_WITH_AS(make_optimizer("adamw", model.all()), doctest::Contains("not valid UTF-8"),
                       Error);
  CHECK_THROWS_WITH_AS(save_safetensors(file(), {{"\xff", Tensor::zeros({2})}}),
                       doctest::Contains("not valid UTF-8"), Error);
}

TEST_CASE("a step whose options are refused changes nothing") {
  const Model model({{"w", {4, 3}}}), same({{"w", {4, 3}}});
  Optimizer optimizer = stepped("adamw", model);
  const Optimizer reference = stepped("adamw", same);
  CHECK_THROWS_AS(optimizer.step({.clip_norm = -1}), Error);
  CHECK_THROWS_AS(optimizer.step({.clip_value = -1}), Error);
  CHECK_THROWS_WITH_AS(optimizer.step({.clip_value = 1e-50}),  // which would be off
                       doctest::Contains("clip_value is 1e-50; in 32 bits"), Error);
  CHECK_THROWS_WITH_AS(optimizer.step({.gradient_scale = 1e50}),
                       doctest::Contains("gradient_scale is 1e+50"), Error);
  Probe beyond;
  beyond.element = 12;
  CHECK_THROWS_AS(optimizer.step({.probed = &model[0], .probe = &beyond}), Error);
  check_same(model, same);
  check_same_state(optimizer, reference);
}

TEST_CASE("a gradient that does not fit stops the step before anything changes") {
  const Model model({{"a", {8}}, {"b", {8, 2}}}), same({{"a", {8}}, {"b", {8, 2}}});
  Optimizer optimizer = make_optimizer("adamw", model.all());
  model.set_gradients(0);
  model[1].gradient = Tensor::zeros({2, 8});
  CHECK_THROWS_WITH_AS(optimizer.step(),
                       "optimizer: the gradient of 'b' is [2, 8], its value [8, 2]", Error);
  model[1].gradient = Gradient::rows(Tensor::from<i64>({3, 1}), Tensor::zeros({2, 2}));
  CHECK_THROWS_AS(optimizer.step(), Error);
  model[1].gradient = Gradient::rows(Tensor::from<i64>({3, 8}), Tensor::zeros({2, 2}));
  CHECK_THROWS_AS(optimizer.step(), Error);
  model[1].gradient = Gradient::rows(Tensor::from<i64>({3}), Tensor::zeros({1, 3}));
  CHECK_THROWS_AS(optimizer.step(), Error);
  model[1].gradient = Tensor::zeros({8, 2}, DType::f64);
  CHECK_THROWS_AS(optimizer.step(), Error);
  check_same(model, same);
}

TEST_CASE("a state of other blocks is refused, also where there are as many of them") {
  const Model model({{"w", {64, 64}}});
  model.set_gradients(0);
  Optimizer writer = make_optimizer("adamw8bit:block_size=260", model.all());
  writer.step();
  writer.save(file());
  Optimizer reader = make_optimizer("adamw8bit:block_size=256", model.all());
  REQUIRE(reader.scales() == writer.scales());
  CHECK_THROWS_WITH_AS(reader.load(file()), doctest::Contains("w/exp_avg"), Error);
  for (const NamedTensor& x : reader.tensors())
    if (x.name == "w/step") CHECK(x.tensor.item() == 0);
  Optimizer same = make_optimizer("adamw8bit:block_size=260", model.all());
  same.load(file());
  check_same_state(same, writer);
}

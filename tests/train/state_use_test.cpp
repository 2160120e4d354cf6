/// What a report tells of an optimizer's state, and of the texts that are most wrong.
#include "train/state_use.hpp"

#include "tests/support.hpp"
#include "tests/train/small_task.hpp"
#include "train/worst.hpp"

using namespace minima;

TEST_CASE(
    "the means of rows and columns lose nothing of a product, and a known part of a diagonal") {
  Tensor product = Tensor::empty({3, 5});
  for (i64 i = 0; i < 15; ++i)
    product.data<float>()[i] = static_cast<float>((1 + i / 5) * (2 + i % 5));
  CHECK(factoring_error(product) < 1e-6);
  Tensor diagonal = Tensor::zeros({4, 4});
  for (i64 i = 0; i < 4; ++i) diagonal.data<float>()[5 * i] = 1;
  // R·C/mean(R) is 1/4 everywhere: 4 errors of 3/4, 12 of 1/4; the sum of squares is 4.
  CHECK(factoring_error(diagonal) == doctest::Approx(std::sqrt((4 * 0.5625 + 12 * 0.0625) / 4)));
  CHECK(factoring_error(Tensor::zeros({2, 2})) == 0);
}

TEST_CASE(
    "state is described tensor by tensor, of fp32 with what it would lose, of 8 bits with what is "
    "expected") {
  const test::RunFolder folder;
  std::filesystem::create_directories(folder.path);
  Parameter w{.name = "w", .value = Tensor::full({80, 64}, 0.1), .gradient = {}},
      b{.name = "b", .value = Tensor::full({64}, 0.1), .gradient = {}};
  Json described[2];
  for (const bool narrow : {false, true}) {
    Optimizer optimizer =
        make_optimizer(narrow ? "adamw8bit" : "adamw", std::vector<Parameter*>{&w, &b});
    Tensor gradient = Tensor::empty({80, 64});
    for (i64 i = 0; i < gradient.size(); ++i)
      gradient.data<float>()[i] = std::sin(static_cast<float>(7 * i));
    w.gradient = gradient;
    b.gradient = Tensor::full({64}, 1);
    optimizer.step({});
    optimizer.save(folder.path / "optimizer.safetensors");
    described[narrow] = describe_state(StateFile(folder.path));
  }
  for (const Json& slots : described) {
    REQUIRE(slots.size() == 4);
    for (const Json& slot : slots) {
      CAPTURE(slot.dump());
      const bool large = slot["tensor"] == "w";
      CHECK(slot["elements"] == (large ? 5120 : 64));
      CHECK(slot["rounding"].is_number() == large);
      if (large) CHECK(slot["rounding"].get<double>() > 1e-4);
      if (large) CHECK(slot["rounding"].get<double>() < 0.05);
      CHECK(slot["factoring"].is_number() ==
            (large && slot["slot"] == "exp_avg_sq" && slot["storage"] == "fp32"));
    }
  }
  // What is expected of codes is near what was made of the same values.
  CHECK(described[0][0]["rounding"].get<double>() ==
        doctest::Approx(described[1][0]["rounding"].get<double>()).epsilon(0.3));
}

TEST_CASE("the worst errors are those with the least probability of the actual class") {
  TokenizedSplit split;
  split.labels = {0, 1, 1, 0};
  // Right; wrong by a little; wrong by much; wrong, between the two.
  const Tensor logits = Tensor::from(std::vector<float>{2, 0, 1, 0, 5, 0, 0, 2}, {4, 2});
  for (int i = 0; i < 4; ++i) split.offsets.push_back(0);
  const auto wrong = worst_errors(logits, split, 2);
  REQUIRE(wrong.size() == 2);
  CHECK(wrong[0].text == 2);
  CHECK(wrong[1].text == 3);
  CHECK(wrong[0].loss == doctest::Approx(5 + std::log(1 + std::exp(-5.0))));
  std::vector<Example> examples(4);
  examples[2].text = std::string(399, 'x') + "ä and more";
  const Json json = to_json(wrong, examples, {"calm", "cross"});
  CHECK(json[0]["actual"] == "cross");
  CHECK(json[0]["predicted"] == "calm");
  CHECK(json[0]["text"] == std::string(399, 'x') + " …");  // not within the ä
  CHECK_FALSE(json[0].contains("pair"));
  examples[2].pair = "its second text";
  CHECK(to_json(wrong, examples, {"calm", "cross"})[0]["pair"] == "its second text");
}

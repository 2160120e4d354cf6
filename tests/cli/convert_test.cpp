/// minima train --model DIRECTORY, and minima convert.
#include "core/files/json.hpp"
#include "core/files/safetensors.hpp"
#include "tests/cli/shell.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("a model directory is fine-tuned by --model, and convert writes it in other forms") {
  const Shell shell;
  const std::string small =
      " --data builtin --epochs 1 --optimizer sgd:lr=0.01 --threads 1 --watch 0";
  REQUIRE(shell.minima("train --model tiny --pooling first --layers 1 --out one" + small).code ==
          0);
  const Answer again = shell.minima("train --model one/final --out two --json" + small);
  CAPTURE(again.err);
  REQUIRE(again.code == 0);
  CHECK(again.err.find("made anew") == std::string::npos);  // the same labels: the same head
  CHECK(shell.exists("two/final/model.safetensors"));
  check_refused(shell, "train --model one/final --dim 32", {"one/final", "trained already"});
  check_refused(shell, "train --model one", {"one: is a run's folder", "one/final"});

  const Answer bare = shell.minima("convert one/final bare --dtype bf16 --encoder-only --json");
  CAPTURE(bare.err);
  REQUIRE(bare.code == 0);
  const Json report = parse_json(bare.out, "convert");
  CHECK(report["left_out"].size() == 4);
  CHECK(report["became_infinite"] == 0);
  CHECK(report["not_copied"] == Json::array({"optimizer.safetensors"}));
  const Answer told = shell.minima("convert one/final copy");
  CHECK(told.out.find("\nnot copied: optimizer.safetensors\n") != std::string::npos);
  check_refused(shell, "convert one/final bare", {"bare: is there already", "a new folder"}, "");
  const Answer third = shell.minima("train --model bare --out three" + small);
  REQUIRE(third.code == 0);
  CHECK(third.err.find("bare: made anew: classifier.bias (not in the checkpoint)") !=
        std::string::npos);
  check_refused(shell, "eval bare input", {"bare", "has no head", "train --model bare"}, "");
  CHECK(shell.minima("convert one/final/model.safetensors x.safetensors --dtype f16").code == 0);
  const auto type_of = [&](const char* file) {
    return SafetensorsFile(shell.folder / file).entries().begin()->second.dtype;
  };
  CHECK(type_of("bare/model.safetensors") == DType::bf16);
  CHECK(type_of("x.safetensors") == DType::f16);
  CHECK(shell.minima("convert x.safetensors f32.safetensors --dtype f32").code == 0);
  CHECK(type_of("f32.safetensors") == DType::f32);
  CHECK(contains(shell.minima("convert one/final two/bare --encoder-only").out,
                 "\nleft out: classifier.bias, classifier.weight, pre_classifier.bias, "));
  save_safetensors(
      shell.folder / "wide.safetensors",
      std::vector<NamedTensor>{{"w", Tensor::from<float>({1e9f, 1e-30f, -1e-30f, 1})}});
  check_refused(shell, "convert wide.safetensors half.safetensors --dtype f16",
                {"'w'", "--allow-overflow"}, "");
  const Answer half =
      shell.minima("convert wide.safetensors half.safetensors --dtype f16 --allow-overflow");
  CHECK(half.out == "half.safetensors: 1 tensor, 4 values, 104 bytes\n");
  CHECK(half.err ==
        "minima: warning: 1 value became infinite\nminima: warning: 2 values became zero\n");
  check_refused(shell, "convert x.safetensors y", {"config.json", "--like"}, "");
  check_refused(shell, "convert one/final y.safetensors --like one/final",
                {"single file", "--like"}, "");
  const Answer limited = shell.minima("convert one/final big", "",
                                      "ulimit -f 8 && env");  // blocks of 512 or 1024 bytes
  CAPTURE(limited.err);
  CHECK(limited.code == 1);
  CHECK(limited.err.find("cannot be written: File too large") != std::string::npos);
  CHECK_FALSE(shell.exists("big"));
  CHECK_FALSE(shell.exists("big.minima-part"));
  check_refused(shell, "convert none y.safetensors", {"none", "cannot be opened"}, "");
}

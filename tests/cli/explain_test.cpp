/// minima explain.
#include "core/files/json.hpp"
#include "tests/cli/shell.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("explain shows a step with its formulas, and refuses what does not fit") {
  const Shell shell;
  const Answer answer = shell.minima("explain adamw8bit --shape 4x300 --element 2,17 --json");
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  const Json step = parse_json(answer.out, "explain --json")["steps"][0];
  CHECK(step["element"] == 617);
  CHECK(step["slots"][0]["code"].is_number());
  CHECK(step["lines"][0]["letters"] == "β₁ * m + (1 − β₁) * g");
  const Answer text = shell.minima("explain adamw:lr=0.1 --weight 0.5 --gradient 0.2");
  CHECK(text.out.find("= 0.9 * 0 + 0.1 * 0.2") != std::string::npos);
  CHECK(text.out.find("adamw: lr 0.1, beta1 0.9, beta2 0.999") == 0);
  for (const char* option : {"clip", "clip-value"})
    check_refused(shell, fmt::format("explain adamw --{}=-1", option),
                  {fmt::format("explain: --{} is -1; it must be at least 0", option)}, "");
  const Answer own = shell.minima("explain adafactor --weight '1,2;3,4' --lr-factor 0.5");
  CHECK(own.code == 0);
  CHECK(own.err ==
        "note: adafactor makes its own step size: --lr-factor has no effect\n"
        "note: the gradient is random (--seed 1); --gradient gives one\n"
        "note: train and compare take adafactor as adafactor:lr=0.03:relative_step=false\n");
  const Answer warming =
      shell.minima("explain adafactor:warmup_init=true --gradient 1 --gradient 2 --json");
  CHECK(parse_json(warming.out, "explain --json")["steps"].size() == 2);
  CHECK(warming.out.find("the relative step min(10⁻⁶ t, 1/√t)") != std::string::npos);
  CHECK(shell.minima("explain adamw --shape 3x").err.find("--shape is '3x'; '' must be") !=
        std::string::npos);
  const Answer nan =
      shell.minima("explain adafactor:eps1=0 --weight '0,0;0,0' --gradient '0,0;0,0'");
  CHECK(nan.out.find("= nan\n") != std::string::npos);
  const Answer as_torch = shell.minima("explain adafactor-torch --weight 1,2 --gradient nan,1");
  CHECK(contains(as_torch.out, "RMS(u)             = nan"));
  CHECK(contains(as_torch.out, "clip               = 1 "));
  const Answer guarded = shell.minima("explain adamw8bit --gradient=-inf");
  CHECK(guarded.out.find("g              = -inf") != std::string::npos);
  CHECK(guarded.out.find("p              = 0.5   stays") != std::string::npos);
  CHECK(
      shell.minima("explain --weight '1, 2; 3, 4' --gradient '5, 6; 7, 8' --element '1, 0'").out ==
      shell.minima("explain --weight '1,2;3,4' --gradient '5,6;7,8' --element 1,0").out);
  // Each step of several has its own gradient, the last for the rest; what is done to it comes before the formula.
  const Answer steps = shell.minima(
      "explain sgd:lr=1 --weight 0,0 --gradient 1,2 --gradient 3,4 --steps 3 --element 1 --clip 1 "
      "--clip-value 0.5 --lr-factor 0.5");
  CHECK(steps.out.starts_with(
      "sgd: lr 1.0, momentum 0.0, dampening 0.0, nesterov false, weight_decay 0.0, maximize "
      "false\n\nstep 1 of sgd, element 1 of [2]\n"
      "  p              = 0   the weight\n"
      "  g              = 2   its gradient\n"
      "  clipping       norm 2.236068, at most 1: g is multiplied by 0.44721338\n"
      "  cutting        each entry to ± 0.5, after scaling\n"
      "  schedule       the learning rate is multiplied by 0.5\n"));
  CHECK(contains(steps.out,
                 "\n                 = -0.5\n\nstep 3 of sgd, element 1 of [2]\n"
                 "  p              = -0.5   the weight\n"
                 "  g              = 4   its gradient\n"));
  CHECK(shell.minima("explain sgd").out ==
        shell.minima("explain sgd --weight 0.5 --gradient 0.2").out);
  CHECK(own.out.starts_with("adafactor: lr none, eps1 1e-30, "));
  const auto gradients = [&](const std::string& options) {
    const Json all = json_of(shell, "explain sgd --shape 3 --json --steps 2" + options);
    return std::pair(all["steps"][0]["gradient"], all["steps"][1]["gradient"]);
  };
  CHECK(gradients("").first != gradients("").second);
  CHECK(gradients("") != gradients(" --seed 2"));
  CHECK(json_of(shell, "explain adapm --shape 4x4 --json")["steps"][0]["slots"].size() >
        json_of(shell, "explain adapm --shape 4x4 --json --name embeddings")["steps"][0]["slots"]
            .size());
  CHECK(json_of(shell, "explain sgd:lr=1 --json")["options"]["groups"][0]["options"]["lr"] == 1);
  const Answer later = shell.minima("explain adamw --weight 1,2 --gradient 1,2 --gradient 1");
  CHECK(later.code == 2);
  CHECK(later.out.empty());
  for (const char* wrong :
       {"--weight 1,2 --gradient 1", "--element 3", "--shape 0x3", "--shape 2x", "--weight 1,x",
        "--weight nan", "--weight 1e-50", "--weight '1,2;3'", "--steps 0", "--steps 100001",
        "--weight 1 --shape 3", "--clip nan", "--steps 1 --gradient 1 --gradient 2"}) {
    CAPTURE(wrong);
    const Answer refused = shell.minima(std::string("explain adamw ") + wrong);
    CHECK(refused.code == 2);
    CHECK(refused.out.empty());
  }
}

/// Comparisons: the same start for every optimizer, what becomes of runs that fail, and tuned learning rates.
#include "train/compare.hpp"

#include "core/files/file.hpp"
#include "tests/data/files.hpp"
#include "tests/train/fifty_steps.hpp"
#include "train/find_lr.hpp"
#include "train/report.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE(
    "a comparison starts every optimizer from the same weights on the same batches, and predicts "
    "its state exactly") {
  const test::RunFolder folder;
  const Json result = compare(
      small_task(), {.optimizers = {"adamw", "adafactor", "adamw8bit:min_8bit_size=256", "sgd"},
                     .seeds = 2,
                     .training = short_training(),
                     .directory = folder.path});
  REQUIRE(result["runs"].size() == 8);
  for (const Json& run : result["runs"]) {
    CAPTURE(run["spec"].get<std::string>());
    CHECK(run["state_bytes"] == run["state_bytes_predicted"]);
    CHECK(run["train_loss"].size() == 12);
    // The first loss is computed before any optimizer has moved a weight.
    const std::size_t seed_index = run["seed"].get<u64>() == 1 ? 0 : 4;
    CHECK(run["train_loss"][0] == result["runs"][seed_index]["train_loss"][0]);
    CHECK(run["peak_bytes"].get<i64>() > run["state_bytes"].get<i64>());
  }
  CHECK(result["runs"][0]["train_loss"][0] != result["runs"][4]["train_loss"][0]);
  CHECK(std::filesystem::exists(folder.path / "report.html"));
  CHECK(read_json(folder.path / "comparison.json")["runs"].size() == 8);
  const std::string table = comparison_table(result);
  CHECK(table.find("adafactor:lr=0.03:relative_step=false") != std::string::npos);
  CHECK(table.find(" ± ") != std::string::npos);
}

TEST_CASE("a comparison refuses a wrong optimizer before it trains anything") {
  const test::RunFolder folder;
  const auto error_of = [&](const std::vector<std::string>& optimizers) {
    return test::error_of([&] {
      compare(small_task(), {.optimizers = optimizers,
                             .training = short_training(),
                             .directory = folder.path / "run"});
    });
  };
  CHECK(error_of({"adamw", "adamv"}).find("adamw") != std::string::npos);
  CHECK(error_of({"adamw", "sgd", "adamw:lr=1e-3"}) ==
        "compare: 'adamw' and 'adamw:lr=1e-3' are one optimizer with the same options; leave one "
        "out");
  CHECK(error_of({"adamw:momentum=1"}).find("momentum") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder.path / "run"));
}

TEST_CASE("a comparison goes on when one optimizer's run fails, and says which") {
  const Json result = compare(
      small_task(),
      {.optimizers = {"adamw", "sgd:lr=1e30"}, .training = short_training(), .directory = {}});
  CHECK(result["runs"].size() == 1);
  REQUIRE(result["failed"].size() == 1);
  CHECK(result["failed"][0]["spec"] == "sgd:lr=1e30");
  CHECK(result["failed"][0]["error"].get<std::string>().find("step") != std::string::npos);
}

TEST_CASE("of a run of a comparison that failed its page has the alarm, and the report its row") {
  const test::RunFolder folder;
  const Json result = compare(small_task(), {.optimizers = {"adamw", "sgd:lr=1e30"},
                                             .training = short_training(),
                                             .directory = folder.path});
  CHECK_FALSE(result["failed"][0]["alarms"].empty());
  const std::string page = read_file(folder.path / "report.html");
  for (const char* shown :
       {"sgd (failed)", "class=\"failure\"", "<li>sgd:lr=1e30, seed 1: step "}) {
    CAPTURE(shown);
    CHECK(page.find(shown) != std::string::npos);
  }
  CHECK(page.find("No alarm") == std::string::npos);
}

TEST_CASE("a run whose loss on dev is never finite has failed, and is chosen as none") {
  const test::RunFolder folder;
  ComparisonOptions options;
  options.optimizers = {"adamw:lr=1e20", "adamw"};
  options.training = fifty_steps();
  options.training.schedule = "constant";
  options.training.steps = 4;
  options.training.metric = "loss";
  options.training.non_finite = NonFinite::skip;
  options.directory = folder.path;
  for (const bool resume : {false, true}) {
    options.resume = resume;
    const Json result = compare(small_task(), options);
    CHECK(result["runs"].size() == 1);
    REQUIRE(result["failed"].size() == 1);
    CHECK(result["failed"][0]["spec"] == "adamw:lr=1e20");
    CHECK(comparison_table(result).find("nan") == std::string::npos);
  }
  options.optimizers = {"sgd:lr=1e20", "adamw"};
  options.rates = 3;
  options.resume = false;
  options.directory.clear();
  const Json tuned = compare(small_task(), options);
  REQUIRE(tuned["runs"].size() == 1);
  CHECK(tuned["runs"][0]["optimizer"] == "adamw");
  for (const Json& tried : tuned["tuning"][0]["tried"]) CHECK(tried["score"].is_null());
  const std::vector<std::string> said = what_was_tuned(tuned);
  REQUIRE(said.size() == 2);
  CHECK(said[0].find("none has a finite score") != std::string::npos);
  CHECK(said[0].find("best") == std::string::npos);
  CHECK(said[1].find("(best)") != std::string::npos);
  options.optimizers = {"sgd:lr=1e20"};
  CHECK_THROWS_WITH_AS(compare(small_task(), options), doctest::Contains("never finite before"),
                       Error);
}

TEST_CASE("a rate at which one seed failed is not chosen, whatever the others score there") {
  ComparisonOptions options;
  options.optimizers = {"adamw"};
  options.training = fifty_steps();
  options.training.steps = 4;
  options.rates = options.seeds = 2;
  const auto best = [](const Json& result) { return result["tuning"][0]["spec"]; };
  const Json best_of_all = best(compare(small_task(), options));
  for (const u64 failing : {1, 2}) {
    CAPTURE(failing);
    bool fails = false;
    const ComparisonObserver observer{
        [&](const std::string& spec, u64 seed) { fails = seed == failing && spec == best_of_all; },
        {.step = [&](const StepRecord&, i64) {
          if (fails) fail_training("planted");
        }}};
    const Json result = compare(small_task(), options, observer);
    CHECK(best(result) != best_of_all);
    REQUIRE(result["runs"].size() == 2);
    for (const Json& run : result["runs"]) CHECK(run["spec"] == best(result));
    for (const Json& tried : result["tuning"][0]["tried"])
      CHECK(tried["score"].is_null() == (tried["spec"] == best_of_all));
    CHECK(result["tuning"][0]["spread"] == 0);
  }
}

TEST_CASE("rates are chosen by whatever score there is, and where none is named by the loss") {
  ComparisonOptions options;
  options.optimizers = {"adamw"};
  options.training = fifty_steps();
  options.training.steps = 4;
  options.rates = 2;
  for (const auto& [metric, key] :
       {std::pair{"f1", "macro_f1"}, {"macro_f1", "macro_f1"}, {"", "loss"}}) {
    CAPTURE(metric);
    options.training.metric = metric;
    const Json result = compare(small_task(), options), &best = result["runs"][0],
               &tuned = result["tuning"][0];
    CHECK(tuned["spec"] == best["spec"]);
    for (const Json& tried : tuned["tried"]) {
      REQUIRE(tried["score"].is_number());
      if (tried["spec"] == best["spec"]) CHECK(tried["score"] == best["dev"][key]);
    }
    const auto tried = [&](std::size_t i) { return tuned["tried"][i]["score"].get<double>(); };
    CHECK(best["dev"][key] ==
          (*metric ? std::max(tried(0), tried(1)) : std::min(tried(0), tried(1))));
    const auto rate = [&](std::size_t i) {
      return learning_rate(tuned["tried"][i]["spec"].get<std::string>()).value();
    };
    CHECK(rate(1) / rate(0) == doctest::Approx(std::sqrt(10)).epsilon(0.01));
    CHECK(tuned["tried"][1]["spec"] == with_defaults("adamw"));
  }
  options.optimizers = {"sgd:lr=1e-5"};  // too small to change what any text is taken for
  options.training.metric = "accuracy";
  const Json alike = compare(small_task(), options);
  CHECK(alike["tuning"][0]["spread"] == 0);
  CHECK(alike["tuning"][0]["spec"] == "sgd:lr=1e-5");
  CHECK(what_was_tuned(alike)[0].ends_with("; all are alike, the best has the least loss"));
}

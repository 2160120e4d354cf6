/// One report of runs that were trained apart: which of them are seeds of one another.
#include "train/collect.hpp"

#include <doctest/doctest.h>

#include "core/file.hpp"
#include "tests/data/files.hpp"
#include "tests/train/sample_comparison.hpp"
#include "train/compare.hpp"
#include "train/report.hpp"

using namespace minima;
using test::sample_comparison;
namespace fs = std::filesystem;

namespace {

/// The folder of a comparison that `change` made out of a sample of one optimizer with one seed.
fs::path folder_of(
    const test::Folder& home, const std::string& name, u64 seed,
    const std::function<void(Json&)>& change = [](Json&) {},
    const std::string& optimizer = "adamw") {
  Json comparison = sample_comparison({optimizer}, {.seeds = 1}, {"no", "yes"});
  comparison["failed"] = Json::array();
  comparison["runs"][0]["seed"] = seed;
  change(comparison);
  const fs::path folder = fs::path(home.path()) / name;
  fs::create_directories(folder);
  write_file(folder / "comparison.json", comparison.dump());
  return folder;
}

/// "spec: its seeds" of each entry.
std::vector<std::string> entries(const std::vector<fs::path>& folders) {
  std::vector<std::string> all;
  std::string last;
  const Json collected = collect_runs(folders);
  for (const Json& run : collected["runs"]) {
    const auto spec = run["spec"].get<std::string>();
    if (spec != last) all.push_back(spec + ":");
    all.back() += " " + run["seed"].dump();
    last = spec;
  }
  return all;
}

}  // namespace

TEST_CASE("runs that differ in their seeds alone are one entry, in whatever order they are named") {
  const test::Folder home;
  const auto longer = [](Json& json) { json["training"]["epochs"] = 50; };
  const fs::path a = folder_of(home, "a", 1), b = folder_of(home, "b", 2, longer),
                 c = folder_of(
                     home, "c", 3,
                     [](Json&json) {
                       json["training"].update({{"seeds", {3}}, {"keep", 7}, {"threads", 5}});
                     }),
                 d = folder_of(home, "d", 4, longer);
  const std::string epochs =
      sample_comparison({"adamw"}, {.seeds = 1}, {"no", "yes"})["training"]["epochs"].dump();
  CHECK(entries({a, c}) == std::vector<std::string>{"adamw: 1 3"});
  CHECK(entries({a, b, c, d}) ==
        std::vector<std::string>{"adamw (epochs " + epochs + "): 1 3", "adamw (epochs 50): 2 4"});
  CHECK_FALSE(collect_runs({a, c})["training"].contains("note"));
  CHECK(collect_runs({a, b})["training"].contains("note"));
  CHECK(comparison_table(collect_runs({a, b, c, d})).find("adamw (epochs 50)") !=
        std::string::npos);
}

TEST_CASE("runs of one optimizer with the same options are called by what else differs") {
  const test::Folder home;
  const auto of_epochs = [&](int epochs) {
    return folder_of(
        home, std::to_string(epochs), 1,
        [=](Json& json) {
          json["training"].update({{"epochs", epochs}, {"steps", 155 * epochs}});
        },
        "adamw:lr=0.001");
  };
  const fs::path few = folder_of(
      home, "few", 1,
      [](Json& json) {
        json["training"].update({{"epochs", 2}, {"steps", 200}, {"by_steps", true}});
      },
      "adamw:lr=0.001");
  CHECK(comparison_table(collect_runs({of_epochs(1), few})).find("adamw:lr=0.001 (steps 200)") !=
        std::string::npos);
  const Json both = collect_runs({of_epochs(6), of_epochs(40)});
  CHECK(comparison_table(both).find("adamw:lr=0.001 (epochs 40)") != std::string::npos);
  const std::string page = report_html(both);
  for (const std::string shown :
       {"<h1>adamw (epochs 6) and adamw (epochs 40) on sample</h1>", "</svg>adamw (epochs 40)</th>",
        "class=\"name\">adamw (epochs 40)</text>"}) {
    CAPTURE(shown);
    CHECK(page.find(shown) != std::string::npos);
  }
}

TEST_CASE("runs of another model or another optimizer say what is not as in the first folder") {
  const test::Folder home;
  const fs::path a = folder_of(home, "a", 1),
                 wider = folder_of(
                     home, "wider", 1,
                     [](Json&json) {
                       json["model"].update({{"config", {{"dim", 256}}}, {"parameters", 99}});
                     }),
                 other = folder_of(
                     home, "other", 1, [](Json&json) { json["training"]["clip_norm"] = 0; },
                     "lion");
  CHECK(entries({a, wider, other}) ==
        std::vector<std::string>{"adamw (dim 128, parameters 1234567): 1",
                                 "adamw (dim 256, parameters 99): 1", "lion (clip_norm 0): 1"});
}

TEST_CASE("options that differ are said as one gives them, and a name also says what came later") {
  const test::Folder home;
  const auto changed = [](const Json& when, const std::string& spec) {
    return [=](Json& json) {
      json["training"]["switches"] = Json::array({when});
      json["training"]["groups"] = Json::array({{{"pattern", "bias"}, {"options", "lr=1e-5"}}});
      json["runs"][0]["switches"] = Json::array({{{"step", 20}, {"to", spec}}});
    };
  };
  const fs::path plain = folder_of(home, "plain", 1,
                                   [](Json&json) {
                                     json["training"]["switches"] = Json::array();
                                     json["training"]["groups"] = Json::array();
                                   }),
                 half = folder_of(home, "half", 1,
                                  changed({{"steps", 0}, {"share", 0.5}, {"spec", "lion:lr=1e-3"}},
                                          "lion:lr=1e-3")),
                 later =
                     folder_of(home, "later", 1,
                               changed({{"steps", 30}, {"share", 0.0}, {"spec", "sgd"}}, "sgd"));
  const std::string of_half = "(group bias:lr=1e-5, switch 50%:lion:lr=1e-3)",
                    of_later = "(group bias:lr=1e-5, switch 30:sgd)";
  CHECK(entries({plain, half, later}) ==
        std::vector<std::string>{"adamw (group none, switch none): 1", "adamw " + of_half + ": 1",
                                 "adamw " + of_later + ": 1"});
  const std::string table = comparison_table(collect_runs({plain, half, later}));
  CHECK(table.find("adamw → lion " + of_half) != std::string::npos);
  CHECK(table.find("adamw → sgd " + of_later) != std::string::npos);
  CHECK(report_html(collect_runs({half, later}))
            .find("<h1>adamw → lion and adamw → sgd on sample</h1>") != std::string::npos);
  CHECK(
      report_html(collect_runs({plain, half})).find("<h1>adamw and adamw → lion on sample</h1>") !=
      std::string::npos);
}

TEST_CASE("a folder that is named twice is refused, by whatever path") {
  const test::Folder home;
  const fs::path a = folder_of(home, "a", 1), b = folder_of(home, "b", 2);
  fs::create_directory_symlink(a, fs::path(home.path()) / "link");
  for (const fs::path& again : {a, a / "", b / ".." / "a", fs::path(home.path()) / "link"})
    CHECK_THROWS_WITH_AS(collect_runs({a, b, again}), doctest::Contains("named twice"), Error);
}

TEST_CASE("runs that a stopped comparison lacks are named, in words and on the page") {
  const test::Folder home;
  const fs::path
      a = folder_of(home, "a", 1,
                    [](Json&json) {
                      json["unfinished"] = {{{"spec", "sgd"}, {"seed", 2}}};
                      json["failed"] = {{{"spec", "lion"}, {"seed", 1}, {"error", "it <blew> up"}}};
                    }),
      b = folder_of(home, "b", 2, [](Json&json) {
        json["unfinished"] = {{{"spec", "came"}, {"seed", 3}}};
      });
  const Json all = collect_runs({a, b});
  CHECK(what_it_lacks(all) == std::vector<std::string>{"lion with seed 1 failed: it <blew> up",
                                                       "sgd with seed 2 has not ended",
                                                       "came with seed 3 has not ended"});
  const std::string page = report_html(all);
  CHECK(page.find("lion with seed 1 failed: it &lt;blew&gt; up") != std::string::npos);
  CHECK(page.find("came with seed 3 has not ended") != std::string::npos);
}

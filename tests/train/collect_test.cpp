/// One report of runs that were trained apart: which of them are seeds of one another.
#include "train/collect.hpp"

#include <doctest/doctest.h>

#include "core/files/file.hpp"
#include "tests/data/files.hpp"
#include "tests/train/page.hpp"
#include "tests/train/sample_comparison.hpp"
#include "train/compare.hpp"
#include "train/report.hpp"

using namespace minima;
using test::contains, test::sample_comparison;
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
  CHECK(entries({a, c}) == std::vector<std::string>{"adamw: 1 3"});
  CHECK(entries({a, b, c, d}) ==
        std::vector<std::string>{"adamw (a, c): 1 3", "adamw (b, d): 2 4"});
  CHECK_FALSE(collect_runs({a, c})["training"].contains("note"));
  CHECK(collect_runs({a, b})["training"].contains("note"));
  const std::string table = comparison_table(collect_runs({a, b, c, d}));
  CHECK(contains(table, "\nadamw (b, d) "));
  CHECK(contains(table, "\nwhat differs  a, c  b, d\n--epochs         4    50\n"));
}

TEST_CASE("the same seed once more is no further seed: it stands apart, whatever brings it") {
  const test::Folder home;
  const fs::path a = folder_of(home, "a", 1), again = folder_of(home, "again", 1),
                 b = folder_of(home, "b", 2), joint = fs::path(home.path()) / "joint";
  CHECK(entries({a, again, b}) ==
        std::vector<std::string>{"adamw (a, b): 1 2", "adamw (again): 1"});
  const Json both = collect_runs({a, b});
  fs::create_directories(joint);
  write_file(joint / "comparison.json", both.dump());
  CHECK(entries({joint, a}) == std::vector<std::string>{"adamw (joint): 1 2", "adamw (a): 1"});
}

TEST_CASE("runs of one optimizer are called by their folders, and one table tells what differs") {
  const test::Folder home;
  const auto run = [&](const std::string& name, const Json& training, const std::string& spec) {
    return folder_of(
        home, name, 1,
        [&](Json& json) {
          json["training"].update({{"groups", Json::array()}, {"steps", 620}, {"by_steps", false}});
          json["training"].update(training);
        },
        spec);
  };
  const fs::path plain = run("plain", Json::object(), "adamw:lr=0.001"),
                 clipped = run("clipped", {{"clip_norm", 0.5}, {"epochs", 6}, {"steps", 930}},
                               "adamw:lr=0.001"),
                 grouped = run("grouped",
                               {{"steps", 200},
                                {"by_steps", true},
                                {"groups", {{{"pattern", "embeddings"}, {"options", "lr=1e-4"}}}}},
                               "adamw:state=block8:lr=0.001");
  const Json all = collect_runs({plain, clipped, grouped});
  const std::string page = report_html(all), table = comparison_table(all);
  test::check_page(page);
  for (const std::string shown :
       {"<title>minima: 3 runs of adamw on sample</title>", "<h1>3 runs of adamw on sample</h1>",
        "<strong>clipped</strong> kept 100\u00a0% of plain’s state", "</svg>clipped</th>",
        "class=\"name\">clipped</text>", "What each run cost and reached",
        "<th scope=\"col\">Option</th><th scope=\"col\">plain</th><th "
        "scope=\"col\">clipped</th><th "
        "scope=\"col\">grouped</th>",
        "--clip</th><td>1</td><td>0.5</td><td>1</td>",
        "--epochs</th><td>4</td><td>6</td><td>–</td>",  // the last was told its steps
        "--steps</th><td>–</td><td>–</td><td>200</td>",
        "--group</th><td>none</td><td>none</td><td>embeddings:lr=1e-4</td>",
        "--optimizer</th><td>adamw:lr=0.001</td><td>adamw:lr=0.001</td><td>"
        "adamw:state=block8:lr=0.001</td>"}) {
    CAPTURE(shown);
    CHECK(contains(page, shown));
  }
  CHECK_FALSE(contains(page, "clip_norm"));
  CHECK(contains(table, "\nadamw:lr=0.001 (clipped) "));
  CHECK(contains(table, "\nwhat differs"));
  CHECK(contains(table, "\n--clip"));
  const Json two = collect_runs({plain, run("lion", {{"clip_norm", 0}}, "lion:lr=0.001")});
  CHECK(contains(report_html(two), "<h1>adamw and lion on sample</h1>"));
  CHECK(contains(report_html(two), "--clip</th><td>1</td><td>0</td>"));
  const fs::path damaged =
      run("damaged", {{"epochs", 2}, {"by_steps", Json::object()}}, "adamw:lr=0.001");
  const std::string with_damaged = comparison_table(collect_runs({plain, damaged}));
  CAPTURE(with_damaged);
  CHECK(contains(with_damaged, "\n--epochs"));
}

TEST_CASE("a report of several folders can be taken into another one") {
  const test::Folder home;
  const auto run = [&](const std::string& name, double clip, u64 seed = 1) {
    return folder_of(home, name, seed, [&](Json& json) { json["training"]["clip_norm"] = clip; });
  };
  Json both = collect_runs({run("a", 1), run("b", 2)});
  const fs::path again = fs::path(home.path()) / "both";
  fs::create_directories(again);
  write_file(again / "comparison.json", both.dump());
  const Json all = collect_runs({again, run("c", 3), run("d", 2, 2)});
  CHECK(contains(comparison_table(all), "\nwhat differs  a  b, d  c\n--clip        1     2  3\n"));
}

TEST_CASE(
    "seeds of optimizers with several sets of options, in two folders, are called by their "
    "options") {
  const test::Folder home;
  const auto both = [&](const std::string& name, u64 seed) {
    return folder_of(home, name, seed, [](Json& json) {
      json["runs"].push_back(json["runs"][0]);
      json["runs"][1]["spec"] = "adamw:lr=0.1";
    });
  };
  CHECK(entries({both("a", 1), both("b", 2)}) ==
        std::vector<std::string>{"adamw: 1 2", "adamw:lr=0.1: 1 2"});
}

TEST_CASE("what tells folders apart is as long as it must be") {
  const test::Folder home;
  fs::create_directories(fs::path(home.path()) / "one");
  fs::create_directories(fs::path(home.path()) / "two");
  const auto longer = [](Json& json) { json["training"]["epochs"] = 50; };
  const fs::path a = folder_of(home, "one/run", 1), b = folder_of(home, "two/run", 1, longer);
  CHECK(collect_runs({a, b})["runs"][1]["label"] == b.string());
}

TEST_CASE("runs of another model or another optimizer say what is not alike") {
  const test::Folder home;
  const fs::path a = folder_of(home, "a", 1),
                 wider = folder_of(
                     home, "wider", 1,
                     [](Json&json) {
                       json["model"].update(
                           {{"config",
                             {{"dim", 256}, {"minima_pooling", "mean"}, {"rate of dim", 256}}},
                            {"parameters", 99}});
                     }),
                 other = folder_of(
                     home, "other", 1, [](Json&json) { json["training"]["clip_norm"] = 0; },
                     "lion");
  CHECK(entries({a, wider, other}) ==
        std::vector<std::string>{"adamw (a): 1", "adamw (wider): 1", "lion (other): 1"});
  const Json all = collect_runs({a, wider, other});
  CHECK(
      all["runs"][2]["configuration"] ==
      Json{{"--clip", "0"}, {"--dim", "128"}, {"parameters", "1234567"}, {"--optimizer", "lion"}});
  CHECK(contains(report_html(all), "<h1>3 runs on sample</h1>"));
  // What has no option and is told by one is left out; what only one knows is no difference.
  CHECK(contains(comparison_table(all), "parameters"));
  CHECK_FALSE(contains(comparison_table(all), "rate of dim"));
  CHECK_FALSE(contains(comparison_table(all), "pooling"));
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
  const Json all = collect_runs({plain, half, later});
  const auto configuration = [&](int run) { return all["runs"][run]["configuration"]; };
  CHECK(configuration(0) == Json{{"--group", "none"}, {"--switch", "none"}});
  CHECK(configuration(1) == Json{{"--group", "bias:lr=1e-5"}, {"--switch", "50%:lion:lr=1e-3"}});
  CHECK(configuration(2) == Json{{"--group", "bias:lr=1e-5"}, {"--switch", "30:sgd"}});
  const std::string table = comparison_table(all);
  CHECK(contains(table, "adamw → lion (half)"));
  CHECK(contains(table, "adamw → sgd (later)"));
  CHECK(contains(report_html(collect_runs({half, later})),
                 "<h1>adamw → lion and adamw → sgd on sample</h1>"));
  CHECK(contains(report_html(collect_runs({plain, half})),
                 "<h1>adamw and adamw → lion on sample</h1>"));
}

TEST_CASE("folders of very many settings are joined, and told apart by the one that differs") {
  const test::Folder home;
  const auto with = [](int last) {
    return [=](Json& json) {
      Json::object_t many;
      for (int i = 0; i < 100'000; ++i) many.emplace_back(fmt::format("x{}", i), 0);
      many.back().second = last;
      json["model"]["config"] = std::move(many);
    };
  };
  const fs::path a = folder_of(home, "a", 1, with(1)), b = folder_of(home, "b", 2, with(2));
  CHECK(entries({a, b}) == std::vector<std::string>{"adamw (a): 1", "adamw (b): 2"});
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
        json["tuning"] = {
            {{"spec", "sgd:lr=1"}, {"tried", {{{"spec", "sgd:lr=1"}, {"score", 0.5}}}}}};
      });
  const Json all = collect_runs({a, b});
  REQUIRE(what_was_tuned(all).size() == 1);
  CHECK(what_was_tuned(all)[0].starts_with("sgd:lr=1 (b): dev "));
  CHECK(what_it_lacks(all) == std::vector<std::string>{"lion with seed 1 failed: it <blew> up",
                                                       "sgd with seed 2 has not ended",
                                                       "came with seed 3 has not ended"});
  const std::string page = report_html(all);
  CHECK(page.find("lion with seed 1 failed: it &lt;blew&gt; up") != std::string::npos);
  CHECK(page.find("came with seed 3 has not ended") != std::string::npos);
}

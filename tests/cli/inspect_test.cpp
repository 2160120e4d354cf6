/// minima inspect.
#include <fmt/format.h>

#include <cmath>
#include <numeric>
#include <sstream>

#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "core/files/safetensors.hpp"
#include "tests/cli/shell.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

/// The last line of a table that begins with `key`, its columns a blank apart, without bars.
std::string row_of(const std::string& text, const std::string& key) {
  const std::size_t at = text.rfind("\n" + key + " ") + 1;
  std::istringstream line(text.substr(at, text.find('\n', at) - at));
  std::string row, word;
  while (line >> word && word[0] != '|') row += (row.empty() ? "" : " ") + word;
  return row;
}

std::string number(const Json& x) {
  return x.is_null() ? "-" : fmt::format("{:.3g}", x.get<double>());
}
std::string percent(const Json& x) {
  if (x.is_null()) return "-";
  const double share = x.get<double>();
  return share < 10 ? fmt::format("{:.3g} %", 100 * share) : fmt::format("{:.0f} %", 100 * share);
}

}  // namespace

TEST_CASE("inspect opens the state that train wrote, compares two, and refuses what is none") {
  const Shell shell;
  for (const auto& [optimizer, run] : {std::pair{"adamw", "whole"},
                                       {"adamw8bit:min_8bit_size=0", "eight"},
                                       {"sgd:momentum=0.9", "third"}}) {
    const Answer trained =
        shell.minima(fmt::format("train --optimizer {} --out {}{}", optimizer, run, kTiny));
    CAPTURE(trained.err);
    REQUIRE(trained.code == 0);
  }
  REQUIRE(shell.minima("train --out steps --batch 128 --save-every 2" + std::string(kTiny)).code ==
          0);
  const Answer one = shell.minima("inspect eight/final --against whole/final --json");
  CAPTURE(one.err);
  REQUIRE(one.code == 0);
  const Json json = parse_json(one.out, "inspect --json");
  CHECK(json["optimizer"] == "adamw8bit");
  CHECK(json["slots"][0]["codes"]["histogram"].size() == 256);
  CHECK(json["against"]["common"].size() == json["slots"].size());
  i64 bytes = 0;
  for (const Json& slot : json["slots"]) bytes += slot["bytes"].get<i64>();
  const Json& total = json["totals"]["total"];
  CHECK(total["bytes"] == bytes);
  CHECK(total["elements"].get<i64>() + 4 * total["scales"].get<i64>() +
            3 * json["totals"]["step"]["elements"].get<i64>() ==
        bytes);  // of a byte each, but for scales and steps
  CHECK(row_of(shell.minima("inspect eight").out, "total") ==
        fmt::format("total {} {} {} {}", json["slots"].size(), total["elements"].get<i64>(),
                    total["scales"].get<i64>(), bytes));

  const Answer table = shell.minima("inspect eight/final --slot exp_avg_sq --parameter bias");
  CHECK(table.code == 0);
  CHECK(table.out.find("/exp_avg_sq") != std::string::npos);
  CHECK(table.out.find("weight") == std::string::npos);
  const Answer two = shell.minima("inspect whole/final eight/final");
  CHECK(two.code == 0);
  CHECK(two.out.find("fp32, block8") != std::string::npos);
  CHECK(two.out.find("A: whole/final/optimizer.safetensors, adamw\n"
                     "B: eight/final/optimizer.safetensors, adamw8bit\n\nB − A\n") == 0);
  CHECK(two.out.find("relative: the largest difference of an entry") != std::string::npos);
  CHECK(shell.minima("inspect whole/final eight/final --parameter pre_classifier.bias")
            .out.ends_with("\nstep: 0 of 1 counter differs\n"));
  const std::string moments = "inspect whole/final third/final --parameter pre_classifier.bias";
  const std::vector<std::string> only_a{
      "pre_classifier.bias/exp_avg", "pre_classifier.bias/exp_avg_sq", "pre_classifier.bias/step"};
  CHECK(json_of(shell, moments + " --json")["only_a"] == only_a);
  CHECK(
      contains(shell.minima(moments).out,
               "\nonly in A:\n  pre_classifier.bias/exp_avg\n  pre_classifier.bias/exp_avg_sq\n"));
  const Answer run = shell.minima("inspect whole");
  CHECK(run.code == 0);
  CHECK(run.out == shell.minima("inspect whole/final").out);
  const Answer within = shell.minima("train --resume whole/final");
  CHECK(within.code == 2);
  CHECK(within.err == "minima: whole/final: is a folder within a run's; give that: whole/\n");

  const std::string state = read_file(shell.folder / "whole/final/optimizer.safetensors");
  shell.write("short.safetensors", state.substr(0, state.size() / 2));
  std::string bent = state;
  bent[state.size() - 100] ^= 4;
  shell.write("bent.safetensors", bent);
  for (const auto& [arguments, word] :
       {std::pair{"inspect short.safetensors", "short.safetensors"},
        {"inspect bent.safetensors", "checksum"},
        {"inspect whole/final/model.safetensors", "not an optimizer's state"},
        {"inspect nowhere", "nowhere"},
        {"inspect .", "./eight, ./steps, ./third, ./whole"},
        {"inspect steps/checkpoints", "steps/checkpoints/step-2, steps/checkpoints/step-4"},
        {"memory --model whole", "whole: is a run's folder; its model is whole/final"},
        {"inspect whole/final --slot exp_avg_sqr", "did you mean 'exp_avg_sq'?"},
        {"inspect whole/final --parameter nothing", "nothing"},
        {"inspect whole/final --parameter 'bias|nothing'", "contains 'nothing'"},
        {"inspect whole/final --against eight/final", "fp32"},
        {"inspect third/final --against whole/final", "it has none of these slots"}}) {
    CAPTURE(arguments);
    const Answer refused = shell.minima(arguments);
    CAPTURE(refused.err);
    CHECK(refused.code == 2);
    CHECK(refused.out.empty());
    CHECK(std::ranges::count(refused.err, '\n') == 1);
    CHECK(refused.err.find(word) != std::string::npos);
  }
}

TEST_CASE("inspect says of an optimizer without state that it keeps none") {
  const Shell shell;
  REQUIRE(shell.minima("train --optimizer sgd:momentum=0 --out plain" + std::string(kTiny)).code ==
          0);
  CHECK(shell.minima("inspect plain").out.find("the state of sgd, which keeps none\n") !=
        std::string::npos);
  CHECK(shell.minima("inspect plain plain").out.ends_with("\n\nno slot is in both\n"));
  const Json json = parse_json(shell.minima("inspect plain --json").out, "inspect --json");
  CHECK(json["totals"]["total"]["bytes"] == 0);
  CHECK(shell.minima("inspect plain --slot exp_avg").err.find("plain keeps no state") !=
        std::string::npos);
}

TEST_CASE("inspect's figures are those of the file's numbers, in its tables as in --json") {
  const Shell shell;
  for (const auto& [options, run] : {std::pair{"adamw", "whole"},
                                     {"adamw --batch 16", "more"},
                                     {"adamw8bit:min_8bit_size=0", "eight"},
                                     {"adafactor", "factored"}})
    REQUIRE(
        shell.minima(fmt::format("train --optimizer {} --out {}{}", options, run, kTiny)).code ==
        0);
  const auto values = [&](const std::string& run, const std::string& key) {
    const Tensor slot =
        SafetensorsFile(shell.folder / run / "final/optimizer.safetensors").read(key);
    return std::vector<double>(slot.span<float>().begin(), slot.span<float>().end());
  };
  const auto inspected = [&](const std::string& arguments) {
    return std::pair(json_of(shell, "inspect --json " + arguments),
                     shell.minima("inspect " + arguments).out);
  };
  const auto near = [](double x) { return doctest::Approx(x).epsilon(1e-5); };
  const std::string words = "distilbert.embeddings.word_embeddings.weight/exp_avg",
                    query = "distilbert.transformer.layer.0.attention.q_lin.weight",
                    only_words = " --slot exp_avg --parameter word_embeddings",
                    only_query = " --parameter q_lin.weight";

  const auto [whole, whole_text] = inspected("whole" + only_words);
  const Json& s = whole["slots"][0];
  const std::vector<double> a = values("whole", words), b = values("more", words);
  const auto size = static_cast<double>(a.size());
  double squares = 0, of_b = 0, apart = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    squares += a[i] * a[i], of_b += b[i] * b[i], apart += (b[i] - a[i]) * (b[i] - a[i]);
    largest = std::max(largest, std::abs(b[i] - a[i]));
  }
  CHECK(s["min"] == std::ranges::min(a));
  CHECK(s["max"] == std::ranges::max(a));
  CHECK(s["rms"] == near(std::sqrt(squares / size)));
  CHECK(s["zeros"] == std::ranges::count(a, 0.0));
  CHECK(s["zeros"] > 0);
  i64 counted = s["zeros"].get<i64>();
  for (const Json& bin : s["histogram"]) counted += bin["count"].get<i64>();
  CHECK(counted == std::ssize(a));
  CHECK(row_of(whole_text, words) == fmt::format("{} [{}, 16] fp32 {} {} {} {} {} 0", words,
                                                 a.size() / 16, 4 * a.size(), number(s["min"]),
                                                 number(s["max"]), number(s["rms"]),
                                                 percent(s["zeros"].get<double>() / size)));
  const double first = s["histogram"].front()["log10"], last = s["histogram"].back()["log10"];
  CHECK(contains(whole_text, fmt::format("log10 |x| from {} to {}\n", first, last + 0.5)));
  const std::string bars = whole_text.substr(whole_text.find(" |", whole_text.find(words)));
  CHECK(std::ranges::count(bars.substr(0, bars.find('\n')), '\xE2') == s["histogram"].size());

  const auto [two, two_text] = inspected("whole more" + only_words);
  const Json& d = two["common"][0]["difference"];
  CHECK(d["max_abs"] == near(largest));
  CHECK(d["rms"] == near(std::sqrt(apart / size)));
  CHECK(row_of(two_text, words) == fmt::format("{} fp32, fp32 {} {} {} {} {:.6f} {} 0", words,
                                               number(d["max_abs"]), percent(d["max_relative"]),
                                               number(d["rms"]), percent(d["relative_rms"]),
                                               d["cosine"].get<double>(), d["lost"].get<i64>()));
  CHECK(two["b"]["file"] == "more/final/optimizer.safetensors");
  REQUIRE(shell.minima("train --steps 1 --out brief" + std::string(kTinyModel)).code == 0);
  const std::vector<double> one = values("brief", words);
  i64 lost = 0;
  for (std::size_t i = 0; i < one.size(); ++i) lost += a[i] != 0 && one[i] == 0;
  CHECK(lost > 0);
  CHECK(inspected("whole brief" + only_words).first["common"][0]["difference"]["lost"] == lost);

  const auto [eight, eight_text] = inspected("eight --against whole --slot exp_avg" + only_query);
  const Json &codes = eight["slots"][0]["codes"], &worst = codes["worst_block"],
             &error = eight["against"]["common"][0];
  CHECK(worst["ratio"] == near(worst["absmax"].get<double>() / worst["median"].get<double>()));
  const std::string of_codes = eight_text.substr(eight_text.find("\n8 bits: "));
  CHECK(row_of(of_codes.substr(0, of_codes.find("\nagainst ")), query + "/exp_avg") ==
        fmt::format("{} {} {} {} {} {} {} {} {} {}", query + "/exp_avg", codes["used"].get<i64>(),
                    percent(codes["at_extremes"]), percent(codes["at_zero"]),
                    percent(codes["expected_error"]), worst["block"].get<i64>(),
                    number(worst["absmax"]), number(worst["median"]), number(worst["ratio"]),
                    percent(worst["expected_error"])));
  CHECK(row_of(of_codes, query + "/exp_avg").ends_with(" " + percent(error["rounding"])));
  CHECK(error["rounding"] > 0);

  const auto [factored, factored_text] = inspected("factored --against whole" + only_query);
  const Json& f = factored["factored"][0];
  const std::vector<double> rows = values("factored", query + "/exp_avg_sq_row"),
                            columns = values("factored", query + "/exp_avg_sq_col");
  const auto [least, most] = std::ranges::minmax(rows);
  const auto [least_column, most_column] = std::ranges::minmax(columns);
  CHECK(f["row_spread"] == near(most / least));
  CHECK(f["col_spread"] == near(most_column / least_column));
  CHECK(f["mean_row"] == near(std::accumulate(rows.begin(), rows.end(), 0.0) / 16));
  CHECK(contains(factored_text, fmt::format("  {}  ", number(f["mean_row"]))));
  const Json& against = f["against"];
  CHECK(row_of(factored_text, query + "/exp_avg_sq_row") ==
        fmt::format("{}/exp_avg_sq_row exp_avg_sq {} {} {} {} {} {}", query,
                    percent(against["scaled_rms"]), number(against["cosine"]),
                    number(against["scale"]), percent(against["relative_rms"]),
                    number(against["max_abs"]), percent(against["max_relative"])));
  CHECK(contains(factored_text,
                 fmt::format("  {}  {}  {}  {}\n", number(f["row_spread"]), number(f["col_spread"]),
                             number(f["min"]), number(f["max"]))));
  const std::string apart_text = shell.minima("inspect factored whole" + only_query).out;
  CHECK(
      contains(apart_text, fmt::format("\nonly in B:\n  {0}/exp_avg\n  {0}/exp_avg_sq\n", query)));
}

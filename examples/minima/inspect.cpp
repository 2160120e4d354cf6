/// minima inspect: what an optimizer keeps, from its file (train/inspect.hpp).
#include "train/inspect.hpp"

#include <climits>

#include "core/text/columns.hpp"
#include "core/text/nearest.hpp"
#include "data/counted.hpp"
#include "examples/minima/options.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"

namespace minima {
namespace {

/// One character for each of the numbers, by their share of the largest.
std::string bars(const std::vector<i64>& numbers) {
  static constexpr std::string_view kBlocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const i64 largest = std::max<i64>(1, *std::ranges::max_element(numbers));
  std::string text;
  for (i64 n : numbers) text += kBlocks[(8 * n + largest - 1) / largest];
  return text;
}

constexpr const char* kRelative =
    "relative: the largest difference of an entry, over the greater of its two magnitudes; 100 %: "
    "one is 0, above: of two signs";

std::string number(double x) { return std::isnan(x) ? "-" : fmt::format("{:.3g}", x); }
std::string percent(double share) {
  if (std::isnan(share)) return "-";
  const bool whole = std::abs(share) >= 10 && std::abs(share) < 1e6;  // 1234 %, not 1.23e+03 %
  return whole ? fmt::format("{:.0f} %", 100 * share) : fmt::format("{:.3g} %", 100 * share);
}

using Lines = std::vector<std::vector<std::string>>;

Json to_json(const ValueStatistics& s) {
  Json histogram = Json::array();
  for (const auto& [bin, count] : s.histogram)
    histogram.push_back({{"log10", 0.5 * bin}, {"count", count}});
  return {{"elements", s.count},   {"non_finite", s.non_finite},
          {"zeros", s.zeros},      {"min", s.min},
          {"max", s.max},          {"rms", s.rms},
          {"histogram", histogram}};
}

Json to_json(const CodeUse& use) {
  return {{"histogram", use.histogram},
          {"used", use.used},
          {"at_extremes", use.at_extremes},
          {"at_zero", use.at_zero},
          {"expected_error", use.expected_error},
          {"worst_block",
           {{"block", use.worst.index},
            {"begin", use.worst.begin},
            {"end", use.worst.end},
            {"absmax", use.worst.absmax},
            {"median", use.worst.median},
            {"ratio", use.worst.ratio},
            {"expected_error", use.worst.expected_error}}}};
}

Json to_json(const Difference& d) {
  return {{"elements", d.count},
          {"non_finite", d.non_finite},
          {"max_abs", d.max_abs},
          {"max_relative", d.max_relative},
          {"rms", d.rms},
          {"relative_rms", d.relative_rms},
          {"cosine", d.cosine},
          {"scale", d.scale},
          {"scaled_rms", d.scaled_rms},
          {"lost", d.lost}};
}

Json to_json(const StateComparison& comparison) {
  Json common = Json::array();
  for (const auto& [a, b, difference] : comparison.common)
    common.push_back({{"parameter", a->parameter},
                      {"slot", a->slot},
                      {"storage", {storage_name(a->storage), storage_name(b->storage)}},
                      {"difference", to_json(difference)}});
  return {{"common", std::move(common)},
          {"only_a", comparison.only_a},
          {"only_b", comparison.only_b},
          {"reshaped", comparison.reshaped}};
}

Json to_json(const FactorUse& use) {
  Json json = {{"parameter", use.parameter},
               {"row", use.row},
               {"col", use.column},
               {"shape", {use.batch, use.rows, use.columns}},
               {"mean_row", use.mean_row},
               {"mean_col", use.mean_column},
               {"row_spread", use.row_spread},
               {"col_spread", use.column_spread},
               {"min", use.min},
               {"max", use.max},
               {"against", nullptr}};
  if (!use.full.empty()) {
    json["against"] = to_json(use.error);
    json["against"]["slot"] = use.full;
  }
  return json;
}

struct InspectVerb {
  std::string file, other, against, parameter, slot;
  bool json = false;

  /// The slots of a file that --parameter and --slot leave.
  std::vector<PlannedSlot> chosen(const StateFile& state) const {
    std::vector<PlannedSlot> result;
    for (const PlannedSlot& each : state.plan.slots) {
      if ((parameter.empty() || matches(each.parameter, parameter)) &&
          (slot.empty() || each.slot == slot))
        result.push_back(each);
    }
    return result;
  }

  /// Throws Error for a --slot, and for a part of --parameter, that leaves nothing of any file.
  void check_chosen(const std::vector<const StateFile*>& files) const {
    std::vector<std::string> names, parameters;
    for (const StateFile* state : files)
      for (const PlannedSlot& each : state->plan.slots) {
        if (!std::ranges::count(names, each.slot)) names.push_back(each.slot);
        if (slot.empty() || each.slot == slot) parameters.push_back(each.parameter);
      }
    check(!names.empty() || (slot.empty() && parameter.empty()),
          "inspect: {} keeps no state; leave --slot and --parameter out", file);
    check(slot.empty() || std::ranges::count(names, slot),
          "inspect: {} has no slot named '{}'{} It has: {}", file, slot, did_you_mean(slot, names),
          fmt::join(names, ", "));
    const auto idle = parameter.empty() ? std::nullopt : unmatched(parameter, parameters);
    check(!idle, "inspect: {} keeps no state{} of a parameter whose name contains '{}'", file,
          slot.empty() ? "" : fmt::format(" '{}'", slot), idle.value_or(""));
  }

  // ---- one state

  struct Seen {
    const PlannedSlot* slot;
    ValueStatistics statistics;
  };

  static void print_slots(const std::vector<Seen>& all) {
    int first = INT_MAX, last = INT_MIN;
    for (const Seen& seen : all)
      if (seen.slot->storage != Storage::i32 && !seen.statistics.histogram.empty()) {
        first = std::min(first, seen.statistics.histogram.begin()->first);
        last = std::max(last, seen.statistics.histogram.rbegin()->first);
      }
    Lines table{{"slot", "shape", "storage", "bytes", "min", "max", "RMS", "0", "not finite",
                 first > last
                     ? ""
                     : fmt::format("log10 |x| from {} to {}", 0.5 * first, 0.5 * (last + 1))}};
    for (const auto& [slot, s] : all) {
      if (slot->storage == Storage::i32) continue;
      std::vector<i64> counts;
      for (int bin = first; bin <= last; ++bin)
        counts.push_back(s.histogram.contains(bin) ? s.histogram.at(bin) : 0);
      table.push_back(
          {slot->key(), fmt::format("{}", slot->shape), std::string(storage_name(slot->storage)),
           fmt::format("{}", slot->bytes()), number(s.min), number(s.max), number(s.rms),
           s.count ? percent(static_cast<double>(s.zeros) / static_cast<double>(s.count)) : "-",
           fmt::format("{}", s.non_finite), counts.empty() ? "" : "|" + bars(counts) + "|"});
    }
    if (table.size() > 1) print_text("{}", in_columns(std::move(table), "lrrrrrrrrl"));
    print_counters(all);
  }

  /// A line for all counters of a name: `step` of every parameter.
  static void print_counters(const std::vector<Seen>& all) {
    std::map<std::string, std::vector<double>> counters;
    for (const auto& [slot, s] : all)
      if (slot->storage == Storage::i32) counters[slot->slot].push_back(s.max);
    for (const auto& [name, values] : counters) {
      const auto [least, most] = std::ranges::minmax(values);
      print_text("{}: {} ({})\n", name,
                 least == most ? fmt::format("{}", least) : fmt::format("{} to {}", least, most),
                 counted(std::ssize(values), "parameter"));
    }
  }

  /// Tensors, elements and bytes by the names of slots, and in all.
  static Json totals(const std::vector<PlannedSlot>& slots) {
    const Json none = {{"tensors", 0}, {"elements", 0}, {"scales", 0}, {"bytes", 0}};
    Json result = Json::object(), total = none;
    for (const PlannedSlot& slot : slots) {
      if (!result.contains(slot.slot)) result[slot.slot] = none;
      for (Json* sum : {&result[slot.slot], &total})
        for (const auto& [what, more] : {std::pair{"tensors", i64{1}},
                                         {"elements", slot.elements()},
                                         {"scales", slot.scales()},
                                         {"bytes", slot.bytes()}})
          (*sum)[what] = (*sum)[what].get<i64>() + more;
    }
    result["total"] = std::move(total);
    return result;
  }

  static void print_totals(const Json& totals) {
    Lines table{{"sum", "tensors", "elements", "block scales", "bytes"}};
    for (const auto& [name, sum] : totals.items())
      table.push_back({name, sum["tensors"].dump(), sum["elements"].dump(), sum["scales"].dump(),
                       sum["bytes"].dump()});
    print_text("\n{}", in_columns(std::move(table), "lr"));
  }

  static void print_codes(const std::vector<std::pair<std::string, CodeUse>>& all) {
    if (all.empty()) return;
    print_text(
        "\n8 bits: codes in use of 256; share at ±absmax and at 0; error: of rounding, over RMS, "
        "as expected from the codes;\nworst block: of the largest absmax/median of |x|\n");
    Lines table{{"slot", "codes", "±absmax", "0", "error", "block", "absmax", "median", "ratio",
                 "error", "codes 0 to 255, 4 a column"}};
    for (const auto& [key, use] : all) {
      std::vector<i64> counts(64);
      for (std::size_t code = 0; code < 256; ++code) counts[code / 4] += use.histogram[code];
      table.push_back({key, fmt::format("{}", use.used), percent(use.at_extremes),
                       percent(use.at_zero), percent(use.expected_error),
                       fmt::format("{}", use.worst.index), number(use.worst.absmax),
                       number(use.worst.median), number(use.worst.ratio),
                       percent(use.worst.expected_error), "|" + bars(counts) + "|"});
    }
    print_text("{}", in_columns(std::move(table), "lrrrrrrrrrl"));
  }

  static void print_factors(const std::vector<FactorUse>& all, const std::string& reference) {
    if (all.empty()) return;
    print_text(
        "\nfactored: V = R·C/mean(R) from row means R and column means C; means apart: of R and of "
        "C, equal but for rounding\n");
    Lines table{
        {"slots", "matrix", "mean", "means apart", "max/min of R", "of C", "min of V", "max of V"}};
    for (const FactorUse& use : all)
      table.push_back(
          {fmt::format("{}/{}, {}", use.parameter, use.row, use.column),
           use.batch == 1 ? fmt::format("{} x {}", use.rows, use.columns)
                          : fmt::format("{} of {} x {}", use.batch, use.rows, use.columns),
           number(use.mean_row),
           percent(std::abs(use.mean_row - use.mean_column) /
                   std::max(use.mean_row, use.mean_column)),
           number(use.row_spread), number(use.column_spread), number(use.min), number(use.max)});
    print_text("{}", in_columns(std::move(table), "lr"));
    if (reference.empty()) return;
    print_text(
        "\nV against the whole second moment of {}, another training, with its own β₂; scaled "
        "error: of the multiple of V\nthat is nearest, which leaves out bias corrections (Adam "
        "keeps its v without: 1 − β₂ᵗ of the moment); sum over sum:\nV's over that moment's\n",
        reference);
    Lines errors{{"slots", "of", "scaled error/RMS", "cosine", "sum over sum", "error/RMS",
                  "largest error", "relative", ""}};
    for (const FactorUse& use : all)
      if (use.full.empty())
        errors.push_back({use.parameter + "/" + use.row, "-", "-", "-", "-", "-", "-", "-",
                          "no whole moment there"});
      else
        errors.push_back({use.parameter + "/" + use.row, use.full, percent(use.error.scaled_rms),
                          number(use.error.cosine), number(use.error.scale),
                          percent(use.error.relative_rms), number(use.error.max_abs),
                          percent(use.error.max_relative), ""});
    print_text("{}", in_columns(std::move(errors), "lrrrrrrrl"));
    print_text("{}\n", kRelative);
  }

  // ---- two states

  /// `rounding`: of each common slot, RMS of the error of rounding alone over RMS.
  static void print_common(const StateComparison& comparison,
                           const std::vector<double>& rounding = {}) {
    std::vector<std::string> head{"slot",     "storage", "largest",  "relative",  "RMS",
                                  "over RMS", "cosine",  "became 0", "not finite"};
    if (!rounding.empty()) head.push_back("rounding alone");
    Lines table{std::move(head)};
    i64 counters = 0, other_counters = 0;
    for (std::size_t i = 0; i < comparison.common.size(); ++i) {
      const auto& [a, b, d] = comparison.common[i];
      if (a->storage == Storage::i32) {
        ++counters;
        other_counters += d.max_abs > 0;
        continue;
      }
      std::vector<std::string> row{
          a->key(),
          fmt::format("{}, {}", storage_name(a->storage), storage_name(b->storage)),
          number(d.max_abs),
          percent(d.max_relative),
          number(d.rms),
          percent(d.relative_rms),
          std::isnan(d.cosine) ? "-" : fmt::format("{:.6f}", d.cosine),
          fmt::format("{}", d.lost),
          fmt::format("{}", d.non_finite)};
      if (!rounding.empty()) row.push_back(percent(rounding[i]));
      table.push_back(std::move(row));
    }
    if (table.size() > 1) print_text("{}{}\n", in_columns(std::move(table), "lr"), kRelative);
    if (counters)
      print_text("step: {} of {} differ{}\n", other_counters, counted(counters, "counter"),
                 counters == 1 ? "s" : "");
  }

  void compare_two() const {
    const StateFile a(file), b(other);
    const auto slots_a = chosen(a), slots_b = chosen(b);
    check_chosen({&a, &b});
    const StateComparison comparison = compare_states(a, slots_a, b, slots_b);
    if (json) {
      Json document = {{"a", {{"file", a.path.string()}, {"optimizer", a.saved.optimizer}}},
                       {"b", {{"file", b.path.string()}, {"optimizer", b.saved.optimizer}}}};
      document.update(to_json(comparison));
      return fmt::print("{}\n", document.dump());
    }
    print_text("A: {}, {}\nB: {}, {}\n\n", a.path.string(), a.saved.optimizer, b.path.string(),
               b.saved.optimizer);
    print_text("{}\n", comparison.common.empty() ? "no slot is in both" : "B − A");
    print_common(comparison);
    const auto list = [](const char* what, const std::vector<std::string>& keys) {
      if (!keys.empty()) print_text("\n{}:\n  {}\n", what, fmt::join(keys, "\n  "));
    };
    list("only in A", comparison.only_a);
    list("only in B", comparison.only_b);
    list("of other shapes", comparison.reshaped);
  }

  /// What both keep, `reference` in fp32.
  static StateComparison against_fp32(const StateFile& reference, const StateFile& state,
                                      const std::vector<PlannedSlot>& slots) {
    std::vector<PlannedSlot> wanted;
    for (const PlannedSlot& slot : slots)
      if (const PlannedSlot* known = reference.find(slot.key())) {
        check(known->storage == Storage::fp32 || known->storage == Storage::i32,
              "inspect: --against {}: '{}' is stored as {} there; a reference keeps it in fp32",
              reference.path.string(), known->key(), storage_name(known->storage));
        wanted.push_back(*known);
      }
    StateComparison comparison = compare_states(reference, wanted, state, {});
    // Entries point at slots that outlive them.
    for (auto& entry : comparison.common) entry.a = reference.find(entry.a->key());
    return comparison;
  }

  /// A state, its chosen slots, and what they hold; with a reference what of it they have lost.
  struct Inspected {
    StateFile state;
    std::vector<PlannedSlot> slots;
    std::optional<StateFile> reference = {};
    std::vector<Seen> seen = {};
    std::vector<std::pair<std::string, CodeUse>> codes = {};  ///< by key, of the slots in block8
    std::vector<FactorUse> factors = {};
    StateComparison errors = {};
    std::vector<double> rounding = {};  ///< of each common slot
  };

  static void compare_with_reference(Inspected& one) {
    one.errors = against_fp32(*one.reference, one.state, one.slots);
    for (const auto& [whole, own, error] : one.errors.common) {
      const Tensor values = one.reference->values(*whole);
      one.rounding.push_back(difference(values, rounded(*own, values)).relative_rms);
    }
    check(std::ranges::any_of(one.errors.common,
                              [](const StateComparison::Entry& entry) {
                                return entry.a->storage != Storage::i32;
                              }) ||
              std::ranges::any_of(one.factors,
                                  [](const FactorUse& use) { return !use.full.empty(); }),
          "inspect: --against {}: it has none of these slots; give the fp32 state of the same "
          "model",
          one.reference->path.string());
  }

  static Json document_of(const Inspected& one) {
    Json document = {{"file", one.state.path.string()},
                     {"optimizer", one.state.saved.optimizer},
                     {"groups", one.state.saved.options.value("groups", Json::array())},
                     {"slots", Json::array()},
                     {"factored", Json::array()},
                     {"totals", totals(one.slots)}};
    auto code = one.codes.begin();
    for (const auto& [slot, s] : one.seen) {
      Json entry = {{"parameter", slot->parameter},
                    {"slot", slot->slot},
                    {"shape", slot->shape.sizes()},
                    {"storage", storage_name(slot->storage)},
                    {"bytes", slot->bytes()}};
      entry.update(to_json(s));
      if (slot->storage == Storage::block8) entry["codes"] = to_json((code++)->second);
      document["slots"].push_back(std::move(entry));
    }
    for (const FactorUse& use : one.factors) document["factored"].push_back(to_json(use));
    if (one.reference) {
      document["against"] = to_json(one.errors);
      document["against"]["file"] = one.reference->path.string();
      for (std::size_t i = 0; i < one.rounding.size(); ++i)
        document["against"]["common"][i]["rounding"] = one.rounding[i];
    }
    return document;
  }

  static void print(const Inspected& one) {
    print_text("{}: the state of {}{}\n", one.state.path.string(), one.state.saved.optimizer,
               one.seen.empty() ? ", which keeps none" : "\n");
    print_slots(one.seen);
    print_totals(totals(one.slots));
    print_codes(one.codes);
    print_factors(one.factors, one.reference ? one.reference->path.string() : "");
    if (one.reference && !one.errors.common.empty()) {
      print_text(
          "\nagainst {}: two trainings, which also go apart; rounding alone: of its numbers, "
          "stored as here\n",
          one.reference->path.string());
      print_common(one.errors, one.rounding);
    }
    if (!one.errors.reshaped.empty())
      print_text("\nof other shapes there:\n  {}\n", fmt::join(one.errors.reshaped, "\n  "));
  }

  void inspect_one() const {
    StateFile state(file);
    std::vector<PlannedSlot> slots = chosen(state);
    check_chosen({&state});
    Inspected one{std::move(state), std::move(slots)};
    if (!against.empty()) one.reference.emplace(against);
    for (const PlannedSlot& slot : one.slots) {
      one.seen.push_back({&slot, statistics(one.state.values(slot))});
      if (slot.storage == Storage::block8)
        one.codes.emplace_back(slot.key(), code_use(one.state, slot));
    }
    one.factors = factor_use(one.state, one.slots, one.reference ? &*one.reference : nullptr);
    if (one.reference) compare_with_reference(one);
    if (json)
      fmt::print("{}\n", document_of(one).dump());
    else
      print(one);
  }

  void run() const { other.empty() ? inspect_one() : compare_two(); }
};

}  // namespace

void add_inspect(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand(
      "inspect", "what an optimizer's state holds, tensor by tensor; or two states compared");
  const auto options = std::make_shared<InspectVerb>();
  InspectVerb& o = *options;
  verb.add_option("state", o.file, "optimizer.safetensors, the folder that holds it, or a run's")
      ->required();
  CLI::Option* other = verb.add_option("other", o.other, "a second state, to compare with");
  verb.add_option("--against", o.against,
                  "the state of the same training in fp32: the error of 8 bits and of factors")
      ->excludes(other);
  verb.add_option("--parameter", o.parameter,
                  "only parameters whose name contains this, or one of several: embeddings|q_lin");
  verb.add_option("--slot", o.slot, "only slots of this name: exp_avg_sq");
  verb.add_flag("--json", o.json, "one JSON document on standard output, nothing else");
  verb.callback([options] { options->run(); });
}

}  // namespace minima

#include "train/report/parts.hpp"

#include <fmt/format.h>

#include <cmath>
#include <set>

#include "core/error.hpp"
#include "train/chart/drawing.hpp"

namespace minima::report {
namespace {

constexpr std::size_t kListed = 40;  // values of an array that are written out

std::string spaced(std::string key) {
  std::ranges::replace(key, '_', ' ');
  return key;
}

/// " (clipped)", of a run that has a label.
std::string label_in_brackets(const Json& run) {
  const std::string label = text(run, "/label");
  return label.empty() ? "" : fmt::format(" ({})", label);
}

bool all_different(const std::vector<Entry>& entries, std::string Entry::*name) {
  return std::ranges::all_of(entries, [&](const Entry& entry) {
    return !(entry.*name).empty() && std::ranges::count(entries, entry.*name, name) == 1;
  });
}

bool is_table(const Json& value) {
  return value.is_array() && !value.empty() && value.front().is_object();
}

}  // namespace

// ---- Reading. -------------------------------------------------------------------------------

const Json& at(const Json& json, const char* path) {
  static const Json null;
  const Json::json_pointer pointer(path);
  return json.contains(pointer) ? json.at(pointer) : null;
}

double as_number(const Json& json) { return json.is_number() ? json.get<double>() : kNaN; }
double number(const Json& json, const char* path) { return as_number(at(json, path)); }

std::string text(const Json& json, const char* path) {
  const Json& value = at(json, path);
  return value.is_string() ? value.get<std::string>() : "";
}

Comparison read(const Json& json) {
  Comparison comparison{json, {}, {}};
  comparison.keeps_last = at(json, "/training/metric") == "";
  comparison.masked = is_masked_lm(json);
  std::vector<Entry>& entries = comparison.entries;
  const auto add = [&](const Json& run, const std::string& failure) {
    const std::string first = text(run, "/optimizer");
    const std::string spec = at(run, "/spec").is_string() ? text(run, "/spec") : first;
    auto entry = std::ranges::find(entries, spec, &Entry::spec);
    if (entry == entries.end()) {
      const std::string name = first.empty() ? "" : with_changes(first, run);
      entry =
          entries.insert(entry, {name, name, spec, static_cast<int>(entries.size()), {}, failure});
    } else if (entry->failure.empty() && !failure.empty()) {
      return;  // other seeds have ended
    }
    entry->runs.push_back(&run);
    comparison.masked |= std::isfinite(number(run, "/dev/perplexity"));
    comparison.own_loop |= at(run, "/own_loop") == true;
    comparison.seeds = std::max(comparison.seeds, entry->runs.size());
  };
  for (const Json& run : at(json, "/runs")) add(run, "");
  for (const Json* run : failures(json)) {
    const std::string error = text(*run, "/error");
    add(*run, error.empty() ? "no learning rate that was tried has a finite score" : error);
  }
  // One optimizer with several sets of options: the name alone would not tell them apart.
  if (!all_different(entries, &Entry::optimizer)) {
    for (Entry& entry : entries) entry.name = text(*entry.runs.front(), "/label");
    comparison.by_label = all_different(entries, &Entry::name);
  }
  if (!comparison.by_label)
    for (Entry& entry : entries) {
      const bool alone = std::ranges::count(entries, entry.optimizer, &Entry::optimizer) == 1;
      entry.name =
          alone && !entry.optimizer.empty() ? entry.optimizer : run_name(*entry.runs.front());
    }
  const auto failed = std::ranges::find_if(
      entries, [](const Entry& entry) { return !entry.failure.empty(); });  // they are the last
  comparison.failed = {failed, entries.end()};
  if (failed != entries.begin()) entries.erase(failed, entries.end());
  return comparison;
}

bool is_masked_lm(const Json& comparison) {
  return text(comparison, "/model/config/architectures/0").ends_with("ForMaskedLM");
}

const char* loss_unit(const Comparison& comparison) {
  return comparison.own_loop ? "loss" : "cross-entropy, nats";
}

std::vector<const Json*> failures(const Json& comparison) {
  std::vector<const Json*> all;
  for (const Json& failed : at(comparison, "/failed"))
    if (!failed.contains("tried")) all.push_back(&failed);
  const auto scoreless = [](const Json& tried) { return at(tried, "/score").is_null(); };
  for (const Json& tuned : at(comparison, "/tuning"))
    if (std::ranges::all_of(at(tuned, "/tried"), scoreless)) all.push_back(&tuned);
  return all;
}

std::string without_options(const std::string& spec) { return spec.substr(0, spec.find(':')); }

std::string own_spec(const Json& run) {
  const std::string spec = text(run, "/spec"), label = label_in_brackets(run);
  return spec.ends_with(label) ? spec.substr(0, spec.size() - label.size()) : spec;
}

std::string run_name(const Json& run) {
  const std::string spec = own_spec(run);
  return with_changes(spec.empty() ? text(run, "/optimizer") : spec, run) + label_in_brackets(run);
}

std::vector<Difference> differences(const std::vector<Entry>& entries) {
  std::set<std::string> keys;
  for (const Entry& entry : entries)
    for (const auto& [key, value] : at(*entry.runs.front(), "/configuration").items())
      keys.insert(key);
  std::vector<Difference> rows;
  for (const std::string& key : keys) {  // options first: they begin with '-'
    Difference row{key, {}};
    for (const Entry& entry : entries) {
      const Json& own = at(*entry.runs.front(), "/configuration");
      row.values.push_back(own.contains(key) ? plain(own[key]) : std::string(kMissing));
    }
    const bool follows = !key.starts_with("--") &&
                         std::ranges::find(rows, row.values, &Difference::values) != rows.end();
    if (!follows) rows.push_back(std::move(row));
  }
  return rows;
}

std::string with_changes(std::string first, const Json& run) {
  for (const Json& change : at(run, "/switches")) {
    const std::string to = text(change, "/to");
    if (!to.empty()) first += " → " + without_options(to);
  }
  return first;
}

std::string before_change(const Entry& entry) {
  if (at(*entry.runs.front(), "/switches").empty()) return "";
  const double after = summarize(entry, "/final_state_bytes").mean;
  return " before the change" +
         (std::isfinite(after) ? fmt::format(" ({} after it)", megabytes(after)) : "");
}

std::vector<chart::Mark> change_marks(const Comparison& comparison) {
  std::vector<chart::Mark> marks;
  for (const Entry& entry : comparison.entries)
    for (const Json& change : at(*entry.runs.front(), "/switches")) {
      const std::string to = text(change, "/to");
      const double step = number(change, "/step");
      if (std::isfinite(step)) marks.push_back({"→ " + without_options(to), entry.style, step});
    }
  return marks;
}

std::string part_of(const std::string& tensor) {
  if (const auto at = tensor.find("layer."); at != std::string::npos) {
    const auto begin = at + 6, end = tensor.find('.', begin);
    if (end != std::string::npos && end > begin &&
        tensor.find_first_not_of("0123456789", begin) == end)
      return "layer " + tensor.substr(begin, end - begin);
  }
  if (tensor.find("embeddings") != std::string::npos) return "embeddings";
  return tensor.substr(0, tensor.find('.'));
}

std::optional<ConfusionMatrix> read_matrix(const Json& json) {
  if (json.is_null()) return {};
  try {
    return ConfusionMatrix::from_json(json);
  } catch (const Error&) {
    return {};
  }
}

double cores_taken(const Json& comparison, const std::vector<const Json*>& runs) {
  const double spare =
      number(comparison, "/machine/cores") - number(comparison, "/machine/threads");
  double most = 0;
  for (const Json* run : runs)
    if (const double others = number(*run, "/others_cores") - spare; others > most) most = others;
  return most;
}

Summary summarize(const std::vector<double>& values) {
  std::vector<double> finite;
  std::ranges::copy_if(values, std::back_inserter(finite),
                       [](double v) { return std::isfinite(v); });
  if (finite.empty()) return {.missing = values.size()};
  return {mean(finite), deviation(finite), finite.size(), values.size() - finite.size()};
}

Summary summarize(const Entry& entry, const char* path, double factor) {
  std::vector<double> values;
  for (const Json* run : entry.runs) values.push_back(factor * number(*run, path));
  return summarize(values);
}

bool is_shown(const Comparison& comparison, const char* path) {
  if (comparison.keeps_last && std::string_view(path) == "/best_epoch") return false;
  return std::ranges::any_of(comparison.entries,
                             [&](const Entry& e) { return summarize(e, path).count > 0; });
}

Curve over_seeds(const std::vector<std::vector<double>>& runs,
                 const std::vector<std::vector<double>>& positions) {
  Curve curve;
  std::vector<std::size_t> next(runs.size());
  const auto place = [&](std::size_t run) {
    if (next[run] == runs[run].size()) return std::numeric_limits<double>::infinity();
    return positions.empty() ? static_cast<double>(next[run] + 1) : positions[run][next[run]];
  };
  for (;;) {
    double x = std::numeric_limits<double>::infinity();
    for (std::size_t run = 0; run < runs.size(); ++run) x = std::min(x, place(run));
    if (std::isinf(x)) break;
    std::vector<double> values;
    bool all = true;
    for (std::size_t run = 0; run < runs.size(); ++run)
      if (place(run) == x)
        values.push_back(runs[run][next[run]++]);
      else
        all &= std::isinf(place(run));
    if (!all) continue;
    const Summary s = summarize(values);
    curve.line.push_back({x, s.mean});
    if (s.count > 1) curve.band.push_back({x, s.mean - s.deviation, s.mean + s.deviation});
  }
  return curve;
}

std::vector<double> smoothed(const std::vector<double>& values, std::size_t reach) {
  std::vector<double> sum{0}, out;
  std::vector<std::size_t> count{0};
  for (const double value : values) {
    const bool finite = std::isfinite(value);
    sum.push_back(sum.back() + (finite ? value : 0));
    count.push_back(count.back() + (finite ? 1 : 0));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t first = i < reach ? 0 : i - reach;
    const std::size_t last = std::min(values.size(), i + reach + 1);
    const std::size_t n = count[last] - count[first];
    out.push_back(n == 0 ? kNaN : (sum[last] - sum[first]) / static_cast<double>(n));
  }
  return out;
}

std::vector<double> numbers(const Json& array) {
  std::vector<double> out;
  for (const Json& value : array) out.push_back(as_number(value));
  return out;
}

std::string ends(const std::vector<chart::Series>& series, int decimals) {
  std::vector<std::string> parts;
  for (const chart::Series& s : series)
    parts.push_back(s.name + " " + fixed(s.line.empty() ? kNaN : s.line.back().y, decimals));
  return joined(parts);
}

chart::Scale scale_for(std::vector<double> values, double span) {
  std::erase_if(values, [](double v) { return !(v > 0) || !std::isfinite(v); });
  const bool wide = !values.empty() && std::ranges::max(values) > span * std::ranges::min(values);
  return wide ? chart::Scale::log : chart::Scale::linear;
}

// ---- Writing. -------------------------------------------------------------------------------

std::string counted(std::size_t n, std::string_view noun) {
  return fmt::format("{} {}{}", fixed(static_cast<double>(n), 0), noun, n == 1 ? "" : "s");
}

std::string steps_in_words(const Json& comparison, const Json& run) {
  const std::size_t taken = at(run, "/train_loss").size();
  const double all = number(comparison, "/training/steps");
  // Of runs that differ in their options only the first one's number of steps is known here.
  return all > static_cast<double>(taken) && !run.contains("configuration")
             ? fmt::format("{} of {} steps", fixed(static_cast<double>(taken), 0), fixed(all, 0))
             : counted(taken, "step");
}

std::string joined(const std::vector<std::string>& parts, std::string_view last) {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i)
    out += (i == 0 ? "" : i + 1 == parts.size() ? std::string(last) : ", ") + parts[i];
  return out;
}

// With no-break spaces: a number and its unit stay on one line.
std::string megabytes(double bytes) { return significant(bytes / kMegabyte) + "\u00a0MB"; }
std::string percent(double share) { return fixed(100 * share, kPercent) + "\u00a0%"; }

std::string with_deviation(const Summary& s, int decimals) {
  std::string out = fixed(s.mean, decimals);
  if (s.count > 1) out += "\u00a0±\u00a0" + fixed(s.deviation, decimals);
  return out;
}

std::string section(std::string_view id, std::string_view heading, const std::string& content) {
  return fmt::format("<section aria-labelledby=\"{0}\">\n<h2 id=\"{0}\">{1}</h2>\n{2}</section>\n",
                     id, heading, content);
}

std::string figure(std::string_view heading, const std::string& image, const std::string& caption) {
  return fmt::format("<figure>\n<h3>{}</h3>\n{}<figcaption>{}</figcaption>\n</figure>\n", heading,
                     image, escaped(caption));
}

std::string whole_name(const std::string& name, const std::string& shown) {
  return shown == name ? "" : fmt::format(" title=\"{0}\" aria-label=\"{0}\"", escaped(name));
}

std::vector<std::string> row_heads(const Comparison& comparison) {
  std::vector<std::string> heads;
  const std::vector<std::string> shown = chart::shown(comparison.entries);
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const Entry& entry = comparison.entries[i];
    heads.push_back(fmt::format("<th scope=\"row\"{}>{}{}</th>", whole_name(entry.name, shown[i]),
                                chart::swatch(entry.style), escaped(shown[i])));
  }
  return heads;
}

std::string table(std::string_view classes, const std::string& caption,
                  const std::vector<std::string>& heads, const std::string& rows) {
  return fmt::format(
      "<table class=\"{}\">\n{}<thead><tr><th scope=\"col\">{}</th></tr></thead>\n<tbody>\n{}"
      "</tbody>\n</table>\n",
      classes, caption.empty() ? "" : fmt::format("<caption>{}</caption>\n", caption),
      fmt::join(heads, "</th><th scope=\"col\">"), rows);
}

std::string row(const std::string& head, const std::vector<std::string>& cells) {
  return fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", head,
                     fmt::join(cells, "</td><td>"));
}

std::string scrolling(std::string_view name, const std::string& content) {
  return fmt::format(
      "<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"{}\">\n{}</div>\n",
      escaped(name), content);
}

std::string details(std::string_view summary, const std::string& content, Print print) {
  return fmt::format("<details{}>\n<summary>{}</summary>\n{}</details>\n",
                     print == Print::folded ? " class=\"long\"" : "", escaped(summary), content);
}

std::string plain(const Json& value) {
  if (value.is_null() || value.empty() || value == "") return std::string(kMissing);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) return fixed(value.get<double>(), 0);
  if (value.is_number()) {
    constexpr std::size_t kLong = 8;  // a setting is shorter, a measurement is rounded
    const std::string digits = shortest(value.get<double>());
    return digits.size() > kLong ? significant(value.get<double>(), 4) : digits;
  }
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  std::vector<std::string> parts;
  for (const auto& [key, element] : value.items()) {
    if (parts.size() == kListed) {
      parts.push_back(fmt::format("and {} more", value.size() - kListed));
      break;
    }
    parts.push_back(value.is_object() ? spaced(key) + " " + plain(element) : plain(element));
  }
  return joined(parts);
}

std::string definitions(const Json& object, std::string_view large) {
  if (!object.is_object() || object.empty()) return fmt::format("<p>{}</p>\n", kMissing);
  std::string out = "<dl>\n", after;
  for (const auto& [key, value] : object.items()) {
    const std::string name = spaced(key);
    if (key == large && value.is_object()) {
      after += details(name, definitions(value));
    } else if (is_table(value)) {
      for (std::size_t i = 0; i < value.size(); ++i)
        after += fmt::format("<p class=\"note\">{}, {} of {}</p>\n{}", escaped(name), i + 1,
                             value.size(), definitions(value[i]));
    } else if (key == "memory" && value.is_number()) {
      out += fmt::format("<dt>{}</dt><dd>{}\u00a0GB</dd>\n", name,
                         fixed(value.get<double>() / (1 << 30), 1));
    } else if (key == "bag_of_words" && value.is_object()) {
      std::vector<std::string> shares;
      for (const auto& [split, share] : value.items())
        shares.push_back(split + " " + percent(as_number(share)));
      out += fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, escaped(joined(shares)));
    } else {
      out += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(plain(value)));
    }
  }
  return out + "</dl>\n" + after;
}

std::string marks_caption(const std::vector<chart::Mark>& marks) {
  return marks.empty() ? "" : " Upright: where the optimizer was changed.";
}

std::string bands_caption(const Comparison& comparison) {
  return comparison.seeds > 1 ? " Mean over seeds; bands: ± one standard deviation." : "";
}

}  // namespace minima::report

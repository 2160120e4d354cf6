#include "data/classes.hpp"

#include <algorithm>

#include "core/text/utf8.hpp"
#include "data/unicode.hpp"
#include "data/whole_number.hpp"

namespace minima {
namespace {

bool is_number(const std::string& label) { return whole_number(label).has_value(); }

}  // namespace

namespace fs = std::filesystem;

std::string alike_labels(const std::vector<std::string>& labels) {
  std::map<std::string, std::vector<std::string>> alike;
  for (const std::string& label : labels)
    alike[std::string(unicode::trimmed(unicode::folded(label)))].push_back(
        fmt::format("'{}'", shown(label)));
  std::vector<std::string> groups;
  for (const auto& [text, forms] : alike)
    if (forms.size() > 1) groups.push_back(fmt::format("{}", fmt::join(forms, " / ")));
  return listed(groups);
}

Classes Classes::named(Lines lines) {
  std::vector<std::string> names;
  while (lines.next()) {
    check(!lines.line().empty(), "{}:{}: the line is empty; each line names one class",
          lines.source(), lines.number());
    names.emplace_back(lines.line());
  }
  Classes result = of_model(names);
  result.source_ = lines.source();
  check(result.names_.size() <= kMostLabels, "{}: names {} classes; at most {} are taken",
        lines.source(), result.names_.size(), kMostLabels);
  check(!result.names_.empty(), "{}: is empty; each line names one class", lines.source());
  check(result.index_.size() == result.names_.size(), "{}: two classes have the same name",
        lines.source());
  return result;
}

Classes Classes::of(const std::set<std::string>& labels) {
  std::vector<std::string> sorted(labels.begin(), labels.end());
  if (std::ranges::all_of(sorted, is_number))
    std::ranges::stable_sort(sorted, {}, [](const std::string& s) { return *whole_number(s); });
  Classes result;
  for (std::string& label : sorted) result.add(std::move(label));
  return result;
}

Classes Classes::of_model(const std::vector<std::string>& names) {
  Classes result;
  for (const std::string& name : names) result.add(name);
  result.counted_ = std::ranges::none_of(names, is_number);
  return result;
}

std::optional<i64> Classes::find(const std::string& label) const {
  if (const auto found = index_.find(label); found != index_.end()) return found->second;
  const auto number = counted_ ? whole_number(label) : std::nullopt;
  return number && *number >= 0 && *number < std::ssize(names_) ? number : std::nullopt;
}

const std::string& Classes::name_of(const std::string& label) const {
  const auto found = find(label);
  return found ? names_[static_cast<std::size_t>(*found)] : label;
}

i64 Classes::index(const Row& row, const std::string& file) const {
  if (const auto found = find(row.label)) return *found;
  check(!source_.empty(), "{}:{}: no class has the label '{}'", file, row.line, shown(row.label));
  fail(
      "{}:{}: the label '{}' is neither a name in {} nor, where no name is a number, a number "
      "from 0 to {}",
      file, row.line, shown(row.label), source_, names_.size() - 1);
}

void Classes::add(std::string name) {
  index_.emplace(name, static_cast<i64>(names_.size()));
  names_.push_back(std::move(name));
}

std::optional<Classes> classes_in(const fs::path& folder) {
  const fs::path path = folder / "labels.txt";
  if (std::error_code none; !fs::exists(path, none)) return std::nullopt;
  return Classes::named(Lines(path));
}

Classes classes_beside(std::optional<Classes> named, const std::set<std::string>& labels,
                       std::string& remark) {
  if (!named) return Classes::of(labels);
  for (const std::string& label : labels)
    if (!named->find(label)) {
      remark =
          fmt::format("{} has no class '{}' and is not for this file: its labels are the classes",
                      named->source(), shown(label));
      return Classes::of(labels);
    }
  const auto counts = [&](const std::string& label) { return named->name_of(label) != label; };
  if (std::ranges::any_of(labels, counts) && !labels.contains(named->names().front()) &&
      !labels.contains("0"))
    remark = fmt::format("no text has the first class of {}, '{}': numbers count its lines from 0",
                         named->source(), shown(named->names().front()));
  return *std::move(named);
}

}  // namespace minima

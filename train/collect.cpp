#include "train/collect.hpp"

#include <algorithm>
#include <set>

#include "core/error.hpp"
#include "core/file.hpp"
#include "train/checkpoint.hpp"
#include "train/report/parts.hpp"
#include "train/run_record.hpp"

namespace minima {
namespace {

/// Runs that differ in their seeds alone.
struct Group {
  std::string spec;
  Json configuration;  ///< options of training, the model and its config.json, by name
  std::vector<Json> runs;
};

/// What a folder's runs were trained with. What only says how often to look and to save is no part of it.
Json configuration_of(const Json& folder) {
  Json all = folder["training"].is_object() ? folder["training"] : Json::object();
  for (const char* free : {"seed", "seeds", "threads", "watch", "save_every", "keep", "note"})
    all.erase(free);
  const Json& model = folder["model"];
  if (model.contains("config") && model["config"].is_object()) all.update(model["config"]);
  if (model.contains("name")) all["model"] = model["name"];
  if (model.contains("parameters")) all["parameters"] = model["parameters"];
  return all;
}

/// Keys by which they differ. What only one of them knows is no difference: a log knows less than a comparison.
std::set<std::string> differences(const Json& a, const Json& b) {
  std::set<std::string> keys;
  for (const auto& [key, value] : a.items())
    if (b.contains(key) && b[key] != value) keys.insert(key);
  return keys;
}

/// A value as one gives it to the program: "50%:adafactor", "bias:lr=1e-5", "none" of an empty list.
std::string as_given(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) {
    std::vector<std::string> all;
    for (const Json& one : value) all.push_back(as_given(one));
    return all.empty() ? "none" : fmt::format("{}", fmt::join(all, " "));
  }
  if (value.contains("share")) {  // a switch
    const double steps = report::number(value, "/steps");
    return (steps > 0 ? fmt::format("{}:", steps)
                      : fmt::format("{:.6g}%:", 100 * report::number(value, "/share"))) +
           report::text(value, "/spec");
  }
  if (value.contains("pattern"))  // a group
    return report::text(value, "/pattern") + ":" + report::text(value, "/options");
  return value.dump();
}

/// What differs from the first group and from others of the spec: " (batch 16, epochs 3)"; empty where nothing does.
std::string what_differs(const Group& group, const std::vector<Group>& all) {
  std::set<std::string> keys = differences(group.configuration, all.front().configuration);
  for (const Group& other : all)
    if (other.spec == group.spec) keys.merge(differences(group.configuration, other.configuration));
  // Either follows from the other, and from batches: that which was given is told.
  const bool by_steps =
      group.configuration.value("by_steps", !group.configuration.contains("epochs"));
  const bool otherwise = keys.erase("by_steps") > 0, steps = keys.erase("steps") > 0,
             epochs = keys.erase("epochs") > 0;
  if (otherwise || (by_steps ? steps : epochs)) keys.insert(by_steps ? "steps" : "epochs");
  std::string text;
  for (const std::string& key : keys) {
    const std::string name = key == "switches" ? "switch" : key == "groups" ? "group" : key;
    text +=
        fmt::format("{}{} {}", text.empty() ? "" : ", ", name, as_given(group.configuration[key]));
  }
  return text.empty() ? "" : fmt::format(" ({})", text);
}

/// Whether there is what --resume begins with.
bool is_begun(const std::filesystem::path& folder) {
  try {
    read_run(folder, nullptr);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

Json collect_runs(const std::vector<std::filesystem::path>& folders) {
  check(!folders.empty(), "report: no run is named");
  Json all, first;  // and the first folder's configuration
  std::vector<Group> groups;
  std::set<std::filesystem::path> seen;
  for (const std::filesystem::path& folder : folders) {
    check(seen.insert(std::filesystem::weakly_canonical(folder)).second,
          "{}: is named twice; its runs would count twice", folder.string());
    const auto file = folder / "comparison.json";
    const bool ended = is_there(file);
    check(ended || is_there(folder / "metrics.jsonl"),
          "{}: has neither comparison.json nor metrics.jsonl: {}", folder.string(),
          is_begun(folder)
              ? "its run, or comparison, was begun and can be gone on with (--resume)"
              : "it is no folder of minima train, pretrain or compare, and of no loop that logged "
                "to it");
    Json one = ended ? read_json(file) : describe_log(folder);
    for (const char* key : {"data", "model", "training", "runs", "failed"})
      check(one.is_object() && one.contains(key), "{}: has no \"{}\"", file.string(), key);
    check(one["runs"].is_array() && one["failed"].is_array() && one["model"].is_object() &&
              one["data"].is_object(),
          "{}: is no comparison", file.string());
    for (const char* list : {"runs", "failed"})
      for (const Json& run : one[list])
        check(run.is_object() && run.contains("spec") && run["spec"].is_string() &&
                  run.contains("seed") && (run["seed"].is_number() || run["seed"].is_null()),
              "{}: has a run without \"spec\" and \"seed\": it is no comparison", file.string());
    const Json configuration = configuration_of(one);
    for (const char* list : {"runs", "failed"})
      for (Json& run : std::exchange(one[list], Json::array())) {
        const auto spec = run["spec"].get<std::string>();
        auto group = std::ranges::find_if(groups, [&](const Group& known) {
          return known.spec == spec && differences(known.configuration, configuration).empty();
        });
        if (group == groups.end()) group = groups.insert(group, {spec, configuration, {}});
        group->runs.push_back(std::move(run));
      }
    if (all.is_null()) {
      first = configuration;
      all = std::move(one);
      continue;
    }
    for (const char* key : {"name", "train", "dev", "test", "labels"}) {
      if (!one["data"].contains(key)) continue;  // a log does not know all of it
      if (!all["data"].contains(key)) all["data"][key] = one["data"][key];
      check(
          one["data"][key] == all["data"][key],
          "{}: its data differ from those of {} in '{}' ({} and {}); one report is of one data set",
          folder.string(), folders[0].string(), key, one["data"][key].dump(),
          all["data"][key].dump());
    }
    for (const char* key : {"unfinished", "damaged"})
      if (one.contains(key))
        for (Json& run : one[key]) all[key].push_back(std::move(run));
    if (!differences(configuration, first).empty())
      all["training"]["note"] = "the runs differ in their options; these are the first folder's";
  }
  for (const Group& group : groups) {
    const std::string more = what_differs(group, groups);
    for (Json run : group.runs) {
      if (!more.empty()) run["differs"] = more;
      run["spec"] = group.spec + more;
      all[run.contains("error") ? "failed" : "runs"].push_back(std::move(run));
    }
  }
  check(!all["runs"].empty() || !all["failed"].empty(),
        "report: none of these folders has a finished run");
  return all;
}

}  // namespace minima

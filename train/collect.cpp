#include "train/collect.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "core/error.hpp"
#include "core/files/file.hpp"
#include "core/files/sorted_json.hpp"
#include "train/checkpoint.hpp"
#include "train/report/parts.hpp"
#include "train/run_record.hpp"

namespace minima {
namespace {

/// Runs that differ in their seeds alone.
struct Group {
  std::string spec;
  SortedJson configuration;  ///< options of training and the model, by name, as one gives them
  std::vector<std::string> labels;
  std::vector<Json> runs;
};

/// A value as one gives it to the program: "50%:adafactor", "bias:lr=1e-5", "none" of an empty list.
std::string as_given(const Json& value) {
  if (value.is_null()) return std::string(report::kMissing);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return report::shortest(value.get<double>());
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

/// What the command line calls an option of training: "clip_norm" → "--clip".
std::string option_of(std::string key) {
  for (const auto& [own, option] :
       {std::pair{"clip_norm", "clip"}, {"groups", "group"}, {"switches", "switch"}})
    if (key == own) key = option;
  std::ranges::replace(key, '_', '-');
  return "--" + key;
}

/// The same of a key of config.json: "minima_pooling" → "--pooling"; of what has no option a name in words.
std::string name_in_config(std::string key) {
  static const std::map<std::string, const char*> options = {{"dim", "--dim"},
                                                             {"hidden_size", "--dim"},
                                                             {"n_layers", "--layers"},
                                                             {"num_hidden_layers", "--layers"},
                                                             {"n_heads", "--heads"},
                                                             {"num_attention_heads", "--heads"},
                                                             {"hidden_dim", "--hidden"},
                                                             {"intermediate_size", "--hidden"},
                                                             {"dropout", "--dropout"},
                                                             {"hidden_dropout_prob", "--dropout"},
                                                             {"minima_pooling", "--pooling"}};
  if (const auto option = options.find(key); option != options.end()) return option->second;
  if (key.starts_with("minima_")) key.erase(0, 7);
  std::ranges::replace(key, '_', ' ');
  return key;
}

/// What a run of a folder was trained with. What only says how often to look and to save is no part of it.
SortedJson configuration_of(const Json& folder, const Json& run) {
  SortedJson all = SortedJson::object();
  Json training = folder["training"], model = folder["model"];
  if (const Json& config = report::at(model, "/config"); config.is_object())
    for (const auto& [key, value] : config.items()) all[name_in_config(key)] = as_given(value);
  if (model.contains("name")) all["--model"] = as_given(model["name"]);
  if (model.contains("parameters")) all["parameters"] = as_given(model["parameters"]);
  if (training.is_object()) {
    for (const char* free : {"seed", "seeds", "threads", "watch", "save_every", "keep", "note"})
      training.erase(free);
    // Steps and epochs follow from one another: the one that was given is told.
    const Json& told = report::at(training, "/by_steps");
    const bool by_steps = told.is_boolean() ? told == true : !training.contains("epochs");
    training.erase("by_steps");
    training[by_steps ? "epochs" : "steps"] = report::kMissing;
    for (const auto& [key, value] : training.items()) all[option_of(key)] = as_given(value);
  }
  // Of a report of several folders, where this run is not like the first.
  if (const Json& own = report::at(run, "/configuration"); own.is_object())
    for (const auto& [key, value] : own.items()) all[key] = value;
  all.erase("--optimizer");  // its spec
  return all;
}

/// Keys by which they differ. What only one of them knows is no difference: a log knows less than a comparison.
std::set<std::string> differences(const SortedJson& a, const SortedJson& b) {
  std::set<std::string> keys;
  for (const auto& [key, value] : a.items())
    if (b.contains(key) && b[key] != value) keys.insert(key);
  return keys;
}

/// What folders are called beside each other: their last names, where these differ.
std::vector<std::string> short_names(const std::vector<std::filesystem::path>& folders) {
  std::vector<std::string> names;
  for (const std::filesystem::path& folder : folders)
    names.push_back(std::filesystem::weakly_canonical(folder).filename().string());
  if (std::set<std::string>(names.begin(), names.end()).size() < names.size())
    for (std::size_t i = 0; i < names.size(); ++i) names[i] = folders[i].string();
  return names;
}

/// Gives each run a "label", its folder's name, also at the end of its spec, and as "configuration" what is not alike in
/// all groups; nothing where these differ in their optimizers alone, or lie in the same folders.
void tell_apart(std::vector<Group>& groups) {
  std::set<std::string> keys, specs, optimizers, told;
  std::set<std::vector<std::string>> places;
  for (const Group& group : groups) {
    specs.insert(group.spec);
    optimizers.insert(report::without_options(group.spec));
    places.insert(group.labels);
    for (const Group& other : groups)
      keys.merge(differences(group.configuration, other.configuration));
  }
  if (keys.empty() && (optimizers.size() == groups.size() || places.size() == 1)) return;
  for (Group& group : groups) {
    std::string label = report::joined(group.labels);
    while (!told.insert(group.spec + label).second) label += "'";
    for (Json& run : group.runs) {
      run["label"] = label;
      run["spec"] = fmt::format("{} ({})", group.spec, label);
      Json& own = run["configuration"] = Json::object();
      for (const std::string& key : keys)
        if (const auto found = group.configuration.find(key); found != group.configuration.end())
          own[key] = *found;
      if (specs.size() > 1) own["--optimizer"] = group.spec;
    }
  }
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

/// What a folder says of its runs: its comparison, or what its log tells. Throws Error for one that is neither.
Json read_folder(const std::filesystem::path& folder) {
  const auto file = folder / "comparison.json";
  const bool compared = is_there(file);
  check(compared || is_there(folder / "metrics.jsonl"),
        "{}: has neither comparison.json nor metrics.jsonl: {}", folder.string(),
        is_begun(folder)
            ? "its run, or comparison, was begun and can be gone on with (--resume)"
            : "it is no folder of minima train, pretrain or compare, and of no loop that logged "
              "to it");
  Json json = compared ? read_json(file) : describe_log(folder);
  for (const char* key : {"data", "model", "training", "runs", "failed"})
    check(json.is_object() && json.contains(key), "{}: has no \"{}\"", file.string(), key);
  check(json["runs"].is_array() && json["failed"].is_array() && json["model"].is_object() &&
            json["data"].is_object(),
        "{}: is no comparison", file.string());
  for (const char* list : {"runs", "failed"})
    for (const Json& run : json[list])
      check(run.is_object() && run.contains("spec") && run["spec"].is_string() &&
                run.contains("seed") && (run["seed"].is_number() || run["seed"].is_null()),
            "{}: has a run without \"spec\" and \"seed\": it is no comparison", file.string());
  return json;
}

/// Puts a run of a folder to those that differ from it in their seeds alone. A loop of one's own may be any: it is no seed
/// of another. Nor is the same seed once more, or one that is lost: equal bits would hide how far seeds scatter.
void add_run(std::vector<Group>& groups, const Json& folder, Json run, const std::string& label) {
  const SortedJson configuration = configuration_of(folder, run);
  const std::string spec = report::own_spec(run);
  auto group = std::ranges::find_if(groups, [&](const Group& known) {
    return known.spec == spec && !run.contains("own_loop") &&
           std::ranges::none_of(known.runs,
                                [&](const Json& other) { return other["seed"] == run["seed"]; }) &&
           differences(known.configuration, configuration).empty();
  });
  if (group == groups.end()) group = groups.insert(group, {spec, configuration, {}, {}});
  if (std::ranges::find(group->labels, label) == group->labels.end())
    group->labels.push_back(label);
  group->runs.push_back(std::move(run));
}

/// Adds what another folder says of the data, and of its runs that are no more. Throws Error for other data.
void join_folder(Json& all, const Json& other, const std::string& first,
                 const std::string& folder) {
  for (const char* key : {"name", "train", "dev", "test", "labels"}) {
    if (!other["data"].contains(key)) continue;  // a log does not know all of it
    Json& known = all["data"][key];
    if (known.is_null()) known = other["data"][key];
    check(other["data"][key] == known,
          "{}: its data differ from those of {} in '{}' ({} and {}); one report is of one data set",
          folder, first, key, other["data"][key].dump(), known.dump());
  }
  for (const char* key : {"tuning", "unfinished", "damaged"})
    if (other.contains(key))
      for (const Json& one : other[key]) all[key].push_back(one);
}

}  // namespace

Json collect_runs(const std::vector<std::filesystem::path>& folders) {
  check(!folders.empty(), "report: no run is named");
  Json all;
  std::vector<Group> groups;
  std::set<std::filesystem::path> seen;
  const std::vector<std::string> names = short_names(folders);
  for (std::size_t i = 0; i < folders.size(); ++i) {
    const std::filesystem::path& folder = folders[i];
    check(seen.insert(std::filesystem::weakly_canonical(folder)).second,
          "{}: is named twice; its runs would count twice", folder.string());
    const bool compared = is_there(folder / "comparison.json");
    Json one = read_folder(folder);
    for (const char* list : {"runs", "failed"})
      for (Json& run : std::exchange(one[list], Json::array())) {
        const std::string label =
            compared && run.contains("label") ? report::text(run, "/label") : names[i];
        add_run(groups, one, std::move(run), label);
      }
    if (folders.size() > 1 && one.contains("tuning"))
      for (Json& tuned : one["tuning"])
        if (tuned.is_object() && !tuned.contains("label")) tuned["label"] = names[i];
    if (all.is_null())
      all = std::move(one);
    else
      join_folder(all, one, folders[0].string(), folder.string());
  }
  if (folders.size() > 1) tell_apart(groups);
  for (Group& group : groups)
    for (Json& run : group.runs) {
      if (!report::at(run, "/configuration").empty())
        all["training"]["note"] = "the runs differ in their options; these are the first folder's";
      all[run.contains("error") ? "failed" : "runs"].push_back(std::move(run));
    }
  check(!all["runs"].empty() || !all["failed"].empty(),
        "report: none of these folders has a finished run{}",
        all.contains("unfinished")
            ? "; the folder of a comparison's run that goes on may be named itself"
            : "");
  return all;
}

}  // namespace minima

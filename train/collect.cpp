#include "train/collect.hpp"

#include "core/error.hpp"
#include "train/run_record.hpp"

namespace minima {

Json collect_runs(const std::vector<std::filesystem::path>& folders) {
  check(!folders.empty(), "report: no run is named");
  Json all;
  for (const std::filesystem::path& folder : folders) {
    const auto file = folder / "comparison.json";
    const bool ended = std::filesystem::exists(file);
    check(ended || std::filesystem::exists(folder / "metrics.jsonl"),
          "{}: has neither comparison.json nor metrics.jsonl: it is no folder of minima train or "
          "compare, and of no loop that logged to it",
          folder.string());
    Json one = ended ? read_json(file) : describe_log(folder);
    for (const char* key : {"data", "model", "training", "runs", "failed"})
      check(one.is_object() && one.contains(key), "{}: has no \"{}\"", file.string(), key);
    check(one["runs"].is_array() && one["model"].is_object() && one["data"].is_object(),
          "{}: is no comparison", file.string());
    for (const Json& run : one["runs"])
      check(run.is_object() && run.contains("spec") && run["spec"].is_string() &&
                run.contains("seed") && run["seed"].is_number(),
            "{}: has a run without \"spec\" and \"seed\": it is no comparison", file.string());
    if (all.is_null()) {
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
    const Json config = one["model"].value("config", Json()),
               first_config = all["model"].value("config", Json());
    const bool other_model = !config.is_null() && !first_config.is_null() && config != first_config;
    for (Json& run : one["runs"]) {
      if (other_model)
        run["spec"] =
            fmt::format("{} ({}, {} parameters)", run.value("spec", ""),
                        one["model"].value("name", "?"), one["model"].value("parameters", 0));
      all["runs"].push_back(std::move(run));
    }
    for (Json& failed : one["failed"]) all["failed"].push_back(std::move(failed));
    if (one["training"] != all["training"])
      all["training"]["note"] = "the runs differ in their options; these are the first folder's";
  }
  check(!all["runs"].empty(), "report: none of these folders has a finished run");
  return all;
}

}  // namespace minima

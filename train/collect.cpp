#include "train/collect.hpp"

#include "core/error.hpp"

namespace minima {

Json collect_runs(const std::vector<std::filesystem::path>& folders) {
  check(!folders.empty(), "report: no run is named");
  Json all;
  for (const std::filesystem::path& folder : folders) {
    const auto file = folder / "comparison.json";
    check(std::filesystem::exists(file),
          "{}: has no comparison.json: it is no folder of minima train or compare, or its run has "
          "not ended",
          folder.string());
    Json one = read_json(file);
    for (const char* key : {"data", "model", "training", "runs", "failed"})
      check(one.is_object() && one.contains(key), "{}: has no \"{}\"", file.string(), key);
    check(one["runs"].is_array() && one["model"].is_object() && one["data"].is_object(),
          "{}: is no comparison", file.string());
    if (all.is_null()) {
      all = std::move(one);
      continue;
    }
    for (const char* key : {"name", "train", "dev", "test", "labels"})
      check(
          one["data"].value(key, Json()) == all["data"].value(key, Json()),
          "{}: its data differ from those of {} in '{}' ({} and {}); one report is of one data set",
          folder.string(), folders[0].string(), key, one["data"].value(key, Json()).dump(),
          all["data"].value(key, Json()).dump());
    const bool other_model =
        one["model"].value("config", Json()) != all["model"].value("config", Json());
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

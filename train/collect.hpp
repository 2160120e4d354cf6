/// One report for runs that were trained apart.
#pragma once

#include <filesystem>
#include <vector>

#include "core/files/json.hpp"

namespace minima {

/// The comparison of all runs in these folders, each written by `minima train` or `minima compare` (comparison.json), or
/// a log alone (describe_log): of a pre-training, of a loop of one's own, or of a run that has not ended or failed. Where
/// they differ in more than their seeds and optimizers, or have a seed twice, each run carries a "label", the name of its
/// folder (of its folders, where they hold seeds of one another), also at the end of its spec, "adamw:lr=0.001 (clipped)",
/// and in "configuration" its value of each option that is not alike in all, by the name that the command line has:
/// {"--clip": "0.5", "--optimizer": "adamw:lr=0.001"}.
/// What tuning tried carries the "label" of its folder, where there are several.
/// Throws Error, naming the folder, where one has none of these, is named twice, or has other data.
Json collect_runs(const std::vector<std::filesystem::path>& folders);

}  // namespace minima

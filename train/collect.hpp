/// One report for runs that were trained apart.
#pragma once

#include <filesystem>
#include <vector>

#include "core/json.hpp"

namespace minima {

/// The comparison of all runs in these folders, each written by `minima train` or `minima compare` (comparison.json), or
/// a log alone (describe_log): of a pre-training, of a loop of one's own, or of a run that has not ended or failed. Runs of
/// one spec that differ in more than their seeds, and those that were trained otherwise than the first folder's, carry at the
/// end of their spec what is different, and in "differs" that end, for report::run_name: "adamw:lr=0.001 → lion (switch
/// 50%:lion:lr=0.0002)".
/// Throws Error, naming the folder, where one has none of these, is named twice, or has other data.
Json collect_runs(const std::vector<std::filesystem::path>& folders);

}  // namespace minima

/// One report for runs that were trained apart.
#pragma once

#include <filesystem>
#include <vector>

#include "core/json.hpp"

namespace minima {

/// The comparison of all runs in these folders, each written by `minima train` or `minima compare` (comparison.json), or
/// a log alone (describe_log): of a loop of one's own, or of a run that has not ended. Runs of another model than the first
/// folder's carry its name and size in their spec. Throws Error, naming the folder, where one has none of these, and
/// where their data differ.
Json collect_runs(const std::vector<std::filesystem::path>& folders);

}  // namespace minima

#include "core/folder.hpp"

#include <fcntl.h>

#include <cstdio>
#include <vector>

#include "core/error.hpp"
#include "core/file.hpp"

namespace minima {
namespace {

namespace fs = std::filesystem;

/// The folders above `path` that are not there, the lowest first.
std::vector<fs::path> missing_parents(const fs::path& path) {
  std::vector<fs::path> missing;
  std::error_code none;
  for (fs::path folder = path.parent_path(); !folder.empty() && !fs::exists(folder, none);
       folder = folder.parent_path())
    missing.push_back(folder);
  return missing;
}

/// Both take the other's name, in one step. False where the file system cannot.
bool exchange(const fs::path& a, const fs::path& b) {
  return renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
}

}  // namespace

void write_folder(const fs::path& folder, const std::function<void(const fs::path&)>& fill) {
  const fs::path part = part_of(folder), old = fs::path(part).replace_extension(".replaced");
  const std::vector<fs::path> parents = missing_parents(part);
  const auto remove_all_made = [&] {
    std::error_code ignored;
    fs::remove_all(part, ignored);
    for (const fs::path& parent : parents) fs::remove(parent, ignored);  // where it is empty
  };
  std::error_code refused;
  fs::remove_all(part, refused);
  if (!refused) fs::create_directories(part, refused);
  if (refused) {
    remove_all_made();
    fail_at_run_time("{}: cannot be created: {}", folder.string(), refused.message());
  }
  try {
    fill(part);
  } catch (...) {
    remove_all_made();
    throw;
  }
  if (!fs::exists(folder)) {
    fs::rename(part, folder, refused);
  } else if (!exchange(part, folder)) {
    fs::remove_all(old, refused);
    if (!refused) fs::rename(folder, old, refused);
    if (!refused) fs::rename(part, folder, refused);
  }
  if (refused)
    fail_at_run_time("{}: cannot be put in the place of {}: {}; it is whole", part.string(),
                     folder.string(), refused.message());
  flush_folder(part.has_parent_path() ? part.parent_path() : ".");
  for (const fs::path& replaced : {part, old}) fs::remove_all(replaced, refused);
}

}  // namespace minima

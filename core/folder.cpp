#include "core/folder.hpp"

#include "core/error.hpp"
#include "core/file.hpp"

namespace minima {

void write_folder(const std::filesystem::path& folder,
                  const std::function<void(const std::filesystem::path&)>& fill) {
  namespace fs = std::filesystem;
  const fs::path part = folder.string() + ".part", old = folder.string() + ".replaced";
  std::error_code refused;
  fs::remove_all(part, refused);
  if (!refused) fs::create_directories(part, refused);
  if (refused) fail_at_run_time("{}: cannot be created: {}", part.string(), refused.message());
  try {
    fill(part);
  } catch (...) {
    fs::remove_all(part, refused);
    throw;
  }
  const bool replaces = fs::exists(folder);
  if (replaces) fs::remove_all(old, refused);
  if (replaces && !refused) fs::rename(folder, old, refused);
  if (!refused) fs::rename(part, folder, refused);
  if (refused)
    fail_at_run_time("{}: cannot be put in the place of {}: {}; it is whole", part.string(),
                     folder.string(), refused.message());
  flush_folder(folder.has_parent_path() ? folder.parent_path() : ".");
  fs::remove_all(old, refused);
}

}  // namespace minima

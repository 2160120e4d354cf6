#include "core/folder.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/error.hpp"
#include "core/file.hpp"

namespace minima {
namespace {

namespace fs = std::filesystem;

/// Which of `folder` and those above it are not there, the lowest first.
std::vector<fs::path> missing_folders(fs::path folder) {
  std::vector<fs::path> missing;
  std::error_code none;
  for (; !folder.empty() && !fs::exists(folder, none); folder = folder.parent_path())
    missing.push_back(folder);
  return missing;
}

/// Makes them; empty where that went well.
std::error_code make(const fs::path& folder, const std::vector<fs::path>& missing) {
  std::error_code refused;
  fs::create_directories(folder, refused);
  if (refused) return refused;
  for (const fs::path& made : missing) {
    const fs::path above = made.has_parent_path() ? made.parent_path() : ".";
    // One that may be written but not read, which cannot be flushed, is left to the system.
    if (access(above.c_str(), R_OK) == 0) flush_folder(above);
  }
  return {};
}

void remove_empty(const std::vector<fs::path>& folders) {
  for (const fs::path& folder : folders) rmdir(folder.c_str());
}

/// Both take the other's name, in one step. False where the file system cannot.
bool exchange(const fs::path& a, const fs::path& b) {
  return renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
}

}  // namespace

fs::path replaced_of(const fs::path& folder) {
  return part_of(folder).replace_extension(".minima-replaced");
}

void write_folder(const fs::path& folder, const std::function<void(const fs::path&)>& fill) {
  const fs::path part = part_of(folder), old = replaced_of(folder);
  std::optional<FolderLock> replaced;  // in the end it is `part`, until it is removed
  if (is_there(folder)) replaced.emplace(folder);
  const NewFolders above(part.parent_path(), folder);
  std::error_code refused;
  fs::create_directory(part, refused);
  if (refused) fail_at_run_time("{}: cannot be created: {}", folder.string(), refused.message());
  const FolderLock filling(part);
  try {
    // What a kill has left goes; the folder, which is locked, stays.
    for (const fs::directory_entry& left : fs::directory_iterator(part)) fs::remove_all(left);
    fill(part);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(part, ignored);
    throw;
  }
  if (!is_there(folder)) {
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
  for (const fs::path& away : {part, old}) fs::remove_all(away, refused);
}

void make_folders(const fs::path& folder) {
  if (const std::error_code refused = make(folder, missing_folders(folder)))
    fail_at_run_time("{}: cannot be created: {}", folder.string(), refused.message());
}

NewFolders::NewFolders(const fs::path& folder, const fs::path& wanted)
    : made_(missing_folders(folder)) {
  const std::error_code refused = make(folder, made_);
  if (folder.empty() || !refused) return;
  remove_empty(made_);
  fail_at_run_time("{}: cannot be created: {}", wanted.string(), refused.message());
}

NewFolders::~NewFolders() { remove_empty(made_); }

FolderLock::FolderLock(const fs::path& folder) {
  made_.emplace(folder, folder);
  if (access(folder.c_str(), W_OK | X_OK) != 0)
    fail_at_run_time("{}: cannot be written: {}", folder.string(), std::strerror(errno));
  fd_ = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd_ < 0) fail_at_run_time("{}: cannot be locked: {}", folder.string(), std::strerror(errno));
  if (const std::string other = lock(fd_, folder); !other.empty()) {
    close(fd_);
    fail("{}: {} is at work in it; wait for its end, or name another folder", folder.string(),
         other);
  }
}

FolderLock::~FolderLock() {
  made_.reset();  // while it is locked
  if (fd_ >= 0) close(fd_);
}

}  // namespace minima

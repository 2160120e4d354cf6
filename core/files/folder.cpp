#include "core/files/folder.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "core/error.hpp"
#include "core/files/file.hpp"

namespace minima {
namespace {

namespace fs = std::filesystem;

fs::path above(const fs::path& folder) {
  return folder.has_parent_path() ? folder.parent_path() : ".";
}

/// Makes `folder` and those above it where they are missing; no error where that went well. `made` are those that this
/// call has made and no other process, the innermost first. Others may take away meanwhile what they have made.
std::error_code make(const fs::path& folder, std::vector<fs::path>& made) {
  std::error_code refused, none;
  for (int tries = 0; tries < 1000; ++tries) {
    fs::path next = folder;
    while (above(next) != next && !fs::exists(above(next), none)) next = above(next);
    if (fs::create_directory(next, refused)) {
      made.insert(made.begin(), next);
      // One that may be written but not read, which cannot be flushed, is left to the system.
      if (access(above(next).c_str(), R_OK) == 0) flush_folder(above(next));
    }
    if (refused == std::errc::file_exists) return std::make_error_code(std::errc::not_a_directory);
    if (refused ? refused != std::errc::no_such_file_or_directory : next == folder) return refused;
  }
  return refused;
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
  std::vector<fs::path> made;
  if (const std::error_code refused = make(folder, made))
    fail_at_run_time("{}: cannot be created: {}", folder.string(), refused.message());
}

NewFolders::NewFolders(const fs::path& folder, const fs::path& wanted) {
  const std::error_code refused = make(folder, made_);
  if (folder.empty() || !refused) return;
  remove_empty(made_);
  fail_at_run_time("{}: cannot be created: {}", wanted.string(), refused.message());
}

NewFolders::~NewFolders() { remove_empty(made_); }

FolderLock::FolderLock(const fs::path& folder)
    : FolderLock(folder, std::make_unique<NewFolders>(folder, folder)) {}

FolderLock FolderLock::on_new(const fs::path& folder) {
  for (;;) {
    const fs::path name = free_name(folder);
    auto made = std::make_unique<NewFolders>(name, name);
    if (made->made(name)) return FolderLock(name, std::move(made));
  }
}

FolderLock::FolderLock(const fs::path& folder, std::unique_ptr<NewFolders> made)
    : path_(folder), made_(std::move(made)) {
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

FolderLock::FolderLock(FolderLock&& other) noexcept
    : path_(std::move(other.path_)),
      made_(std::move(other.made_)),
      fd_(std::exchange(other.fd_, -1)) {}

FolderLock::~FolderLock() {
  made_.reset();  // while it is locked
  if (fd_ >= 0) close(fd_);
}

}  // namespace minima

/// Whole folders, written as core/files/file.hpp writes whole files; and folders that one process has for itself.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

namespace minima {

/// The name beside `folder` that it has for a moment while another takes its place.
std::filesystem::path replaced_of(const std::filesystem::path& folder);

/// Fills the folder part_of(folder), which then takes the place of `folder`: the files of the old one
/// go, and are never mixed with the new ones. `fill` leaves its files on the disk, as write_file does;
/// where it throws, the old folder stays, and no folder above that was made for it. The two change names
/// in one step; where the file system cannot, the old one is replaced_of(folder) for a moment, which a
/// kill right then leaves. What a kill has left is removed by the next call. Both are locked all the
/// while: throws Error where another process has one of them, and (run time) when the disk refuses; where
/// it refused a new name only, the new files stay in part_of(folder).
void write_folder(const std::filesystem::path& folder,
                  const std::function<void(const std::filesystem::path& part)>& fill);

/// Makes a folder, and those above it, where they are missing; they last through a power cut then. Throws Error (run time).
void make_folders(const std::filesystem::path& folder);

/// The same for a while: those that stayed empty go again with this.
class NewFolders {
 public:
  /// Throws Error (run time) where one cannot be made, naming the file or folder that they are `wanted` for; then none
  /// is left.
  NewFolders(const std::filesystem::path& folder, const std::filesystem::path& wanted);
  ~NewFolders();
  NewFolders(const NewFolders&) = delete;
  NewFolders& operator=(const NewFolders&) = delete;

  /// Whether this has made that one, and nobody else.
  bool made(const std::filesystem::path& folder) const {
    return !made_.empty() && made_.front() == folder;
  }

 private:
  std::vector<std::filesystem::path> made_;  ///< the innermost first
};

/// A folder for one process at a time. The system keeps the lock (flock on the folder itself) and takes it back when the
/// process ends, however it ends: nothing is left in the folder, and nothing to clean up after a kill.
class FolderLock {
 public:
  /// Makes the folder where there is none (NewFolders). Throws Error where another process has it, named where the system
  /// knows it, and (run time) where the folder cannot be made or written to.
  explicit FolderLock(const std::filesystem::path& folder);
  /// The first of `folder`, folder-2, folder-3, … that is not there yet; of processes that ask at once each gets its own.
  static FolderLock on_new(const std::filesystem::path& folder);
  FolderLock(FolderLock&&) noexcept;
  ~FolderLock();

  const std::filesystem::path& path() const { return path_; }

 private:
  FolderLock(const std::filesystem::path& folder, std::unique_ptr<NewFolders> made);
  std::filesystem::path path_;
  std::unique_ptr<NewFolders> made_;
  int fd_;
};

}  // namespace minima

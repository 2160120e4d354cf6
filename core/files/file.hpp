/// Whole files: read with a clear error, written so that a kill at any moment leaves the old one or
/// the new one.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "core/types.hpp"

namespace minima {

/// Whether there is anything of that name, be it a link to nothing: what is there but cannot be read is an error, not a
/// file that is left out.
bool is_there(const std::filesystem::path& path);
/// Whether there is a folder of that name. False, not an exception, where the system cannot tell, as for a link that leads
/// in circles: whoever opens it is told why.
bool is_folder(const std::filesystem::path& path);
/// The first of PATH, PATH-2, PATH-3, … of whose name there is nothing.
std::filesystem::path free_name(const std::filesystem::path& path);

/// What a name ends with, from its last point on, in small letters: ".csv" of "Texts.CSV".
std::string ending(const std::filesystem::path& path);

/// The name beside `path` that it has while it is written: PATH.minima-part, a name that nobody but this program gives,
/// so that what has it may be replaced. (minima convert, which writes among a user's own files, looks first.)
std::filesystem::path part_of(const std::filesystem::path& path);

/// Locks (flock) the file or folder that is open under the name `path`, until it is closed or the process ends, however
/// it ends. Returns who has it otherwise, "process 4711", or "another process" where the system does not tell or the
/// name has gone over to another file meanwhile; empty where it is locked, and on a file system that knows no locks.
std::string lock(int fd, const std::filesystem::path& path);

/// A file open for reading at any place.
class InputFile {
 public:
  /// Throws Error, with the system's reason, when it cannot be opened, and for what is no file but a folder, a pipe or a
  /// device.
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  u64 size() const { return size_; }  ///< when it was opened
  int descriptor() const { return fd_; }
  /// The bytes begin … begin+count-1. Throws Error (run time) when it cannot be read or is too
  /// short by now.
  void read(void* to, u64 count, u64 begin) const;

 private:
  std::filesystem::path path_;
  int fd_;
  u64 size_ = 0;
};

inline constexpr u64 kMostBytesAtOnce = u64{1} << 30;
/// The bytes of a file, or of what others write into a pipe. Throws Error, with the system's reason, when it cannot be
/// opened or read, for a pipe from which nothing comes, and for more than kMostBytesAtOnce; a file's before there is memory
/// for them.
std::string read_file(const std::filesystem::path& path);

/// Writes under the name part_of(path), flushes, renames, and flushes the folder. Throws Error where another process is
/// writing it, and (run time) when the disk refuses.
void write_file(const std::filesystem::path& path, std::string_view bytes);

/// Makes what was renamed or removed in a folder last through a power cut. Throws Error (run time) when the disk
/// refuses.
void flush_folder(const std::filesystem::path& folder);

/// A file that grows line by line, such as a log: what was appended is in the system's hands at once.
class AppendFile {
 public:
  /// Opens it and cuts it off after `keep` bytes; creates it where there is none. Throws Error (run time), with the
  /// system's reason, when it cannot be written, and for a file that is shorter.
  AppendFile(const std::filesystem::path& path, u64 keep);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// Throws Error (run time) where the disk refuses, and where the file was removed meanwhile.
  void append(std::string_view bytes);
  /// Its size, all of which is on the disk by then.
  u64 flush();

 private:
  std::filesystem::path path_;
  int fd_;
  u64 size_;
  bool has_name_ = true;  ///< not all file systems count names
};

/// The same as the first write_file, for content that is produced piece by piece through `append`.
using Append = std::function<void(const void* bytes, std::size_t count)>;
void write_file(const std::filesystem::path& path,
                const std::function<void(const Append&)>& produce);

}  // namespace minima

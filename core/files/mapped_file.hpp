/// A file mapped into memory.
#pragma once

#include "core/files/file.hpp"

namespace minima {

/// A file whose bytes are taken, from any place, out of a private, read-only mapping. Pages are let go as soon as they
/// have been copied, so that a large file is not in memory twice.
///
/// Nobody gets a pointer into the mapping. Where another process cuts the file off (`cp` onto it; nothing here does, see
/// write_file), or its disk fails, the system answers a touch of the mapping with SIGBUS: during a copy that is an Error,
/// as for a read that fails, at any other time the end of the process. The first copy sets a handler of SIGBUS for the
/// process, which hands on to the one before it whatever is not met by a copy.
class MappedFile {
 public:
  /// Throws Error, with the system's reason, when it cannot be opened or mapped: a folder, a pipe or a device cannot.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return file_.path(); }
  u64 size() const { return file_.size(); }  ///< when it was opened
  /// The bytes begin … begin+count-1, which lie within its size. Throws Error (run time) when they cannot be read, or
  /// when the file is too short by now.
  void read(void* to, u64 count, u64 begin) const;

 private:
  InputFile file_;
  const std::byte* bytes_ = nullptr;  ///< none where the file is empty
};

}  // namespace minima

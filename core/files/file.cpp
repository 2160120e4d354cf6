#include "core/files/file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "core/error.hpp"

namespace minima {
namespace {

const char* reason() { return std::strerror(errno); }

/// The reason why `path` cannot be opened; of a link to nothing, the link is what exists.
std::string reason(const std::filesystem::path& path) {
  const int error = errno;
  std::error_code no_link;
  const std::filesystem::path target = std::filesystem::read_symlink(path, no_link);
  if (error != ENOENT || no_link) return std::strerror(error);
  return fmt::format("it is a link to '{}', which is not there", target.string());
}

/// An open file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const std::filesystem::path& path, int flags)
      : Descriptor(open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return fd_; }

 private:
  int fd_;
};

/// Throws Error, with the system's reason, when it cannot be opened.
int open_to_read(const std::filesystem::path& path, int flags = 0) {
  check(!is_folder(path), "{}: is a folder, not a file", path.string());
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  if (fd < 0) fail("{}: cannot be opened: {}", path.string(), reason(path));
  return fd;
}

/// "process 4711", which has locked what is open; "another process" where the system does not tell which.
std::string holder_of(int fd) {
  struct stat status {};
  fstat(fd, &status);
  const std::string wanted =
      fmt::format("{:02x}:{:02x}:{}", major(status.st_dev), minor(status.st_dev), status.st_ino);
  std::ifstream locks("/proc/locks");  // 1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, kind, how, mode, file;
    pid_t process = 0;
    if (words >> number >> kind >> how >> mode >> process >> file && kind == "FLOCK" &&
        file == wanted && process > 0)
      return fmt::format("process {}", process);
  }
  return "another process";
}

}  // namespace

bool is_there(const std::filesystem::path& path) {
  std::error_code none;
  return std::filesystem::exists(std::filesystem::symlink_status(path, none));
}

bool is_folder(const std::filesystem::path& path) {
  std::error_code none;
  return std::filesystem::is_directory(path, none);
}

std::filesystem::path free_name(const std::filesystem::path& path) {
  std::filesystem::path name = path;
  for (int i = 2; is_there(name); ++i) name = fmt::format("{}-{}", path.string(), i);
  return name;
}

std::string ending(const std::filesystem::path& path) {
  std::string ending = path.extension().string();
  for (char& c : ending)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return ending;
}

std::filesystem::path part_of(const std::filesystem::path& path) {
  return (path.has_filename() ? path : path.parent_path()).string() + ".minima-part";
}

std::string lock(int fd, const std::filesystem::path& path) {
  if (fd < 0) return "";
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) return errno == EWOULDBLOCK ? holder_of(fd) : "";
  struct stat opened {
  }, named{};
  const bool same = fstat(fd, &opened) == 0 && stat(path.c_str(), &named) == 0 &&
                    opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
  return same ? "" : "another process";
}

InputFile::InputFile(const std::filesystem::path& path) : path_(path) {
  std::error_code none;
  check(!std::filesystem::is_other(path, none),
        "{}: is a pipe or a device, not a file; copy what comes from it into one", path.string());
  fd_ = open_to_read(path);
  struct stat status {};
  if (fstat(fd_, &status) == 0) size_ = static_cast<u64>(status.st_size);
}

InputFile::~InputFile() { close(fd_); }

void InputFile::read(void* to, u64 count, u64 begin) const {
  for (u64 done = 0; done < count;) {
    const ssize_t got =
        pread(fd_, static_cast<char*>(to) + done, count - done, static_cast<off_t>(begin + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_at_run_time("{}: cannot be read: {}", path_.string(), reason());
    if (got == 0)
      fail_at_run_time("{}: ends at byte {}; it had {} when it was opened", path_.string(),
                       begin + done, size_);
    done += static_cast<u64>(got);
  }
}

std::string read_file(const std::filesystem::path& path) {
  const Descriptor fd(open_to_read(path, O_NONBLOCK));  // to open a pipe is to wait for its writer
  fcntl(fd, F_SETFL, 0);
  struct stat status {};
  fstat(fd, &status);
  const auto check_size = [&](const char* has, u64 bytes) {
    check(bytes <= kMostBytesAtOnce, "{}: has {}{} bytes; what is read at once may have {} (1 GB)",
          path.string(), has, bytes, kMostBytesAtOnce);
  };
  check_size("", static_cast<u64>(status.st_size));
  std::string bytes;
  char block[1 << 16];
  for (;;) {  // to its end: pipes, and files of /proc, have no size
    const ssize_t got = ::read(fd, block, sizeof(block));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_at_run_time("{}: cannot be read: {}", path.string(), reason());
    check(got > 0 || !bytes.empty() || !S_ISFIFO(status.st_mode),
          "{}: is a pipe into which nobody writes", path.string());
    if (got == 0) return bytes;
    bytes.append(block, static_cast<std::size_t>(got));
    check_size("at least ", bytes.size());
  }
}

void write_file(const std::filesystem::path& path,
                const std::function<void(const Append&)>& produce) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const std::filesystem::path temporary = part_of(path);
  const auto refused = [&](const char* what) {
    fail_at_run_time("{}: cannot be {}: {}", path.string(), what, reason());
  };
  const Descriptor file(temporary, O_WRONLY | O_CREAT);
  if (file < 0) fail_at_run_time("{}: cannot be created: {}", path.string(), reason());
  const std::string other = lock(file, temporary);
  check(other.empty(), "{}: {} is at work on it; wait for its end, or name another file",
        temporary.string(), other);
  try {
    if (ftruncate(file, 0) != 0) refused("written");  // what a kill has left
    if (struct stat before{}; stat(path.c_str(), &before) == 0)
      fchmod(file, before.st_mode & 07777);
    produce([&](const void* bytes, std::size_t count) {
      const char* from = static_cast<const char*>(bytes);
      while (count > 0) {
        const ssize_t put = write(file, from, count);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) refused("written");
        from += put;
        count -= static_cast<std::size_t>(put);
      }
    });
    if (fsync(file) != 0) refused("flushed");
    // While it is locked: else another process could cut off what this one puts into place.
    if (rename(temporary.c_str(), path.c_str()) != 0) refused("renamed into place");
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
  flush_folder(folder);
}

void flush_folder(const std::filesystem::path& folder) {
  const Descriptor directory(folder, O_RDONLY | O_DIRECTORY);
  // A file system that cannot flush a folder (EINVAL) has nothing to flush.
  if (directory < 0 || (fsync(directory) != 0 && errno != EINVAL))
    fail_at_run_time("{}: cannot be flushed: {}", folder.string(), reason());
}

AppendFile::AppendFile(const std::filesystem::path& path, u64 keep)
    : path_(path),
      fd_(open(path.c_str(), O_WRONLY | O_CLOEXEC | (keep == 0 ? O_CREAT : 0), 0644)),
      size_(keep) {
  const auto refused = [&](const std::string& why) {
    if (fd_ >= 0) close(fd_);
    fail_at_run_time("{}: cannot be written: {}", path_.string(), why);
  };
  if (fd_ < 0) refused(reason());
  struct stat status {};
  if (fstat(fd_, &status) != 0) refused(reason());
  has_name_ = status.st_nlink > 0;
  if (static_cast<u64>(status.st_size) < keep)
    refused(fmt::format("it has {} bytes, of which {} were to be kept", status.st_size, keep));
  if (ftruncate(fd_, static_cast<off_t>(keep)) != 0 || lseek(fd_, 0, SEEK_END) < 0)
    refused(reason());
}

AppendFile::~AppendFile() { close(fd_); }

void AppendFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = write(fd_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail_at_run_time("{}: cannot be written: {}", path_.string(), reason());
    bytes.remove_prefix(static_cast<std::size_t>(put));
    size_ += static_cast<u64>(put);
  }
  struct stat status {};
  if (has_name_ && fstat(fd_, &status) == 0 && status.st_nlink == 0)
    fail_at_run_time("{}: was removed while it was written", path_.string());
}

u64 AppendFile::flush() {
  if (fsync(fd_) != 0) fail_at_run_time("{}: cannot be flushed: {}", path_.string(), reason());
  return size_;
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  write_file(path, [&](const Append& append) { append(bytes.data(), bytes.size()); });
}

}  // namespace minima

#include "tests/crash/faults.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>

namespace {

std::atomic<long> counted{0};
std::atomic<bool> counting{false};
minima::test::Fault fault;
std::atomic<const char*> met{""};

/// Whether the call fails; errno is set then. Does not return where the process is to die.
bool fails(const char* call) {
  if (!counting) return false;
  const long n = ++counted;
  if (fault.at == 0 || n < fault.at) return false;
  if (fault.error == 0) {
    met = call;
    raise(SIGKILL);
  }
  if (n >= fault.at + fault.lasting) return false;
  if (n == fault.at) met = call;
  errno = fault.error;
  return true;
}

bool is_file(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

template <class... Args>
long call(long number, Args... args) {
  return syscall(number, args...);
}

bool writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY; }

int open_file(const char* path, int flags, unsigned mode) {
  if (writes(flags) && fails("open")) return -1;
  return static_cast<int>(call(SYS_openat, AT_FDCWD, path, flags, mode));
}

}  // namespace

namespace minima::test {

void set_fault(const Fault& next) {
  counted = 0;
  met = "";
  fault = next;
  counting = true;
}
long calls_counted() { return counted; }
std::string fault_met() { return met.load(); }

}  // namespace minima::test

extern "C" {

ssize_t write(int fd, const void* bytes, size_t count) {
  // Half of it is written by then: a kill or a full disk in the middle of a write.
  if (is_file(fd)) {
    if (counting && fault.at > 0 && counted + 1 == fault.at && count > 1)
      call(SYS_write, fd, bytes, count / 2);
    if (fails("write")) return -1;
  }
  return call(SYS_write, fd, bytes, count);
}

int open(const char* path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  const unsigned mode = (flags & O_CREAT) ? va_arg(args, unsigned) : 0;
  va_end(args);
  return open_file(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  const unsigned mode = (flags & O_CREAT) ? va_arg(args, unsigned) : 0;
  va_end(args);
  return open_file(path, flags, mode);
}

int fsync(int fd) { return fails("fsync") ? -1 : static_cast<int>(call(SYS_fsync, fd)); }
int ftruncate(int fd, off_t size) noexcept {
  return fails("ftruncate") ? -1 : static_cast<int>(call(SYS_ftruncate, fd, size));
}
int rename(const char* from, const char* to) noexcept {
  return fails("rename") ? -1 : static_cast<int>(call(SYS_rename, from, to));
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to,
              unsigned flags) noexcept {
  return fails("renameat2")
             ? -1
             : static_cast<int>(call(SYS_renameat2, from_folder, from, to_folder, to, flags));
}
int link(const char* from, const char* to) noexcept {
  return fails("link") ? -1 : static_cast<int>(call(SYS_link, from, to));
}
int unlink(const char* path) noexcept {
  return fails("unlink") ? -1 : static_cast<int>(call(SYS_unlink, path));
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  return fails("unlinkat") ? -1 : static_cast<int>(call(SYS_unlinkat, folder, path, flags));
}
int rmdir(const char* path) noexcept {
  return fails("rmdir") ? -1 : static_cast<int>(call(SYS_rmdir, path));
}
int statvfs(const char* path, struct statvfs* answer) noexcept {
  struct statfs disk {};
  if (statfs(path, &disk) != 0) return -1;
  *answer = {};
  answer->f_bsize = answer->f_frsize = static_cast<unsigned long>(disk.f_bsize);
  answer->f_blocks = disk.f_blocks, answer->f_bfree = disk.f_bfree;
  answer->f_bavail = disk.f_bavail;
  if (counting && fault.room >= 0)
    answer->f_bavail = static_cast<fsblkcnt_t>(fault.room) / answer->f_frsize;
  return 0;
}
int mkdir(const char* path, mode_t mode) noexcept {
  return fails("mkdir") ? -1 : static_cast<int>(call(SYS_mkdir, path, mode));
}

}  // extern "C"

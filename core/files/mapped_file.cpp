#include "core/files/mapped_file.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstring>

#include "core/error.hpp"

namespace minima {
namespace {

/// Bytes of the mapping that are in memory at a time.
constexpr u64 kPiece = u64{1} << 22;

/// Where a copy that meets SIGBUS goes on; null outside of copies.
thread_local sigjmp_buf* volatile after_bus_error = nullptr;
struct sigaction action_before {};

void on_bus_error(int signal, siginfo_t* info, void* context) {
  if (after_bus_error) siglongjmp(*after_bus_error, 1);
  // It is for whom it was before.
  if (action_before.sa_flags & SA_SIGINFO) return action_before.sa_sigaction(signal, info, context);
  if (action_before.sa_handler != SIG_DFL && action_before.sa_handler != SIG_IGN)
    return action_before.sa_handler(signal);
  sigaction(SIGBUS, &action_before, nullptr);
  if (info->si_code <= 0) raise(SIGBUS);  // somebody sent it; an access comes again by itself
}

/// memcpy out of a mapping; false where the system no longer has its bytes.
bool copy_mapped(void* to, const std::byte* from, u64 count) {
  [[maybe_unused]] static const int installed = [] {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;  // SIGBUS is not blocked where siglongjmp goes on
    return sigaction(SIGBUS, &action, &action_before);
  }();
  sigjmp_buf after;
  const bool whole = sigsetjmp(after, 0) == 0;
  if (whole) {
    after_bus_error = &after;
    std::atomic_signal_fence(std::memory_order_seq_cst);  // the copy lies between the two
    std::memcpy(to, from, count);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  after_bus_error = nullptr;
  return whole;
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : file_(path) {
  if (size() == 0) return;
  void* const mapping = mmap(nullptr, size(), PROT_READ, MAP_PRIVATE, file_.descriptor(), 0);
  check(mapping != MAP_FAILED,
        "{}: cannot be mapped into memory: {}; copy it to another file system", path.string(),
        std::strerror(errno));
  bytes_ = static_cast<const std::byte*>(mapping);
}

MappedFile::~MappedFile() {
  if (bytes_) munmap(const_cast<std::byte*>(bytes_), size());
}

void MappedFile::read(void* to, u64 count, u64 begin) const {
  check(begin <= size() && count <= size() - begin,
        "{}: {} bytes from {} on are asked for; the file has {}", path().string(), count, begin,
        size());
  static const u64 page = static_cast<u64>(sysconf(_SC_PAGESIZE));
  bool whole = true;
  for (u64 done = 0; whole && done < count;) {
    const u64 at = begin + done, piece = std::min(kPiece - at % kPiece, count - done);
    whole = copy_mapped(static_cast<std::byte*>(to) + done, bytes_ + at, piece);
    const u64 first = at / page * page;
    madvise(const_cast<std::byte*>(bytes_) + first, at + piece - first, MADV_DONTNEED);
    done += piece;
  }
  // Only now: what lies behind a new end, in its last page, was read as zeros.
  struct stat now {};
  if (fstat(file_.descriptor(), &now) != 0 || static_cast<u64>(now.st_size) < begin + count)
    fail_at_run_time("{}: ends at byte {}; it had {} when it was opened", path().string(),
                     now.st_size, size());
  if (!whole)
    fail_at_run_time(
        "{}: bytes {} to {} cannot be read: its disk fails, or another program wrote it anew",
        path().string(), begin, begin + count);
}

}  // namespace minima

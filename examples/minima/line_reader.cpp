#include "examples/minima/line_reader.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.hpp"

namespace minima {
namespace {

constexpr std::size_t kLongest = 1 << 20, kBlock = 1 << 16;

}  // namespace

bool LineReader::has_line() {
  scanned_ = std::min(buffer_.find('\n', scanned_), buffer_.size());
  return scanned_ < buffer_.size() || (ended_ && begin_ < buffer_.size());
}

void LineReader::fill() {
  if (begin_ > 0) {
    buffer_.erase(0, begin_);
    scanned_ -= std::exchange(begin_, 0);
  }
  char block[kBlock];
  ssize_t count;
  do count = ::read(descriptor_, block, kBlock);
  while (count < 0 && errno == EINTR);
  if (count < 0) fail_at_run_time("standard input cannot be read: {}", std::strerror(errno));
  ended_ = count == 0;
  const char* from = block;
  if (dropping_) {
    const void* const end = std::memchr(block, '\n', static_cast<std::size_t>(count));
    if (!end) return;
    from = static_cast<const char*>(end);
    dropping_ = false;
  }
  buffer_.append(from, static_cast<std::size_t>(block + count - from));
  if (!has_line() && buffer_.size() > kLongest) {
    buffer_.resize(kLongest);
    scanned_ = kLongest;
    dropping_ = true;
  }
}

bool LineReader::ready() {
  for (;;) {
    if (has_line() || ended_) return true;
    pollfd source{descriptor_, POLLIN, 0};
    if (::poll(&source, 1, 0) <= 0) return false;
    fill();
  }
}

std::optional<std::string> LineReader::next() {
  while (!has_line()) {
    if (ended_) return {};
    fill();
  }
  std::string line = buffer_.substr(begin_, scanned_ - begin_);
  begin_ = scanned_ = std::min(scanned_ + 1, buffer_.size());
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

}  // namespace minima

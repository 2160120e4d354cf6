#include "data/readers/lines.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/utf8.hpp"

namespace minima {

Lines::Lines(const std::filesystem::path& path) : source_(path.string()) {
  std::error_code none;
  check(!std::filesystem::is_directory(path, none), "{}: is a folder, not a file", source_);
  file_.reset(std::fopen(path.c_str(), "rb"));
  check(file_ != nullptr, "{}: cannot be opened: {}", source_, std::strerror(errno));
  descriptor_ = ::fileno(file_.get());
}

Lines::Lines(std::string_view text, std::string source) : source_(std::move(source)), rest_(text) {}

Lines Lines::of_stream(int descriptor, std::string source) {
  Lines lines("", std::move(source));
  lines.descriptor_ = descriptor;
  lines.is_stream_ = true;
  return lines;
}

/// Reads on behind what is left; false at the end.
bool Lines::refill() {
  constexpr std::size_t kBlock = std::size_t{1} << 18;
  if (descriptor_ < 0 || ended_) return false;
  const std::size_t kept = rest_.size();
  if (kept > 0) std::memmove(buffer_.data(), rest_.data(), kept);
  buffer_.resize(kept + kBlock);
  ssize_t count;
  do count = ::read(descriptor_, buffer_.data() + kept, kBlock);
  while (count < 0 && errno == EINTR);
  if (count < 0) fail_at_run_time("{}: cannot be read: {}", source_, std::strerror(errno));
  ended_ = count == 0;
  rest_ = std::string_view(buffer_).substr(0, kept + static_cast<std::size_t>(count));
  return !ended_;
}

bool Lines::at_blank_end(std::string_view blanks) {
  const std::string all = std::string(blanks) + "\r\n";
  line_ = end_ = {};
  if (taken_ < text_at_) return false;
  for (std::size_t searched = 0;;) {
    const std::size_t found = rest_.find_first_not_of(all, searched);
    searched = rest_.size();
    if (found == rest_.npos && searched <= kMaxLineBytes && refill()) continue;
    text_at_ = taken_ + std::min(found, searched);
    return found == rest_.npos && searched <= kMaxLineBytes;
  }
}

bool Lines::ready(std::chrono::microseconds patience) {
  const timespec moment{0, 1000 * patience.count()};
  for (std::size_t searched = 0;;) {
    if (rest_.find('\n', searched) != rest_.npos || descriptor_ < 0 || ended_ ||
        rest_.size() > kMaxLineBytes)
      return true;
    searched = rest_.size();
    pollfd source{descriptor_, POLLIN, 0};
    if (::ppoll(&source, 1, &moment, nullptr) <= 0) return false;
    refill();
  }
}

bool Lines::next() {
  if (number_ == 0 && !is_stream_) {
    while (rest_.size() < kByteOrderMark.size() && refill()) {
    }
    if (rest_.starts_with(kByteOrderMark)) rest_.remove_prefix(kByteOrderMark.size());
  }
  const auto refuse_over_long = [&, number = number_ + 1] {
    fail("{}:{}: the line has more than {} bytes", source_, number, kMaxLineBytes);
  };
  std::size_t length, searched = 0, dropped = 0;  // of an over-long line, bytes are counted only
  for (;;) {
    length = std::min(rest_.find('\n', searched), rest_.size());
    if (length < rest_.size()) break;
    searched = length;
    if (length > kMaxLineBytes) {
      if (is_stream_) refuse_over_long();
      dropped += length;
      rest_ = {};
      searched = 0;
    }
    if (refill()) continue;
    if (rest_.empty() && dropped == 0) return false;
    length = rest_.size();
    break;
  }
  ++number_;
  const bool ended = length < rest_.size();
  const bool carriage_return = ended && length > 0 && rest_[length - 1] == '\r';
  line_ = rest_.substr(0, length - carriage_return);
  end_ = rest_.substr(line_.size(), carriage_return + ended);
  rest_.remove_prefix(line_.size() + end_.size());
  taken_ += dropped + line_.size() + end_.size();
  const std::size_t size = dropped + line_.size();
  if (size > kMaxLineBytes && is_stream_) refuse_over_long();
  if (size > kMaxLineBytes)
    bad_row(source_, number_, "the line has {} bytes, more than {}; is this a file of text?", size,
            kMaxLineBytes);
  check(is_stream_ || number_ > 1 || !line_.starts_with("\x1f\x8b"),
        "{}: is compressed; unpack it first (gzip -dk)", source_);
  const bool is_utf16 =
      number_ == 1 && (line_.starts_with("\xFF\xFE") || line_.starts_with("\xFE\xFF"));
  if (const std::size_t at = is_stream_ ? line_.npos : find_invalid_utf8(line_); at != line_.npos)
    bad_row(source_, number_,
            "byte {} of the line, 0x{:02X}, is not valid UTF-8; convert the file to UTF-8 ({}iconv "
            "-f {} -t UTF-8)",
            at + 1, static_cast<u8>(line_[at]),
            is_utf16 ? "" : "from Windows: ", is_utf16 ? "UTF-16" : "WINDOWS-1252");
  return true;
}

}  // namespace minima

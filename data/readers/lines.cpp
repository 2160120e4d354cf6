#include "data/readers/lines.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/text/utf8.hpp"

namespace minima {
namespace {

/// What begins files that are no text in UTF-8, what they are, and the way out.
constexpr std::pair<std::string_view, const char*> kNoText[] = {
    {"\x1F\x8B", "is compressed by gzip; unpack it first: gzip -dc FILE > NEW"},
    {"\xFD"
     "7zXZ",
     "is compressed by xz; unpack it first: xz -dc FILE > NEW"},
    {"BZh", "is compressed by bzip2; unpack it first: bzip2 -dc FILE > NEW"},
    {"\x28\xB5\x2F\xFD", "is compressed by zstd; unpack it first: zstd -dc FILE > NEW"},
    {"PK\x03\x04", "is an Excel (or other zip) file; save it as CSV (UTF-8)"},
    {"\xD0\xCF\x11\xE0", "is an Excel (or other Office) file; save it as CSV (UTF-8)"},
    {"PAR1", "is a Parquet file; write it as CSV or JSON lines"},
    {{"\xFF\xFE\0\0", 4}, "is in UTF-32; convert it: iconv -f UTF-32 -t UTF-8 FILE > NEW"},
    {{"\0\0\xFE\xFF", 4}, "is in UTF-32; convert it: iconv -f UTF-32 -t UTF-8 FILE > NEW"},
    {"\xFF\xFE", "is in UTF-16; convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW"},
    {"\xFE\xFF", "is in UTF-16; convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW"}};

/// The longest line, and the half of its end that may be there already.
constexpr std::size_t kMostUnended = kMaxLineBytes + 1;
/// A longer line is taken to have no end.
constexpr std::size_t kEndless = std::size_t{1} << 28;

/// Whether no text in UTF-8 has such a byte: a text may begin with "BZh".
bool is_of_no_text(char c) {
  const auto byte = static_cast<u8>(c);
  return byte > 0xF4 || (byte < 0x20 && !std::isspace(byte));
}

}  // namespace

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
  const std::size_t kept = row_bytes_ + rest_.size();
  if (kept > 0) std::memmove(buffer_.data(), rest_.data() - row_bytes_, kept);
  buffer_.resize(kept + kBlock);
  ssize_t count;
  while ((count = ::read(descriptor_, buffer_.data() + kept, kBlock)) < 0 &&
         (errno == EINTR || errno == EAGAIN)) {
    pollfd source{descriptor_, POLLIN, 0};
    if (errno == EAGAIN) ::poll(&source, 1, -1);  // a stream that others have set not to wait
  }
  if (count < 0) fail_at_run_time("{}: cannot be read: {}", source_, std::strerror(errno));
  ended_ = count == 0;
  rest_ = std::string_view(buffer_).substr(0, kept + static_cast<std::size_t>(count));
  rest_.remove_prefix(row_bytes_);
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
        rest_.size() > kMostUnended)
      return true;
    searched = rest_.size();
    pollfd source{descriptor_, POLLIN, 0};
    if (::ppoll(&source, 1, &moment, nullptr) <= 0) return false;
    refill();
  }
}

/// Reads the first line, and refuses what is no text.
void Lines::begin() {
  constexpr std::size_t kHead = 256;
  while (rest_.size() <= kMaxLineBytes && rest_.find('\n') == rest_.npos && refill()) {
  }
  for (const auto& [magic, what] : kNoText)
    check(!rest_.starts_with(magic) || std::ranges::none_of(rest_.substr(0, kHead), is_of_no_text),
          "{}: {}", source_, what);
  // Where text is not in UTF-8, NUL bytes stand beside characters of ASCII, line feeds at least: in LE mostly at odd places.
  const std::string_view head = rest_.substr(0, 4);
  i64 nuls[2] = {};
  for (std::size_t i = 0; i < std::min(kHead, rest_.size()); ++i) nuls[i % 2] += rest_[i] == '\0';
  const std::string wide = fmt::format("UTF-{}{}", std::ranges::count(head, '\0') == 3 ? 32 : 16,
                                       nuls[0] > nuls[1] ? "BE" : "LE");
  check(head.substr(0, 2).find('\0') == head.npos,
        "{0}: begins with a NUL byte, as no text in UTF-8 does; where it is in {1}, convert it: "
        "iconv -f {1} -t UTF-8 FILE > NEW",
        source_, wide);
  check(rest_.find('\n') != rest_.npos || rest_.find('\r') == rest_.npos,
        "{}: its lines end with carriage returns alone, as on old Macs; write line feeds: "
        "tr '\\r' '\\n' < FILE > NEW",
        source_);
  if (is_stream_) return;
  if (rest_.starts_with(kByteOrderMark)) rest_.remove_prefix(kByteOrderMark.size());
}

bool Lines::begins_with(char character) {
  begin();
  const std::size_t first = rest_.find_first_not_of(" \t\r\n");
  return first != rest_.npos && rest_[first] == character;
}

std::string_view Lines::first_line() {
  begin();
  const std::string_view line = rest_.substr(0, rest_.find('\n'));
  return line.substr(0, line.size() - line.ends_with('\r'));
}

bool Lines::next() {
  row_bytes_ = 0;
  if (number_ == 0) begin();
  const bool found = next_of_row();
  first_number_ = number_;
  first_bytes_ = row_bytes_;
  return found;
}

void Lines::leave_row() {
  const std::size_t others = row_bytes_ - first_bytes_;
  rest_ = {rest_.data() - others, rest_.size() + others};
  taken_ -= others;
  number_ = first_number_;
  row_bytes_ = first_bytes_;
  crlf_ = std::string_view(rest_.data() - row_bytes_, row_bytes_).ends_with("\r\n");
}

bool Lines::next_of_row() {
  const auto refuse_over_long = [&, number = number_ + 1] {
    if (!is_stream_) bad_row(source_, number, "the line has more than {} bytes", kMaxLineBytes);
    fail("{}:{}: the line has more than {} bytes", source_, number, kMaxLineBytes);
  };
  std::size_t length, searched = 0, dropped = 0;  // of an over-long line, bytes are counted only
  for (;;) {
    length = std::min(rest_.find('\n', searched), rest_.size());
    if (length < rest_.size()) break;
    searched = length;
    if (length > kMostUnended) {
      if (is_stream_ || row_bytes_ > 0) refuse_over_long();
      dropped += length;
      check(dropped <= kEndless, "{}:{}: the line has more than {} bytes; does it end at all?",
            source_, number_ + 1, kEndless);
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
  // At the end of a file of CRLF the LF may be missing.
  const bool carriage_return = (ended || crlf_) && rest_.substr(0, length).ends_with('\r');
  crlf_ = ended && carriage_return;
  line_ = rest_.substr(0, length - carriage_return);
  end_ = rest_.substr(line_.size(), carriage_return + ended);
  rest_.remove_prefix(line_.size() + end_.size());
  row_bytes_ += line_.size() + end_.size();
  taken_ += dropped + line_.size() + end_.size();
  const std::size_t size = dropped + line_.size();
  if (size > kMaxLineBytes && is_stream_) refuse_over_long();
  if (size > kMaxLineBytes)
    bad_row(source_, number_, "the line has {} bytes, more than {}; is this a file of text?", size,
            kMaxLineBytes);
  if (const std::size_t at = is_stream_ ? line_.npos : find_invalid_utf8(line_); at != line_.npos)
    bad_row(source_, number_,
            "byte {} of the line, 0x{:02X}, is not valid UTF-8; convert the file to UTF-8 (from "
            "Windows: iconv -f WINDOWS-1252 -t UTF-8)",
            at + 1, static_cast<u8>(line_[at]));
  return true;
}

}  // namespace minima

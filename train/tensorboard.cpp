#include "train/tensorboard.hpp"

#include <array>
#include <bit>
#include <chrono>

#include "core/error.hpp"
#include "core/files/file.hpp"

namespace minima {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie");

template <class T>
std::string bytes_of(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

// --- protobuf: a key (field number and wire type), then the value --------------------------------

std::string varint(u64 value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
std::string field(u64 number, u64 value) { return varint(number << 3) + varint(value); }
std::string field(u64 number, double value) { return varint(number << 3 | 1) + bytes_of(value); }
std::string field(u64 number, float value) { return varint(number << 3 | 5) + bytes_of(value); }
std::string field(u64 number, const std::string& bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + bytes;
}

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

u32 masked(u32 crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

}  // namespace

u32 crc32c(std::string_view bytes) {
  static const std::array<u32, 256> table = [] {
    std::array<u32, 256> entries{};
    for (u32 i = 0; i < 256; ++i) {
      u32 crc = i;
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
      entries[i] = crc;
    }
    return entries;
  }();
  u32 crc = ~u32{0};
  for (const char c : bytes) crc = (crc >> 8) ^ table[(crc ^ static_cast<u8>(c)) & 0xff];
  return ~crc;
}

TensorBoardLog::TensorBoardLog(const std::filesystem::path& folder, i64 first_step)
    : file_(free_name(folder / fmt::format("events.out.tfevents.{:010}.minima",
                                           static_cast<i64>(wall_time()))),
            0) {
  record(field(1, wall_time()) + field(3, std::string("brain.Event:2")));
  record(field(1, wall_time()) + field(2, static_cast<u64>(first_step)) +
         field(7, field(1, u64{1})));
}

void TensorBoardLog::write(i64 step, std::span<const std::pair<std::string, double>> values) {
  std::string summary;
  for (const auto& [tag, number] : values)
    summary += field(1, field(1, tag) + field(2, static_cast<float>(number)));
  record(field(1, wall_time()) + field(2, static_cast<u64>(step)) + field(5, summary));
}

void TensorBoardLog::record(const std::string& event) {
  const std::string length = bytes_of(static_cast<u64>(event.size()));
  file_.append(length + bytes_of(masked(crc32c(length))) + event + bytes_of(masked(crc32c(event))));
}

}  // namespace minima

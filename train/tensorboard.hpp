/// Event files for TensorBoard: `tensorboard --logdir runs` draws the loss, the learning rate and the scores.
///
/// A file is a row of records: the length (u64), its checksum, an event, its checksum (TFRecord; the checksums are
/// CRC-32C, masked). An event is a protobuf message {1: wall time, 2: step, 3: "brain.Event:2" in the first one,
/// 5: summary {1: value {1: tag, 2: number}, …}, 7: session log {1: START}}. Three kinds of fields are all that this
/// needs, so they are written by hand.
#pragma once

#include <span>
#include <string>
#include <utility>

#include "core/files/file.hpp"

namespace minima {

class TensorBoardLog {
 public:
  /// A new file in `folder`. What earlier files hold of steps from `first_step` on is void: training goes on there.
  TensorBoardLog(const std::filesystem::path& folder, i64 first_step);
  void write(i64 step, std::span<const std::pair<std::string, double>> values);

 private:
  void record(const std::string& event);
  AppendFile file_;
};

/// CRC-32C (Castagnoli).
u32 crc32c(std::string_view bytes);

}  // namespace minima

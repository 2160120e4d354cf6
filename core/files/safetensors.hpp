/// safetensors files: an 8-byte little-endian header length, a JSON header (name → dtype, shape,
/// byte range), and the tensors' bytes without holes. Everything that minima stores in tensors uses
/// this format.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/files/mapped_file.hpp"
#include "core/tensor.hpp"

namespace minima {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};
std::map<std::string, Tensor> by_name(const std::vector<NamedTensor>& tensors);

/// An open file, mapped into memory. Its header is read at once, a tensor copied out of the mapping when asked for.
class SafetensorsFile {
 public:
  struct Entry {
    /// As the format calls it, "F32"; "F32 of 9 dimensions" where those are too many.
    std::string type;
    /// None where minima has no such type or shape; then it cannot be read. U8 and BOOL are u8.
    std::optional<DType> dtype;
    Shape shape;     ///< the last of too many dimensions multiplied
    u64 begin, end;  ///< byte range within the data section
  };

  /// Throws Error, naming the file, the tensor and the rule it breaks: header longer than the file
  /// or than 100 MB, invalid JSON or UTF-8, a duplicate name, a type that the format does not have, a
  /// shape that does not fit its bytes, ranges that overlap, leave a hole or run past the end.
  /// Nothing is allocated for a size that was not checked.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  /// By name, in the order of names.
  const std::map<std::string, Entry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  bool contains(const std::string& name) const { return entries_.contains(name); }
  /// Throws Error when there is none of that name.
  const Entry& entry(const std::string& name) const;
  /// Throws Error when there is none of that name, when minima has no such type or shape, or when the
  /// file has been cut off since (core/files/mapped_file.hpp).
  Tensor read(const std::string& name) const;
  /// The same into a tensor that is there already, of the same shape; from one floating-point type
  /// to another values are rounded to the nearest, some at a time.
  void read_into(Tensor& to, const std::string& name) const;

 private:
  MappedFile file_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
  u64 data_begin_ = 0;
};

/// A tensor that is made when it is written, so that not all need to be in memory at once.
struct TensorSource {
  std::string name;
  DType dtype;
  Shape shape;
  std::function<Tensor()> make;
  std::string type = {};  ///< "BOOL", of u8; empty: the dtype's own
};

/// Writes the tensors, in their order but the widest element types first (so that all stay
/// aligned), atomically: a reader sees the old file or the new one. Throws Error for a duplicate
/// name or when the disk refuses.
void save_safetensors(const std::filesystem::path& path, const std::vector<TensorSource>& tensors,
                      const std::map<std::string, std::string>& metadata = {});
void save_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace minima

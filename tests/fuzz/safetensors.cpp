// Any bytes as a safetensors file: what is accepted is filled by its tensors, and survives being
// written again.
#include "core/files/safetensors.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "tests/fuzz/fuzz.hpp"

namespace {

/// A file in memory.
class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {}
  ~MemoryFile() { close(fd_); }
  std::string path() const { return fmt::format("/proc/self/fd/{}", fd_); }
  void hold(std::string_view bytes) const {
    minima::require(ftruncate(fd_, 0) == 0 && pwrite(fd_, bytes.data(), bytes.size(), 0) ==
                                                  static_cast<ssize_t>(bytes.size()),
                    "a file in memory");
  }

 private:
  int fd_;
};

}  // namespace

void minima::fuzz(std::string_view input) {
  static const MemoryFile memory;
  memory.hold(input);
  const SafetensorsFile file(memory.path());
  u64 bytes = 0;
  std::vector<NamedTensor> tensors;
  for (const auto& [name, entry] : file.entries()) {
    bytes += entry.end - entry.begin;
    if (!entry.dtype) continue;
    tensors.push_back({name, file.read(name)});
    require(static_cast<u64>(tensors.back().tensor.bytes()) == entry.end - entry.begin,
            "a tensor fills its bytes");
  }
  require(bytes + 8 <= input.size(), "tensors lie side by side");

  static const ScratchFolder folder;
  save_safetensors(folder / "x", tensors, file.metadata());
  const SafetensorsFile again(folder / "x");
  require(again.metadata() == file.metadata() && again.entries().size() == tensors.size(),
          "metadata and names survive");
  for (const auto& [name, tensor] : tensors) {
    const Tensor same = again.read(name);
    require(same.dtype() == tensor.dtype() && same.shape() == tensor.shape() &&
                (tensor.bytes() == 0 || std::memcmp(same.raw(), tensor.raw(),
                                                    static_cast<std::size_t>(tensor.bytes())) == 0),
            "a tensor survives");
  }
}

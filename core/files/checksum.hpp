/// Checksums that tell whether bytes are those of before: XXH3, 128 bits. They guard against accidents, not against forgery.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/types.hpp"

struct XXH3_state_s;

namespace minima {

class Checksum {
 public:
  Checksum();

  void add(const void* bytes, i64 count);
  void add(std::string_view text) { add(text.data(), std::ssize(text)); }

  /// Of all that was added, 32 hexadecimal digits, as `xxhsum -H2` writes them.
  std::string digits() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

}  // namespace minima

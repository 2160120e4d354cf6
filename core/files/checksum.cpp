#include "core/files/checksum.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <new>

namespace minima {

void Checksum::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

Checksum::Checksum() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_128bits_reset(state_.get());
}

void Checksum::add(const void* bytes, i64 count) {
  XXH3_128bits_update(state_.get(), bytes, static_cast<std::size_t>(count));
}

std::string Checksum::digits() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace minima

#include "core/rng.hpp"

#include <xxhash.h>

namespace minima {

u64 stream_key(u64 seed, std::string_view name) { return XXH64(name.data(), name.size(), seed); }

}  // namespace minima

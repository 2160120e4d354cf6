#include "core/files/checksum.hpp"

#include "tests/support.hpp"

using minima::Checksum;

TEST_CASE("checksum: the digits of xxhsum -H2, of all that was added") {
  Checksum sum;
  CHECK(sum.digits() == "99aa06d3014798d86001c324468d497f");
  sum.add("mini"), sum.add("ma");
  CHECK(sum.digits() == "8f844dad3c782846c1e3a7340154bec0");
}

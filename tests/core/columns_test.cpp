#include "core/text/columns.hpp"

#include "tests/support.hpp"

using namespace minima;

TEST_CASE(
    "cells stand in columns by those that their characters take, and no line ends with blanks") {
  CHECK(in_columns({{"a", "bytes", "why"}, {"±ab", "10", ""}}, "lrl") ==
        "a    bytes  why\n"
        "±ab     10\n");
  CHECK(in_columns({{"a", "b", "c"}, {"aa", "bb", "cc"}}, "lr") ==
        "a    b   c\n"
        "aa  bb  cc\n");
  CHECK(in_columns({{"产品", "1"}, {"±ab", "2"}}, "lr") ==
        "产品  1\n"
        "±ab   2\n");
  CHECK(in_columns({{"√v̂", "1"}, {"abc", "2"}}, "lr") ==
        "√v̂   1\n"
        "abc  2\n");
  CHECK(in_columns({}, "l").empty());
}

TEST_CASE("what a cell says cannot break its line") {
  CHECK(in_columns({{"a\nb", "1"}, {"c", "\x1b[2J"}}, "l") ==
        "a\\nb  1\n"
        "c     \\x1b[2J\n");
}

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/support.hpp"

std::filesystem::path minima::test::source_folder() { return MINIMA_SOURCE_DIR; }

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // whoever ends the program early sees how far it was
  return doctest::Context(argc, argv).run();
}

/// Read by the address sanitizer, where a build has it: a test asks for more memory than there is.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "tests/support.hpp"

std::filesystem::path minima::test::source_folder() { return MINIMA_SOURCE_DIR; }

/// Read by the address sanitizer, where a build has it: a test asks for more memory than there is.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

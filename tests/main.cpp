#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

/// Read by the address sanitizer, where a build has it: a test asks for more memory than there is.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

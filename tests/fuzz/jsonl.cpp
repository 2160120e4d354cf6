// JSON Lines.
#include "tests/fuzz/rows.hpp"

void minima::fuzz(std::string_view input) { fuzz_rows(input, Format::jsonl); }

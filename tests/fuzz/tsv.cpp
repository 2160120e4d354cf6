// Tab-separated rows: a field holds neither a tab nor a line's end.
#include "tests/fuzz/rows.hpp"

void minima::fuzz(std::string_view input) {
  fuzz_rows(input, Format::tsv);
  for (const Row& row : parse_rows(input, Format::tsv, "x"))
    require(row.text.find_first_of("\t\n") == std::string::npos, "a field is raw");
}

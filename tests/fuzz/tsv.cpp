// A table of labels and texts: rows keep the order of the lines, and no field holds a tab or a line's end.
#include "data/readers/tsv.hpp"

#include "tests/fuzz/fuzz.hpp"

void minima::fuzz(std::string_view input) {
  i64 line = 1;
  for (const Row& row : parse_tsv(input, "x.tsv")) {
    require(row.line > line, "rows follow one another");
    line = row.line;
    require((row.label + row.text).find_first_of("\t\n") == std::string::npos, "fields are raw");
    require(!row.label.empty(), "a row has a label");
  }
}

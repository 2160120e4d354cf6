/// JSON Lines: an object a line, `{"label": "spam", "text": "…"}`; other keys are passed over. A
/// label is a string, a whole number (1 or 1.0), true or false; a text is a string. Blank lines at a file's end are passed
/// over.
#pragma once

#include "data/readers/lines.hpp"
#include "data/readers/reader.hpp"

namespace minima {

/// The way out of a file that is one JSON array.
constexpr const char* kLinesOfArray = "jq -c '.[]' FILE > NEW.jsonl";

class JsonLinesReader : public RowReader {
 public:
  /// Throws Error for options of tables, for a key that is label and text at once, and for a JSON array.
  JsonLinesReader(Lines lines, const ReadOptions& options);

 protected:
  bool read(Row& row) override;

 private:
  Lines lines_;
  bool is_first_ = true;  ///< it says whether a key holds a comma
  std::vector<std::string> text_keys_, pair_keys_;
};

}  // namespace minima

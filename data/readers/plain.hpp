/// Plain text: a text a line, without a label; lines without a character to see are passed over.
#pragma once

#include "data/readers/lines.hpp"
#include "data/readers/reader.hpp"

namespace minima {

class PlainReader : public RowReader {
 public:
  PlainReader(Lines lines, const ReadOptions& options)
      : RowReader(lines.source(), options), lines_(std::move(lines)) {}

 protected:
  bool read(Row& row) override {
    while (lines_.next()) {
      if (lines_.line().find_first_not_of(" \t\r") == std::string_view::npos) continue;
      row = {"", std::string(lines_.line()), lines_.number()};
      return true;
    }
    return false;
  }

 private:
  Lines lines_;
};

}  // namespace minima

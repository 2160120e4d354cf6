/// Row: one labelled text of a file, before labels have become numbers. Every reader yields these.
#pragma once

#include <string>

#include "core/types.hpp"

namespace minima {

struct Row {
  std::string label, text;
  i64 line;               ///< where it begins in its file, from 1; for messages
  std::string pair = {};  ///< the second text, where the file has a column for it
};

}  // namespace minima

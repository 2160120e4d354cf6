/// The project's own texts (data/builtin): requests to a support desk in six classes. They are part
/// of the program, so it needs no source tree to find them.
#pragma once

#include <string_view>

namespace minima {

/// The contents of the four files.
struct BuiltinTexts {
  std::string_view labels, train, dev, test;
};
BuiltinTexts builtin_texts();

}  // namespace minima

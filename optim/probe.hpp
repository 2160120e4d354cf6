/// Probe: what one looks at while a step is made. The step itself fills it in, so what is shown is
/// what was computed.
#pragma once

#include <string>
#include <vector>

#include "optim/traced.hpp"

namespace minima {

/// A number that is one for the whole parameter: β₂ of this step, RMS(u), α.
struct Note {
  std::string letter, formula;
  double value;
};

struct Probe {
  i64 element = -1;  ///< the element whose formula is traced; −1: none
  std::vector<Note> notes;
  Trace trace;  ///< of that element; its lines() are the formula's

  const Note* find(std::string_view letter) const {
    for (const Note& note : notes)
      if (note.letter == letter) return &note;
    return nullptr;
  }
};

}  // namespace minima

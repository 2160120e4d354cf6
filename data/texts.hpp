/// Texts without labels, for a language model to learn from.
#pragma once

#include <string>

#include "data/dataset.hpp"

namespace minima {

/// Loads the texts that `spec` names, a pair as two:
///
///   builtin, debian   as load_dataset
///   a folder          its train and dev, each a file as below
///   a file            .txt: a text a line; else the texts of its rows. Of these 5 in a hundred, at
///                     most 2,000, are drawn by `seed` as dev
///
/// Throws Error, naming file and line, for what breaks a rule of its format, for options that do not
/// concern it, and for a file without two texts.
Dataset load_texts(const std::string& spec, u64 seed, ReadOptions read = {});

}  // namespace minima

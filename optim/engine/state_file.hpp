/// An optimizer's state as a file (Optimizer::save), read without its model.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "core/json.hpp"
#include "core/tensor.hpp"

namespace minima {

/// A state as Optimizer::save wrote it.
struct SavedState {
  std::string optimizer;
  /// Optimizer::options(); "slots": of each key its storage, sign and block_size.
  Json options;
  std::map<std::string, Tensor> tensors;  ///< see Optimizer::tensors
};

/// Reads it without its model. Throws Error when the file is damaged or no optimizer's state.
SavedState read_state(const std::filesystem::path& path);

}  // namespace minima

/// The padded batches of the reference files, packed.
#pragma once

#include "core/batch.hpp"
#include "core/files/safetensors.hpp"

namespace minima::test {

/// Rows of x [B, L, d] where mask [B, L] is 1, one after another: [T, d].
inline Tensor kept_rows(const Tensor& x, const Tensor& mask) {
  std::vector<float> rows;
  const i64 width = x.size(2);
  for (i64 i = 0; i < mask.size(); ++i)
    if (mask.data<i64>()[i] == 1)
      rows.insert(rows.end(), x.data<float>() + i * width, x.data<float>() + (i + 1) * width);
  return Tensor::from(rows, {static_cast<i64>(rows.size()) / width, width});
}

/// The batch under `prefix` ("batch.", "batch3.", "") without its padding; labels and token types
/// where it has them.
inline Batch reference_batch(const SafetensorsFile& file, const std::string& prefix) {
  const auto read = [&](const char* name) {
    return file.contains(prefix + name) ? file.read(prefix + name) : Tensor();
  };
  const Tensor ids = read("input_ids"), mask = read("attention_mask"),
               types = read("token_type_ids");
  std::vector<i64> tokens, positions, offsets{0}, examples, token_types;
  for (i64 text = 0; text < ids.size(0); ++text) {
    for (i64 i = 0; i < ids.size(1); ++i) {
      if (mask.data<i64>()[text * ids.size(1) + i] == 0) continue;
      tokens.push_back(ids.data<i64>()[text * ids.size(1) + i]);
      positions.push_back(i);
      if (types.defined()) token_types.push_back(types.data<i64>()[text * ids.size(1) + i]);
    }
    offsets.push_back(static_cast<i64>(tokens.size()));
    examples.push_back(text);
  }
  return {Tensor::from(tokens),  Tensor::from(positions),
          Tensor::from(offsets), Tensor::from(examples),
          read("labels"),        types.defined() ? Tensor::from(token_types) : Tensor()};
}

}  // namespace minima::test

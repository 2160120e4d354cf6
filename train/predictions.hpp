/// What a classifier says of texts, as a table (CSV, RFC 4180) that can be read as data again, but for rows that with their
/// quotes are longer than kMaxLineBytes:
///
///     label,predicted,probability,text        label is the actual class, probability that of `predicted`
///     spam,ham,0.73,"well, …"                 pairs have a column more, pair
#pragma once

#include <string>
#include <vector>

#include "core/tensor.hpp"
#include "data/dataset.hpp"

namespace minima {

/// softmax of one text's logits, in 64 bits.
std::vector<double> probabilities(const float* logits, i64 labels);

std::string predictions_header(bool pairs);
/// A row for each text, in order. `logits` [texts, labels], as predict gives them.
std::string predictions_rows(const Tensor& logits, const std::vector<Example>& examples,
                             const std::vector<std::string>& label_names, bool pairs);

}  // namespace minima

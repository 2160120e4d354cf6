/// What an optimizer kept, told tensor by tensor for a report: its bytes, and what its numbers would lose if they were
/// kept in less.
#pragma once

#include "core/files/json.hpp"
#include "train/inspect.hpp"

namespace minima {

/// The error of V ≈ R·C/mean(R), R and C the means of its rows and columns, as RMS over the RMS of V: what Adafactor's
/// factors would lose of this second moment.   V [n, m].   Shazeer & Stern 2018, arXiv:1804.04235, §3.
double factoring_error(const Tensor& v);

/// [{"tensor", "slot", "storage", "elements", "bytes", "rounding", "factoring"}], `step` left out.
///
/// "rounding": the error of 8 bits as RMS over the RMS of the values. Of fp32 values it is made: they are encoded once
/// in blocks of 256 and decoded. Of block8 it is expected (CodeUse::expected_error), for what was rounded is gone.
/// "factoring": factoring_error, of second moments in fp32 that are matrices. Null elsewhere, and for small tensors (below
/// 4,096 values), which stay in fp32 in any case.
Json describe_state(const StateFile& file);

}  // namespace minima

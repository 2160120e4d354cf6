/// Differentiable functions, one for each op of core/ops: the same arguments, on Variables.
///
///     Variable loss = cross_entropy(logits, labels);
///     Variable y = x * sigmoid(x) + 1.0;
///
/// Shapes, formulas and errors are those of the op. In functions.cpp forward and backward stand
/// side by side. Products, layer norm, attention and dropout are in layers.hpp.
#pragma once

#include <optional>

#include "autograd/variable.hpp"
#include "core/ops/cross_entropy.hpp"
#include "core/ops/layout.hpp"
#include "core/ops/reduce.hpp"

namespace minima {

using ops::Dims;
using ops::KeepDims;

// ---- elementwise, one argument (formulas: core/ops/elementwise.hpp)

Variable gelu(const Variable& x);
Variable gelu_tanh(const Variable& x);
Variable relu(const Variable& x);
Variable tanh(const Variable& x);
Variable sigmoid(const Variable& x);
Variable silu(const Variable& x);
Variable exp(const Variable& x);
Variable log(const Variable& x);
Variable sqrt(const Variable& x);
Variable rsqrt(const Variable& x);
Variable abs(const Variable& x);
Variable neg(const Variable& x);
Variable square(const Variable& x);
Variable erf(const Variable& x);

// ---- elementwise, two arguments; shapes broadcast

Variable add(const Variable& a, const Variable& b);
Variable sub(const Variable& a, const Variable& b);
Variable mul(const Variable& a, const Variable& b);
Variable div(const Variable& a, const Variable& b);
Variable maximum(const Variable& a, const Variable& b);
Variable minimum(const Variable& a, const Variable& b);
Variable pow(const Variable& a, const Variable& b);
/// a where the condition is not 0, else b.
Variable where(const Tensor& condition, const Variable& a, const Variable& b);

inline Variable operator+(const Variable& a, const Variable& b) { return add(a, b); }
inline Variable operator-(const Variable& a, const Variable& b) { return sub(a, b); }
inline Variable operator*(const Variable& a, const Variable& b) { return mul(a, b); }
inline Variable operator/(const Variable& a, const Variable& b) { return div(a, b); }
inline Variable operator-(const Variable& x) { return neg(x); }

/// A constant of the type of x, to stand beside it: x * constant(x, 0.5).
Variable constant(const Variable& x, double value);
inline Variable operator+(const Variable& x, double c) { return add(x, constant(x, c)); }
inline Variable operator-(const Variable& x, double c) { return sub(x, constant(x, c)); }
inline Variable operator*(const Variable& x, double c) { return mul(x, constant(x, c)); }
inline Variable operator/(const Variable& x, double c) { return div(x, constant(x, c)); }
inline Variable operator+(double c, const Variable& x) { return add(constant(x, c), x); }
inline Variable operator-(double c, const Variable& x) { return sub(constant(x, c), x); }
inline Variable operator*(double c, const Variable& x) { return mul(constant(x, c), x); }
inline Variable operator/(double c, const Variable& x) { return div(constant(x, c), x); }

// ---- reductions over `dims`; an empty list means all

Variable sum(const Variable& x, const Dims& dims = {}, KeepDims keep = KeepDims::no);
Variable mean(const Variable& x, const Dims& dims = {}, KeepDims keep = KeepDims::no);
Variable amax(const Variable& x, const Dims& dims = {}, KeepDims keep = KeepDims::no);
Variable amin(const Variable& x, const Dims& dims = {}, KeepDims keep = KeepDims::no);
Variable var(const Variable& x, const Dims& dims = {}, i64 correction = 1,
             KeepDims keep = KeepDims::no);
Variable logsumexp(const Variable& x, const Dims& dims = {}, KeepDims keep = KeepDims::no);
Variable norm(const Variable& x, const Dims& dims = {}, KeepDims keep = KeepDims::no);
Variable cumsum(const Variable& x, int dim);
/// x / max(‖x‖, eps) along `dim`.
Variable l2_normalize(const Variable& x, int dim = -1, double eps = 1e-12);

// ---- softmax

Variable softmax(const Variable& x, int dim = -1);
Variable log_softmax(const Variable& x, int dim = -1);
/// Only over the elements whose `keep`, which broadcasts to x, is not 0.
Variable softmax_masked(const Variable& x, const Tensor& keep, int dim = -1);

// ---- layout

/// The same elements under another shape; no copy. One size may be −1: what is left.
Variable reshape(const Variable& x, std::initializer_list<i64> sizes);
Variable reshape(const Variable& x, const Shape& shape);
Variable transpose(const Variable& x, int dim0, int dim1);
Variable permute(const Variable& x, const std::vector<int>& order);
Variable slice(const Variable& x, const ops::Slice& slice);
Variable expand(const Variable& x, const Shape& shape);
Variable cat(const std::vector<Variable>& parts, int dim);
Variable stack(const std::vector<Variable>& parts, int dim);
Variable index_select(const Variable& x, int dim, const Tensor& ids);
Variable gather(const Variable& x, int dim, const Tensor& ids);
Variable scatter_add(const Variable& x, int dim, const Tensor& ids, const Variable& src);

// ---- texts and classes

/// Rows of w by id; the gradient of w comes as rows. The row `padding_idx` gets none; throws Error where there is no such
/// row.
Variable embedding(const Variable& w, const Tensor& ids, std::optional<i64> padding_idx = {});
/// The mean of each packed text's rows.
Variable mean_pool(const Variable& x, const Tensor& offsets);

Variable cross_entropy(const Variable& logits, const Tensor& target,
                       const CrossEntropyOptions& options = {});
/// The mean cross-entropy of the logits x wᵀ + bias, which never exist all at once; the loss of a
/// language model (core/ops/linear_cross_entropy.hpp). Targets of −100 do not count.
Variable linear_cross_entropy(const Variable& x, const Variable& w, const Variable& bias,
                              const Tensor& target);
/// Cross-entropy of the probabilities `target` against logits, elementwise; then the reduction. Here and in mse the target has
/// the shape of what it is compared with, or broadcasts to it; throws Error where it does not.
Variable bce_with_logits(const Variable& logits, const Variable& target,
                         Reduction reduction = Reduction::mean);
/// (x − target)², then the reduction.
Variable mse(const Variable& x, const Variable& target, Reduction reduction = Reduction::mean);

}  // namespace minima

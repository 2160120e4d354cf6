/// Parameter and Gradient: where autograd (which writes gradients) and optim (which reads them)
/// meet.
#pragma once

#include <string>

#include "core/tensor.hpp"

namespace minima {

/// The gradient of one value: *none*, *dense*, or *rows* (of an embedding table, for the rows that
/// were looked up).
///
/// None is not zero: a parameter without a gradient is skipped whole by every optimizer, without
/// decay and without a step. The first `add` takes over the tensor it is given and later ones add
/// to it, so nothing is ever zeroed.
class Gradient {
 public:
  enum class Kind { none, dense, rows };

  Gradient() = default;
  Gradient(Tensor dense)  // implicit: most backward functions return a dense tensor
      : kind_(dense.defined() ? Kind::dense : Kind::none), values_(std::move(dense)) {}

  /// Rows `ids` [n] (i64, ascending, each once) with their `values` [n, …]; all other rows are
  /// zero. Throws Error when the counts differ, or the devices.
  ///
  /// A GPU cannot tell the host how many rows there are without making it wait. There n is how many
  /// there may be, and places left over have the id `table_rows`, behind every row, and values of 0.
  static Gradient rows(Tensor ids, Tensor values, i64 table_rows = kManyRows);
  static constexpr i64 kManyRows = i64{1} << 40;  ///< more than any table has

  Kind kind() const { return kind_; }
  explicit operator bool() const { return kind_ != Kind::none; }

  const Tensor& ids() const { return ids_; }  ///< [n]; undefined unless rows
  i64 table_rows() const { return table_rows_; }
  /// The whole gradient if dense, its n rows if rows.
  const Tensor& values() const { return values_; }
  i64 bytes() const;  ///< of values and ids
  /// The values, safe to overwrite: copied first when somebody else holds them too.
  Tensor& mutable_values();
  /// Holds its numbers alone from now on, ids and values: copied where somebody else holds them too.
  void unshare();

  /// this ← this + other. Rows with rows merge by id; rows with dense become dense (tied weights).
  /// Throws Error when the shapes differ.
  void add(Gradient other);
  /// Whether it can be that of a value of `shape`; none can be any's.
  bool fits(const Shape& shape) const;
  /// Back to none.
  void clear() { *this = Gradient(); }
  /// The gradient of a value of `shape` with every row present. Throws Error for none.
  Tensor to_dense(const Shape& shape) const;

 private:
  Kind kind_ = Kind::none;
  Tensor ids_, values_;
  i64 table_rows_ = kManyRows;
};

/// A named value that is trained. `name` is its full path in the model, as in the public
/// checkpoints.
struct Parameter {
  std::string name;
  Tensor value;
  Gradient gradient = {};
  bool trainable = true;
};

}  // namespace minima

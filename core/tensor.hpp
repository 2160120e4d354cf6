/// Tensor: an n-dimensional array, the value type that everything here computes on.
///
/// A tensor is a handle: copies share their elements, `clone()` makes new ones. It is row-major and
/// always contiguous. `reshape` and `rows` are views; a transpose is a flag of the matmul or an
/// explicit copy (`ops::permute`). Elements of a new tensor are uninitialized unless the name says
/// otherwise.
///
///     Tensor x = Tensor::zeros({2, 3});          // f32 on the cpu
///     x.data<float>()[0] = 1;
///     Tensor y = x.reshape({3, 2});              // the same six numbers
#pragma once

#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "core/buffer.hpp"
#include "core/device.hpp"
#include "core/dtype.hpp"
#include "core/shape.hpp"

namespace minima {

class Tensor {
 public:
  Tensor() = default;  ///< undefined: of shape [0], no elements

  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = {});
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = {});
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32,
                     Device device = {});
  /// Like `x` in shape, type and device.
  static Tensor empty_like(const Tensor& x) { return empty(x.shape(), x.dtype(), x.device()); }
  static Tensor zeros_like(const Tensor& x) { return zeros(x.shape(), x.dtype(), x.device()); }
  /// A copy of host values. Throws Error unless there are as many values as the shape has elements.
  template <Element T>
  static Tensor from(const std::vector<T>& values, const Shape& shape);
  template <Element T>
  static Tensor from(const std::vector<T>& values) {
    return from(values, {static_cast<i64>(values.size())});
  }
  template <Element T>
  static Tensor scalar(T value) {
    return from(std::vector<T>{value}, Shape{});
  }

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  i64 size() const { return shape_.size(); }
  i64 size(int axis) const { return shape_[axis]; }
  i64 bytes() const { return size() * element_size(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }

  /// The first element. Throws Error when T is not the element type. On a GPU the pointer is the
  /// device's.
  template <Element T>
  T* data() {
    return reinterpret_cast<T*>(typed(dtype_of<T>()));
  }
  template <Element T>
  const T* data() const {
    return reinterpret_cast<const T*>(typed(dtype_of<T>()));
  }
  /// All elements, for the host to read or write. Throws Error when they are on a GPU.
  template <Element T>
  std::span<T> span() {
    require_cpu("span", device_);
    return {data<T>(), static_cast<std::size_t>(size())};
  }
  template <Element T>
  std::span<const T> span() const {
    require_cpu("span", device_);
    return {data<T>(), static_cast<std::size_t>(size())};
  }
  std::byte* raw() { return data_; }
  const std::byte* raw() const { return data_; }

  /// The only element, converted to double; waits for a GPU. Throws Error when there is more than one.
  double item() const;

  /// The same elements under another shape. Throws Error when the sizes do not fit.
  Tensor reshape(const Shape& shape) const;
  /// The same; one size may be -1: what is left.
  Tensor reshape(std::initializer_list<i64> sizes) const;
  /// Rows begin … end-1 of the first dimension, as a view. Throws Error where there are no such rows.
  Tensor rows(i64 begin, i64 end) const;

  /// The rows of all parts as one tensor: a view where the parts lie one after another in the same
  /// memory, else a copy. Throws Error unless they agree in type, device and all sizes but the first.
  static Tensor stacked(const std::vector<Tensor>& parts);

  Tensor clone() const;
  /// Itself where it is already there, else a copy. One from a GPU waits for all that was queued there.
  Tensor to(Device device) const;
  /// Itself where the type is already this one, else a converted copy. Floats round to nearest even (f64 to two bytes by way of
  /// f32); to an integer the fraction is cut off, what is too large becomes the nearest that the type has, and NaN 0.
  Tensor to(DType dtype) const;

  /// Whether nobody else holds these elements, so that they may be overwritten in place.
  bool unique() const { return storage_.use_count() == 1; }
  /// Whether both share their elements' memory.
  bool shares_storage(const Tensor& other) const { return storage_ == other.storage_; }

  /// With the value as `to` converts it; an i64 beyond 2⁵³ is the nearest that double has.
  void fill(double value);
  /// Copies the elements of `source`, which may lie on another device, into these. Throws Error
  /// unless shape and type are equal, and on a GPU where the two share elements.
  void copy_from(const Tensor& source);

 private:
  /// Of one row of the first dimension, also where there is none.
  i64 row_bytes() const;
  std::byte* typed(DType wanted) const {
    check(defined(), "tensor: undefined; it was never given a value");
    check(wanted == dtype_, "tensor: its elements are {}, not {}; convert with to()",
          dtype_name(dtype_), dtype_name(wanted));
    return data_;
  }

  std::shared_ptr<std::byte> storage_;
  std::byte* data_ = nullptr;
  Shape shape_{0};
  DType dtype_ = DType::f32;
  Device device_;
};

template <Element T>
Tensor Tensor::from(const std::vector<T>& values, const Shape& shape) {
  check(static_cast<i64>(values.size()) == shape.size(), "tensor: {} values do not fill {}",
        values.size(), shape);
  Tensor result = empty(shape, dtype_of<T>());
  std::ranges::copy(values, result.data<T>());
  return result;
}

}  // namespace minima

#include "core/tensor.hpp"

#include "core/cuda/memory.hpp"
#include "core/on_device.hpp"
#include "core/ops/convert.hpp"
#include "core/ops/together.hpp"

namespace minima {

namespace {

void fill_with_zeros(Cpu, void* at, i64 bytes) {
  std::memset(at, 0, static_cast<std::size_t>(bytes));
}

}  // namespace

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  Tensor result;
  result.shape_ = shape;
  result.dtype_ = dtype;
  result.device_ = device;
  result.storage_ =
      needing_memory([&] { return allocate(shape.size() * element_size(dtype), device); },
                     "a tensor {} {}", dtype_name(dtype), shape);
  result.data_ = result.storage_.get();
  return result;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  Tensor result = empty(shape, dtype, device);
  on_device(device, [&](auto tag) { fill_with_zeros(tag, result.data_, result.bytes()); });
  return result;
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor result = empty(shape, dtype, device);
  result.fill(value);
  return result;
}

double Tensor::item() const {
  check(size() == 1, "item: the tensor is {}, not a single number", shape_);
  const Tensor here = to(Device{});
  return visit(dtype_,
               [&](auto zero) { return ops::converted<double>(*here.data<decltype(zero)>()); });
}

Tensor Tensor::reshape(const Shape& shape) const {
  check(shape.size() == size(), "reshape: {} does not hold the {} elements of {}", shape, size(),
        shape_);
  Tensor view = *this;
  view.shape_ = shape;
  return view;
}

Tensor Tensor::reshape(std::initializer_list<i64> sizes) const {
  std::vector<i64> resolved(sizes);
  auto open = std::ranges::find(resolved, -1);
  if (open != resolved.end()) {
    *open = 1;
    check(std::ranges::find(resolved, -1) == resolved.end(),
          "reshape: more than one size is -1; what is left can be one size only");
    const i64 rest = Shape(resolved).size();
    check(rest != 0 && size() % rest == 0, "reshape: {} elements do not divide by {}", size(),
          rest);
    *open = size() / rest;
  }
  return reshape(Shape(resolved));
}

i64 Tensor::row_bytes() const { return shape_.inner().size() * element_size(dtype_); }

Tensor Tensor::rows(i64 begin, i64 end) const {
  check(rank() >= 1 && 0 <= begin && begin <= end && end <= size(0), "rows: {} to {} of {}", begin,
        end, shape_);
  Tensor view = *this;
  view.shape_ = shape_.with(0, end - begin);
  view.data_ += begin * row_bytes();
  return view;
}

Tensor Tensor::stacked(const std::vector<Tensor>& parts) {
  check(!parts.empty(), "stacked: there are no parts");
  const Tensor& first = parts[0];
  i64 rows = 0;
  bool adjacent = true;
  for (const Tensor& part : parts) {
    check(part.rank() >= 1 && part.dtype() == first.dtype() &&
              part.shape_.inner() == first.shape_.inner(),
          "stacked: {} {} cannot stand below {} {}; types and all sizes but the first must be "
          "equal",
          part.shape_, dtype_name(part.dtype_), first.shape_, dtype_name(first.dtype_));
    ops::check_together("stacked", first, part);
    adjacent = adjacent && part.storage_ == first.storage_ &&
               part.data_ == first.data_ + rows * first.row_bytes();
    rows += part.size(0);
  }
  const Shape shape = first.shape_.with(0, rows);
  if (adjacent) {
    Tensor view = first;
    view.shape_ = shape;
    return view;
  }
  Tensor result = empty(shape, first.dtype_, first.device_);
  i64 at = 0;
  for (const Tensor& part : parts) {
    result.rows(at, at + part.size(0)).copy_from(part);
    at += part.size(0);
  }
  return result;
}

Tensor Tensor::clone() const {
  Tensor copy = empty(shape_, dtype_, device_);
  copy.copy_from(*this);
  return copy;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor result = empty(shape_, dtype, device_);
  visit(dtype_, [&](auto from) {
    visit(dtype, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      if constexpr (!std::same_as<To, From>)
        on_device(device_, [&](auto device) {
          each(device, size(), ops::Convert<To, From>{data<From>(), result.data<To>()});
        });
    });
  });
  return result;
}

Tensor Tensor::to(Device device) const {
  if (device == device_ || !defined()) return *this;
  Tensor result = empty(shape_, dtype_, device);
  result.copy_from(*this);
  return result;
}

void Tensor::fill(double value) {
  visit(dtype_, [&](auto zero) {
    using T = decltype(zero);
    on_device(device_, [&](auto device) {
      each(device, size(), ops::Fill<T>{ops::converted<T>(value), data<T>()});
    });
  });
}

void Tensor::copy_from(const Tensor& source) {
  check(defined() && source.defined(), "copy: a tensor is undefined; it was never given a value");
  check(source.shape() == shape_ && source.dtype() == dtype_, "copy: {} {} into {} {}",
        source.shape(), dtype_name(source.dtype()), shape_, dtype_name(dtype_));
  if (bytes() == 0 || data_ == source.data_) return;
  const bool from_cpu = source.device_.kind == Device::Kind::cpu;
  if (from_cpu && device_.kind == Device::Kind::cpu) {
    std::memmove(data_, source.data_, static_cast<std::size_t>(bytes()));  // views may overlap
    return;
  }
  check(from_cpu || device_.kind == Device::Kind::cpu || source.device_ == device_,
        "copy: from {} to {}; go by way of the cpu", to_string(source.device_), to_string(device_));
  check(source.device_ != device_ || source.data_ >= data_ + bytes() ||
            data_ >= source.data_ + bytes(),
        "copy: both tensors are views of the same elements; on {} copy the source first",
        to_string(device_));
  on_device(from_cpu ? device_ : source.device_, [&](auto device) {
    if constexpr (AnyGpu<decltype(device)>) {
      if (from_cpu)
        copy_to_device(device, data_, source.data_, bytes());
      else if (device_.kind == Device::Kind::cpu)
        copy_to_host(device, data_, source.data_, bytes());
      else
        copy_within(device, data_, source.data_, bytes());
    }
  });
}

}  // namespace minima

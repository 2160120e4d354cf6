#include "autograd/autocast.hpp"

namespace minima {
namespace {

thread_local DType current = DType::f32;

bool stays(const Tensor& x, DType type) { return type == DType::f32 || !x.defined(); }

}  // namespace

Autocast::Autocast(DType type) : before_(current) {
  check(type == DType::f32 || type == DType::bf16 || type == DType::f16,
        "autocast: to {}; choose f32, bf16 or f16", dtype_name(type));
  current = type;
}
Autocast::~Autocast() { current = before_; }

DType autocast_type() { return current; }

Tensor rounded(const Tensor& x, DType type) {
  return stays(x, type) ? x : x.to(type).to(DType::f32);
}

Tensor operand(const Tensor& x, DType type) { return Kept(x, type).operand(); }

Kept::Kept(const Tensor& x, DType type) : value_(stays(x, type) ? x : x.to(type)) {}

Tensor Kept::wide() const {
  const bool narrow =
      value_.defined() && (value_.dtype() == DType::bf16 || value_.dtype() == DType::f16);
  return narrow ? value_.to(DType::f32) : value_;
}

Tensor Kept::operand() const {
  return value_.defined() && value_.device() != Device{} ? value_ : wide();
}

}  // namespace minima

#include "autograd/autocast.hpp"

namespace minima {
namespace {

thread_local DType current = DType::f32;

}  // namespace

Autocast::Autocast(DType type) : before_(current) {
  check(type == DType::f32 || type == DType::bf16 || type == DType::f16,
        "autocast: to {}; choose f32, bf16 or f16", dtype_name(type));
  current = type;
}
Autocast::~Autocast() { current = before_; }

DType autocast_type() { return current; }

}  // namespace minima

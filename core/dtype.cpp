#include "core/dtype.hpp"

namespace minima {

i64 element_size(DType dtype) {
  return visit(dtype, [](auto zero) { return static_cast<i64>(sizeof(zero)); });
}

std::string_view dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "f64";
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
    case DType::i64:
      return "i64";
    case DType::i32:
      return "i32";
    case DType::u8:
      break;
  }
  return "u8";
}

}  // namespace minima

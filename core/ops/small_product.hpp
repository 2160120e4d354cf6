/// A matrix product for operands that fit into the first caches, on the calling thread: attention
/// has two to five of them for each text and head, too small for a library's call to pay.
#pragma once

#include "core/ops/product_block.hpp"

namespace minima::ops {

enum class Store { overwrite, add };

/// C ← alpha · A B, or is added to.   A [m, depth], B [depth, n] with rows of `ldb`, C [m, n] with
/// rows of `ldc`. Every element adds up its products in rising order of p, by fused multiply-adds; depth > 0.
template <class T>
void small_product(i64 m, i64 n, i64 depth, T alpha, Strided<T> a, const T* b, i64 ldb, T* c,
                   i64 ldc, Store store = Store::overwrite);

}  // namespace minima::ops

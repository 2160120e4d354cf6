/// Gradients of rows beside dense ones.
#include "core/parameter.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::error_of;

namespace {

Gradient rows(const std::vector<i64>& ids, i64 width) {
  return Gradient::rows(Tensor::from(ids), Tensor::full({static_cast<i64>(ids.size()), width}, 1));
}

}  // namespace

TEST_CASE("rows are added to a dense gradient where they belong") {
  Gradient gradient = Tensor::zeros({3, 2});
  gradient.add(rows({0, 2}, 2));
  test::check_close(gradient.values(), Tensor::from<float>({1, 1, 0, 0, 1, 1}, {3, 2}));
  for (const DType type : {DType::bf16, DType::f16}) {  // of a tied weight that is stored so
    Gradient narrow = Tensor::full({3, 2}, 256, type);
    narrow.add(rows({0, 2}, 2));
    test::check_close(narrow.values(), Tensor::from<float>({257, 257, 256, 256, 257, 257}, {3, 2}));
  }
}

TEST_CASE("rows that do not fit are refused, and nothing is written beside the tensor") {
  const auto added = [](Gradient to, Gradient other) {
    return error_of([&] { to.add(std::move(other)); });
  };
  CHECK(added(Tensor::zeros({3, 2}), rows({1, 3}, 2)) == "gradient: row 3 of a value of [3, 2]");
  CHECK(added(Tensor::zeros({3, 2}), rows({-1}, 2)) == "gradient: row -1 of a value of [3, 2]");
  CHECK(added(Tensor::zeros({3, 2}), rows({1}, 4)) ==
        "gradient: rows of [1, 4] for a value of [3, 2]");
  CHECK(added(rows({1}, 4), rows({1}, 2)) ==
        "gradient: rows of [1, 2] cannot be added to rows of [1, 4]");
  CHECK(error_of([] { rows({5}, 2).to_dense({3, 2}); }) == "gradient: row 5 of a value of [3, 2]");
}

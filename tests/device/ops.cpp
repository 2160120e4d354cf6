/// Every op on the device against the CPU, forward and backward.
#include <numeric>
#include <optional>

#include "autograd/autocast.hpp"
#include "autograd/functions.hpp"
#include "autograd/layers.hpp"
#include "core/ops/embedding.hpp"
#include "core/ops/feed_forward.hpp"
#include "core/ops/finite.hpp"
#include "core/ops/layout.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/reduce.hpp"
#include "core/ops/residual_norm.hpp"
#include "core/rng.hpp"
#include "tests/autograd/op_rows.hpp"
#include "tests/device/device.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

const Device kDevice = test::device_under_test();

struct Results {
  Tensor y;
  std::vector<Tensor> gradients;
};

/// y and the gradients of its inputs for a fixed dy, computed on a device.
Results run(const OpRow& row, const std::vector<Tensor>& inputs, Device device, DType dtype) {
  std::vector<Parameter> parameters;
  for (const Tensor& input : inputs)
    parameters.push_back(
        {fmt::format("input {}", parameters.size()), input.to(dtype).clone().to(device), {}});
  const Variable y = row.function(std::vector<Variable>(parameters.begin(), parameters.end()));
  REQUIRE(y.value().device() == device);
  Tensor dy = Tensor::empty(y.shape(), DType::f64);
  RandomSequence random(1, "dy");
  for (double& x : dy.span<double>()) x = random.normal();
  y.backward(dy.to(dtype).to(device));
  Results results{y.value().to(Device{}), {}};
  for (const Parameter& parameter : parameters)
    results.gradients.push_back(
        parameter.gradient ? parameter.gradient.to_dense(parameter.value.shape()).to(Device{})
                           : Tensor::zeros(parameter.value.shape(), dtype));
  return results;
}

double root_mean_square(const Tensor& x) {
  const Tensor values = x.to(DType::f64);
  double squares = 0;
  for (double value : values.span<double>()) squares += value * value;
  return values.size() > 0 ? std::sqrt(squares / static_cast<double>(values.size())) : 0;
}

void compare(const OpRow& cpu, const OpRow& device, DType dtype, Tolerance tolerance) {
  std::string shapes;
  for (const Tensor& input : cpu.inputs) shapes += fmt::format("{} ", input.shape());
  CAPTURE(cpu.op);
  CAPTURE(shapes);
  const Results expected = run(cpu, cpu.inputs, Device{}, dtype);
  const Results found = run(device, cpu.inputs, kDevice, dtype);
  // A sum of many numbers is rounded by the size of its parts, though it may come out near zero.
  const auto check_values = [&](const Tensor& values, const Tensor& right) {
    const double scale = std::max(1.0, root_mean_square(right));
    check_close(values, right, {tolerance.absolute * scale, tolerance.relative});
  };
  check_values(found.y, expected.y);
  for (std::size_t i = 0; i < cpu.inputs.size(); ++i) {
    CAPTURE(i);
    check_values(found.gradients[i], expected.gradients[i]);
  }
}

Tensor normal(const Shape& shape, const char* name) {
  Tensor x = Tensor::empty(shape, DType::f64);
  RandomSequence random(3, name);
  for (double& value : x.span<double>()) value = random.normal();
  return x;
}

/// Rows of several warps and blocks, texts of several tiles.
std::vector<OpRow> large_rows(Device device) {
  const auto ids = [device](i64 n, i64 below, const char* name) {
    std::vector<i64> values(static_cast<std::size_t>(n));
    RandomSequence random(5, name);
    for (i64& value : values) value = static_cast<i64>(random.below(static_cast<u64>(below)));
    return Tensor::from(values).to(device);
  };
  const auto list = [device](std::vector<i64> values) { return Tensor::from(values).to(device); };
  using In = std::vector<Variable>;
  std::vector<OpRow> rows;
  const auto add = [&](std::string_view op, std::vector<Tensor> inputs,
                       std::function<Variable(const In&)> function) {
    rows.push_back({op, std::move(inputs), std::move(function)});
  };
  for (i64 n : {33, 1500}) {
    add("linear_cross_entropy", {normal({n, 4}, "x"), normal({6, 4}, "w"), normal({6}, "b")},
        [=](const In& in) { return linear_cross_entropy(in[0], in[1], in[2], ids(n, 6, "t")); });
    add("softmax", {normal({20, n}, "x")}, [](const In& in) { return softmax(in[0], -1); });
    add("log_softmax", {normal({9, n}, "x")}, [](const In& in) { return log_softmax(in[0], -1); });
    add("layer_norm", {normal({37, n}, "x"), normal({n}, "gamma"), normal({n}, "beta")},
        [](const In& in) { return layer_norm(in[0], in[1], in[2], 1e-5); });
    add("residual_norm",
        {normal({37, n}, "x"), normal({37, n}, "r"), normal({n}, "gamma"), normal({n}, "beta")},
        [=](const In& in) {
          return residual_norm(in[0], in[1], in[2], in[3], 1e-5, {0.3, 7, 3}, ids(37, 9, "example"),
                               ids(37, 50, "position"));
        });
    add("cross_entropy", {normal({30, n}, "x")},
        [=](const In& in) { return cross_entropy(in[0], ids(30, n, "target"), {}); });
    add("sum", {normal({n, 5}, "x")}, [](const In& in) { return sum(in[0], {0}); });
    add("sum", {normal({7, n}, "x")}, [](const In& in) { return sum(in[0], {1}); });
    add("norm", {normal({7, n}, "x")}, [](const In& in) { return norm(in[0], {1}); });
    add("var", {normal({7, n}, "x")}, [](const In& in) { return var(in[0], {1}); });
    add("amax", {normal({3, n}, "x")}, [](const In& in) { return amax(in[0], {1}); });
    add("amin", {normal({3, n}, "x")}, [](const In& in) { return amin(in[0], {1}); });
    add("dropout", {normal({5, n}, "x")}, [=](const In& in) {
      return dropout(in[0], {0.3, 7, 3}, ids(5, 9, "example"), ids(5, 50, "position"));
    });
    add("mean_pool", {normal({9, n}, "x")}, [=](const In& in) {
      return mean_pool(in[0], list({0, 4, 5, 9}));
    });
    add("cross_entropy", {normal({n, 4}, "x")},
        [=](const In& in) { return cross_entropy(in[0], ids(n, 4, "target"), {}); });
    add("embedding", {normal({30, n}, "w")},
        [=](const In& in) { return embedding(in[0], ids(20, 30, "ids")); });
    add("embedding", {normal({n, 40}, "w")},
        [=](const In& in) { return embedding(in[0], ids(90, 30, "ids")); });
    add("linear", {normal({n, 20}, "x"), normal({30, 20}, "w"), normal({30}, "b")},
        [](const In& in) { return linear(in[0], in[1], in[2]); });
    add("mul", {normal({n, 3}, "x"), normal({3}, "y")},
        [](const In& in) { return mul(in[0], in[1]); });
  }
  for (i64 head_dim : {5, 40, 150})
    add("attention",
        {normal({73, 2 * head_dim}, "q"), normal({110, 2 * head_dim}, "k"),
         normal({110, 2 * head_dim}, "v")},
        [=](const In& in) {
          return attention(in[0], in[1], in[2],
                           {list({0, 1, 70, 70, 73}), ids(73, 100, "position"),
                            list({0, 33, 100, 105, 110}), list({4, 9, 2, 7})},
                           2, {0.2, 7, 3});
        });
  return rows;
}

constexpr DType kAllTypes[] = {DType::f64, DType::f32, DType::bf16, DType::f16,
                               DType::i64, DType::i32, DType::u8};

}  // namespace

TEST_CASE("every op on the device agrees with the CPU, forward and backward") {
  for (const auto& [dtype, tolerance] :
       {std::pair{DType::f64, Tolerance{1e-12, 1e-12}}, {DType::f32, Tolerance{1e-5, 1e-5}}}) {
    const std::vector<OpRow> cpu = op_rows(Device{}, dtype), device = op_rows(kDevice, dtype);
    for (std::size_t i = 0; i < cpu.size(); ++i) compare(cpu[i], device[i], dtype, tolerance);
  }
}

TEST_CASE("ops over several warps, blocks and tiles agree with the CPU") {
  const std::vector<OpRow> cpu = large_rows(Device{}), device = large_rows(kDevice);
  for (std::size_t i = 0; i < cpu.size(); ++i) {
    compare(cpu[i], device[i], DType::f64, {1e-11, 1e-11});
    compare(cpu[i], device[i], DType::f32, {2e-5, 1e-5});
  }
}

TEST_CASE("products of numbers of two bytes are those of the CPU, and none is widened before") {
  // The last ones are such that cuBLASLt has no product with an epilogue: columns not aligned, no rows.
  for (const auto& [rows, in, out] :
       {std::tuple<i64, i64, i64>{40, 24, 16}, {130, 64, 8}, {7, 5, 3}, {0, 8, 8}})
    for (DType type : {DType::bf16, DType::f16, DType::f32}) {
      CAPTURE(rows);
      CAPTURE(dtype_name(type));
      const auto of_type = [&](const Shape& shape, const char* name) {
        return normal(shape, name).to(DType::f32).to(type);
      };
      const Tensor x = of_type({rows, in}, "x"), w = of_type({out, in}, "w"),
                   dy = of_type({rows, out}, "dy"), bias = normal({out}, "b").to(DType::f32);
      const auto wide = [](const Tensor& t) { return t.to(DType::f32); };
      const auto there = [](const Tensor& t) { return t.to(kDevice); };
      const i64 before = test::epilogues();
      const Tensor y = ops::linear(there(x), there(w), there(bias));
      const auto [dw, dbias] = ops::linear_gradients(there(dy), there(x));
      const bool at_once = rows > 0 && (type == DType::f32 || in % 8 + out % 8 == 0);
      if (kDevice.kind == Device::Kind::emulated)
        CHECK(test::epilogues() - before == (at_once ? 2 : 0));
      const Tolerance close{2e-5, 1e-5};
      check_close(y.to(Device{}), ops::linear(wide(x), wide(w), bias), close);
      check_close(ops::linear(there(x), there(w), {}).to(Device{}),
                  ops::linear(wide(x), wide(w), {}), close);
      check_close(ops::linear_input_gradient(there(dy), there(w)).to(Device{}),
                  ops::linear_input_gradient(wide(dy), wide(w)), close);
      check_close(dw.to(Device{}), ops::linear_weight_gradient(wide(dy), wide(x)), close);
      check_close(dbias.to(Device{}), ops::column_sums(wide(dy)), close);

      // Sums that differ in a bit may be rounded the other way.
      const i64 further = test::epilogues();
      const Tolerance rounding = type == DType::bf16  ? Tolerance{2e-2, 8e-3}
                                 : type == DType::f16 ? Tolerance{2e-3, 1e-3}
                                                      : close;
      const auto check_rounded = [&](const Tensor& found, const Tensor& expected) {
        CHECK(found.dtype() == type);
        check_close(found.to(Device{}).to(DType::f32), expected, rounding);
        CHECK(same_bytes(expected.to(type).to(DType::f32), expected));
      };
      using ops::Sums;
      check_rounded(ops::linear(there(x), there(w), there(bias), Sums::rounded),
                    wide(ops::linear(x, w, bias, Sums::rounded)));
      check_rounded(ops::linear_input_gradient(there(dy), there(w), Sums::rounded),
                    wide(ops::linear_input_gradient(dy, w, Sums::rounded)));
      check_rounded(
          ops::matmul(there(x), there(w), ops::Transpose::no, ops::Transpose::yes, Sums::rounded),
          wide(ops::matmul(x, w, ops::Transpose::no, ops::Transpose::yes, Sums::rounded)));
      if (kDevice.kind == Device::Kind::emulated)
        CHECK(test::epilogues() - further == (at_once ? 1 : 0));
      check_close(
          ops::matmul(there(x), there(w), ops::Transpose::no, ops::Transpose::yes).to(Device{}),
          ops::matmul(wide(x), wide(w), ops::Transpose::no, ops::Transpose::yes), close);
    }
  for (const Device device : {Device{}, kDevice})
    CHECK_THROWS_WITH_AS(ops::linear(Tensor::zeros({4, 4}, DType::bf16, device),
                                     Tensor::zeros({4, 4}, DType::f32, device), {}),
                         "linear: one operand is bf16, the other f32; convert one of them", Error);
}

TEST_CASE("a product takes operands at any address") {
  const Tensor all = normal({700}, "all").to(DType::f32), there = all.to(kDevice);
  const auto at = [](const Tensor& x, i64 begin, i64 rows, i64 columns) {
    return x.rows(begin, begin + rows * columns).reshape({rows, columns});
  };
  for (i64 begin : {0, 4, 1}) {  // the algorithm for the first does not do for the others
    CAPTURE(begin);
    check_close(ops::linear(at(there, begin, 8, 16), at(there, 200 + begin, 8, 16),
                            there.rows(400 + begin, 408 + begin))
                    .to(Device{}),
                ops::linear(at(all, begin, 8, 16), at(all, 200 + begin, 8, 16),
                            all.rows(400 + begin, 408 + begin)),
                {1e-5, 1e-5});
  }
}

TEST_CASE("TF32 is taken where it is allowed, and nowhere else") {
  const Tensor x = normal({40, 64}, "x").to(DType::f32), w = normal({24, 64}, "w").to(DType::f32),
               bias = normal({24}, "b").to(DType::f32);
  const Tensor expected = ops::linear(x, w, bias);
  const auto error = [&] {
    double worst = 0;
    for (const Tensor& b : {bias, Tensor::zeros({24})}) {
      const Tensor y = ops::linear(x.to(kDevice), w.to(kDevice), b.to(kDevice)).to(Device{}),
                   product = ops::linear(x.to(kDevice), w.to(kDevice), {}).to(Device{});
      for (i64 i = 0; i < y.size(); ++i) {
        const double added = b.data<float>()[i % 24],
                     exact = expected.data<float>()[i] - bias.data<float>()[i % 24];
        worst = std::max({worst, std::abs(y.data<float>()[i] - added - exact),
                          std::abs(product.data<float>()[i] - exact)});
      }
    }
    return worst;
  };
  CHECK(error() < 2e-5);
  const double rounded = [&] {
    const ops::AllowTf32 rounding;
    return error();
  }();
  CHECK(rounded > 2e-4);
  CHECK(rounded < 5e-2);
  CHECK(error() < 2e-5);
}

TEST_CASE(
    "attention is that of the CPU for texts up to borders of tiles, heads of any width, and narrow "
    "operands") {
  const std::vector<i64> keys{1, 17, 32, 33, 65, 7, 3}, queries{1, 17, 31, 1, 66, 0, 3};
  const i64 heads = 2, texts = std::ssize(keys);
  std::vector<i64> key_offsets{0}, query_offsets{0}, positions, examples;
  for (i64 text = 0; text < texts; ++text) {
    for (i64 i = 0; i < queries[static_cast<std::size_t>(text)]; ++i)
      positions.push_back(3 * i % 70);
    examples.push_back(texts - text);
    key_offsets.push_back(key_offsets.back() + keys[static_cast<std::size_t>(text)]);
    query_offsets.push_back(query_offsets.back() + queries[static_cast<std::size_t>(text)]);
  }
  const i64 key_rows = key_offsets.back(), query_rows = query_offsets.back();
  const ops::AttentionRows rows{Tensor::from(query_offsets), Tensor::from(positions),
                                Tensor::from(key_offsets), Tensor::from(examples)};
  const ops::AttentionRows there{rows.query_offsets.to(kDevice), rows.query_positions.to(kDevice),
                                 rows.key_offsets.to(kDevice), rows.example_id.to(kDevice)};
  for (i64 head_dim : {1, 32, 36, 64, 128, 130})
    for (const auto& [type, tf32] : {std::pair{DType::f32, false}, std::pair{DType::f32, true},
                                     std::pair{DType::bf16, false}, std::pair{DType::f16, false}}) {
      // What a tile's width decides is the same for all operands; the others need not see all widths.
      if ((tf32 && head_dim % 32 != 0) || (type == DType::f16 && head_dim < 64)) continue;
      CAPTURE(head_dim);
      CAPTURE(dtype_name(type));
      CAPTURE(tf32);
      const ops::DropoutSite dropout{head_dim == 64 ? 0 : 0.25, 7, 3};
      const i64 dim = heads * head_dim;
      const auto of_type = [&](i64 rows, i64 columns, const char* name) {
        return normal({rows, columns}, name).to(DType::f32).to(type);
      };
      const Tensor q = of_type(query_rows, dim, "q"), kv = of_type(key_rows, 2 * dim, "kv"),
                   dy = of_type(query_rows, dim, "dy");
      const auto run = [&](const Tensor& q, const Tensor& kv, const Tensor& dy,
                           const ops::AttentionRows& rows) {
        const ops::Columns k{kv, 0, dim}, v{kv, dim, dim};
        const auto out = ops::attention(q, k, v, rows, heads, dropout);
        auto [dq, dk, dv] = ops::attention_backward(dy, q, k, v, out, rows, heads, dropout);
        return std::vector<Tensor>{out.y, out.log_sum, dq, dk, dv};
      };
      const auto wide = [](const Tensor& x) { return x.to(DType::f32); };
      const auto expected = run(wide(q), wide(kv), wide(dy), rows);
      std::optional<ops::AllowTf32> allowed;
      if (tf32) allowed.emplace();
      const auto found = run(q.to(kDevice), kv.to(kDevice), dy.to(kDevice), there);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        double largest = 0;
        for (float x : expected[i].span<float>()) largest = std::max<double>(largest, std::abs(x));
        // log_sum is not rounded; tensor cores cut off what is small beside the largest they add.
        const double of_largest = type == DType::f32    ? (tf32 ? 1.5e-3 : 2e-6)
                                  : i == 1              ? 2e-5
                                  : type == DType::bf16 ? 1e-2
                                                        : 1.5e-3;
        check_close(found[i].to(Device{}), expected[i], {of_largest * largest, 1e-5});
      }
    }
}

TEST_CASE("mixed precision on the device is that of the CPU, forward and backward") {
  const auto exact = op_rows(Device{}, DType::f32), device = op_rows(kDevice, DType::f32);
  for (DType type : {DType::bf16, DType::f16}) {
    const Autocast products(type);
    for (std::size_t i = 0; i < exact.size(); ++i) {
      // Where sums differ in a bit, a result may round the other way. And attention's gradients take y as it is stored.
      const double times = exact[i].op == "projected_attention" ? 4 : 1;
      compare(exact[i], device[i], DType::f32,
              type == DType::bf16 ? Tolerance{times * 2e-2, 1e-2} : Tolerance{times * 3e-3, 2e-3});
    }
  }
}

TEST_CASE(
    "what a norm and a hidden layer store in two bytes is the CPU's, for rows of a warp and of a "
    "block") {
  const ops::DropoutSite site{.rate = 0.3, .key = 7, .step = 3};
  for (const i64 d : {33, 132, 1500})
    for (const DType type : {DType::bf16, DType::f16}) {
      CAPTURE(d);
      CAPTURE(dtype_name(type));
      const auto f32 = [](const Shape& shape, const char* name) {
        return normal(shape, name).to(DType::f32);
      };
      std::vector<i64> places(37);
      std::iota(places.begin(), places.end(), 0);
      const Tensor x = f32({37, d}, "x").to(type), residual = f32({37, d}, "r"),
                   gamma = f32({d}, "gamma"), beta = f32({d}, "beta"), dy = f32({37, d}, "dy"),
                   rows = Tensor::from(places);
      const auto norm = [&](Device device) {
        const auto at = [&](const Tensor& t) { return t.to(device); };
        const auto out = ops::residual_norm(at(x), at(residual), at(gamma), at(beta), 1e-5, site,
                                            at(rows), at(rows));
        CHECK(same_bytes(out.rounded.to(Device{}), out.y.to(type).to(Device{})));
        const auto grads =
            ops::residual_norm_backward(at(dy), out, at(gamma), site, at(rows), at(rows));
        CHECK(grads.dx.dtype() == type);
        CHECK(grads.dresidual.dtype() == DType::f32);
        return std::vector<Tensor>{out.y,    out.sum,         out.mean,     out.rstd,
                                   grads.dx, grads.dresidual, grads.dgamma, grads.dbeta};
      };
      const ops::FeedForwardWeights weights{f32({40, d}, "w1").to(type), f32({40}, "b1"),
                                            f32({8, 40}, "w2").to(type), f32({8}, "b2")};
      const Tensor dz = f32({37, 8}, "dz").to(type);
      const auto net = [&](Device device) {
        const auto at = [&](const Tensor& t) { return t.to(device); };
        const ops::FeedForwardWeights there{at(weights.w1), at(weights.b1), at(weights.w2),
                                            at(weights.b2)};
        const auto [y, h] = ops::feed_forward(at(x), there);
        CHECK(y.dtype() == type);
        CHECK(h.dtype() == type);
        const Tensor kept = h.clone();
        const auto grads = ops::feed_forward_backward(at(dz), at(x), h, there, true);
        return std::vector<Tensor>{y, kept, grads.dx, grads.dw1, grads.db1, grads.dw2, grads.db2};
      };
      const auto agree = [&](const auto& make) {
        const std::vector<Tensor> expected = make(Device{}), found = make(kDevice);
        for (std::size_t i = 0; i < expected.size(); ++i) {
          CAPTURE(i);
          const Tensor right = expected[i].to(DType::f64);
          const double rounding = type == DType::bf16 ? 1e-2 : 1.5e-3;
          check_close(found[i].to(Device{}).to(DType::f64), right,
                      {rounding * std::max(root_mean_square(right), 1e-3), rounding});
        }
      };
      agree(norm);
      agree(net);
    }
}

TEST_CASE("a dropped element is the same one on every device") {
  const Tensor example = Tensor::from(std::vector<i64>{4, 4, 9}),
               position = Tensor::from(std::vector<i64>{0, 1, 0});
  for (const i64 width : {1, 4, 60, 64, 68, 200, 201, 768, 1024, 1028}) {
    CAPTURE(width);
    const Tensor x = Tensor::full({3, width}, 1);
    const Tensor expected = ops::dropout(x, {0.4, 12, 3}, example, position);
    const Tensor found =
        ops::dropout(x.to(kDevice), {0.4, 12, 3}, example.to(kDevice), position.to(kDevice));
    CHECK(std::ranges::equal(found.to(Device{}).span<float>(), expected.span<float>()));
  }
}

TEST_CASE("a norm of rows of any width, at any address, is that of the CPU") {
  const i64 rows = 19;  // of two chunks
  std::vector<i64> places(rows);
  std::iota(places.begin(), places.end(), 0);
  const Tensor where = Tensor::from(places), where_there = where.to(kDevice);
  for (const i64 d : {1, 4, 31, 32, 33, 124, 128, 132, 511, 512, 513, 768, 1020, 1024, 1028, 4097})
    for (const DType type : {DType::f32, DType::bf16})
      for (const double rate : {0.0, 0.3}) {
        CAPTURE(d);
        CAPTURE(dtype_name(type));
        CAPTURE(rate);
        const ops::DropoutSite site{.rate = rate, .key = 7, .step = 3};
        // `off` numbers behind the start of what was allocated
        const auto norm = [&](Device device, i64 off) {
          const auto at = [&](const Shape& shape, const char* name, DType type) {
            const Tensor x = normal(shape, name).to(DType::f32).to(type).to(device);
            const Tensor room = Tensor::empty({x.size() + off}, type, device);
            Tensor moved = room.rows(off, off + x.size()).reshape(shape);
            moved.copy_from(x);
            return moved;
          };
          const Tensor gamma = at({d}, "gamma", DType::f32);
          const Tensor& ids = device == Device{} ? where : where_there;
          const auto out =
              ops::residual_norm(at({rows, d}, "x", type), at({rows, d}, "r", DType::f32), gamma,
                                 at({d}, "beta", DType::f32), 1e-5, site, ids, ids);
          const auto grads = ops::residual_norm_backward(at({rows, d}, "dy", DType::f32), out,
                                                         gamma, site, ids, ids);
          return std::vector<Tensor>{out.sum,  out.y,           out.mean,     out.rstd,
                                     grads.dx, grads.dresidual, grads.dgamma, grads.dbeta};
        };
        const auto expected = norm(Device{}, 0), found = norm(kDevice, 0),
                   elsewhere = norm(kDevice, 1);
        CHECK(same_bytes(found[0], expected[0]));
        for (std::size_t i = 0; i < expected.size(); ++i) {
          CAPTURE(i);
          CHECK(same_bytes(elsewhere[i], found[i].to(Device{})));
          const Tensor right = expected[i].to(DType::f64);
          const double rounding = type == DType::bf16 ? 1e-2 : 2e-5;
          check_close(found[i].to(Device{}).to(DType::f64), right,
                      {rounding * std::max(root_mean_square(right), 1e-3), rounding});
        }
      }
}

TEST_CASE("types convert and are filled on the device as on the CPU") {
  const Tensor x = Tensor::from(
      std::vector<float>{0, 1.5f, 200, -3.7f, 60000, 1e-7f, 3.1415927f, -1e30f, 1e30f, HUGE_VALF});
  for (DType from : kAllTypes)
    for (DType to : kAllTypes) {
      CAPTURE(dtype_name(from));
      CAPTURE(dtype_name(to));
      const Tensor source = x.to(from);
      CHECK(same_bytes(source.to(kDevice).to(to), source.to(to)));
      CHECK(same_bytes(Tensor::full({300}, 3, to, kDevice), Tensor::full({300}, 3, to)));
    }
  for (double value : {70000.0, HUGE_VAL, std::nan("")}) {
    const Tensor x = Tensor::full({2}, value);
    for (DType to : {DType::f16, DType::i64, DType::i32, DType::u8})
      CHECK(same_bytes(x.to(kDevice).to(to), x.to(to)));
  }
}

TEST_CASE("elements of every width are moved and looked up on the device as on the CPU") {
  const Tensor ids = Tensor::from(std::vector<i64>{2, 0, 2}),
               places = Tensor::from(std::vector<i64>{1, 0, 2, 2, 0, 1}).reshape({2, 3});
  for (DType dtype : kAllTypes) {
    CAPTURE(dtype_name(dtype));
    Tensor x = Tensor::empty({3, 3});
    for (i64 i = 0; i < 9; ++i) x.data<float>()[i] = static_cast<float>(i);
    x = x.to(dtype);
    const Tensor there = x.to(kDevice);
    CHECK(same_bytes(ops::transpose(there, 0, 1), ops::transpose(x, 0, 1)));
    CHECK(same_bytes(ops::index_select(there, 0, ids.to(kDevice)), ops::index_select(x, 0, ids)));
    CHECK(same_bytes(
        ops::gather(ops::slice(there, {.dim = 0, .begin = 0, .end = 2}), 1, places.to(kDevice)),
        ops::gather(ops::slice(x, {.dim = 0, .begin = 0, .end = 2}), 1, places)));
  }
}

TEST_CASE("the gradient of a table are the rows looked up, with room for the most there may be") {
  const i64 entries = 12;
  const Tensor ids = Tensor::from(std::vector<i64>{7, 3, 7, 0, 11, 3, 7, 5}),
               dy = normal({8, 40}, "dy");
  for (DType dtype : {DType::f64, DType::f32})
    for (const std::optional<i64> padding : {std::optional<i64>(), std::optional<i64>(5)}) {
      const Gradient expected = ops::embedding_backward(dy.to(dtype), ids, padding, entries);
      const Gradient found =
          ops::embedding_backward(dy.to(dtype).to(kDevice), ids.to(kDevice), padding, entries);
      REQUIRE(found.kind() == Gradient::Kind::rows);
      CHECK(found.ids().size() == 8);
      const i64 given = expected.ids().size();
      CHECK(same_bytes(found.ids().rows(0, given), expected.ids()));
      CHECK(same_bytes(found.values().rows(0, given), expected.values()));
      const Tensor beyond = found.ids().rows(given, 8).to(Device{});
      for (i64 id : beyond.span<i64>()) CHECK(id == entries);
      const Tensor left = found.values().rows(given, 8).to(Device{});
      CHECK(same_bytes(left, Tensor::zeros(left.shape(), dtype)));
    }
  std::vector<i64> many(2500);  // three tiles of places, and more places than rows
  for (std::size_t k = 0; k < many.size(); ++k) many[k] = static_cast<i64>(k * k % 5);
  const Tensor places = Tensor::from(many), large = normal({2500, 3}, "large");
  const Gradient expected = ops::embedding_backward(large, places, {}, 5);
  const Gradient found = ops::embedding_backward(large.to(kDevice), places.to(kDevice), {}, 5);
  CHECK(same_bytes(found.ids().rows(0, expected.ids().size()), expected.ids()));
  CHECK(same_bytes(found.to_dense({5, 3}), expected.to_dense({5, 3})));
}

TEST_CASE(
    "gradients of rows and dense ones are added on the device as on the CPU, and nothing waits") {
  using Ids = std::vector<i64>;
  const auto rows = [](const Ids& ids, const char* name, Device device) {
    return ops::embedding_backward(normal({std::ssize(ids), 40}, name).to(device),
                                   Tensor::from(ids).to(device), {}, 9);
  };
  const auto dense = [](const char* name, Device device) {
    return Gradient(normal({9, 40}, name).to(device));
  };
  const auto sums = [&](Device device) {
    std::vector<Gradient> all{rows({4, 1, 4}, "a", device), rows({8, 1}, "b", device),
                              dense("c", device)};
    all[0].add(rows({3, 4}, "d", device));
    all[0].add(rows({0, 1, 2, 3, 4, 5, 6, 7, 8}, "e", device));  // and no more places than rows
    all[1].add(dense("f", device));
    all[2].add(rows({2, 0, 2}, "g", device));
    return all;
  };
  const i64 before = test::waits();
  const std::vector<Gradient> found = sums(kDevice);
  CHECK(test::waits() == before);
  const std::vector<Gradient> expected = sums(Device{});
  CHECK(found[0].kind() == Gradient::Kind::rows);
  CHECK(found[0].ids().size() == 9);
  for (std::size_t i = 0; i < found.size(); ++i)
    CHECK(same_bytes(found[i].to_dense({9, 40}), expected[i].to_dense({9, 40})));
}

TEST_CASE("a value that is not finite is found on the device") {
  for (DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    CAPTURE(dtype_name(dtype));
    Tensor x = Tensor::zeros({5000});
    CHECK(ops::first_non_finite(x.to(dtype).to(kDevice)) == -1);
    x.data<float>()[4000] = HUGE_VALF;
    x.data<float>()[777] = std::nanf("");
    CHECK(ops::first_non_finite(x.to(dtype).to(kDevice)) == 777);
  }
}

TEST_CASE("the place of the largest element is the same on the device") {
  const Tensor x = normal({7, 300, 2}, "x");
  for (DType dtype : {DType::f64, DType::f32})
    for (int dim : {0, 1, 2})
      CHECK(same_bytes(ops::argmax(x.to(dtype).to(kDevice), dim), ops::argmax(x.to(dtype), dim)));
}

TEST_CASE("a wrong id on the device is an error that names the op, when its result is read") {
  const Tensor w = Tensor::zeros({5, 3}, DType::f32, kDevice);
  const Tensor bad = Tensor::from(std::vector<i64>{1, 5}).to(kDevice);
  const Variable y = embedding(Variable(w), bad);
  CHECK_THROWS_WITH_AS(
      y.value().to(Device{}),
      fmt::format("embedding: id: 5 is outside of 0 … 4 (found on {})", to_string(kDevice)).c_str(),
      Error);
  CHECK_NOTHROW(w.to(Device{}));  // told once
  const Tensor offsets = Tensor::from(std::vector<i64>{0, 4, 2, 6}).to(kDevice);
  const Variable pooled = mean_pool(Variable(Tensor::zeros({6, 2}, DType::f32, kDevice)), offsets);
  CHECK_THROWS_WITH_AS(
      pooled.value().to(Device{}),
      fmt::format("mean_pool: 2 is outside of 0 … 6 (found on {})", to_string(kDevice)).c_str(),
      Error);
}

TEST_CASE("operands on two devices are refused by name") {
  const Tensor here = Tensor::zeros({3, 3}), there = here.to(kDevice);
  CHECK_THROWS_WITH_AS(
      ops::matmul(here, there),
      fmt::format("matmul: operands are on cpu and {}; they must be together", to_string(kDevice))
          .c_str(),
      Error);
  CHECK_THROWS_AS(add(Variable(here), Variable(there)), Error);
  CHECK_THROWS_AS(Tensor::stacked({here, there}), Error);
  CHECK_THROWS_AS(Gradient::rows(test::ids({0, 1, 2}), there), Error);
  Parameter w{"w", there, {}};
  CHECK_THROWS_AS(Variable(w).backward(here), Error);
  CHECK_THROWS_AS(Tensor::zeros({1}, DType::f32, {Device::Kind::cuda, 999}), Error);
}

/// Attention, norms and dropout on the device against the CPU, at the borders of tiles, warps and blocks.
#include "autograd/layers.hpp"

#include <numeric>
#include <optional>

#include "core/ops/feed_forward.hpp"
#include "core/ops/residual_norm.hpp"
#include "tests/device/device.hpp"
#include "tests/device/numbers.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

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
  for (i64 head_dim : {1, 32, 36, 64, 128, 131})
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

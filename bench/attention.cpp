/// Attention of one layer of DistilBERT-base: 12 heads of 64 columns, 64 texts, forward and backward, by the operands' type.
///
///     attention [dropout [texts [heads [head_dim]]]]        on what MINIMA_BENCH_DEVICE names
///
/// Texts of 128 tokens each, and of 7 to 43, as SST-2 has them. Arithmetic is counted without padding: 4 n² head_dim a head
/// forward, 10 n² head_dim backward. Prints a table, then a JSON line.
#include "core/ops/attention.hpp"

#include <fmt/format.h>

#include "bench/arguments.hpp"
#include "bench/device.hpp"
#include "core/rng.hpp"

using namespace minima;

namespace {

std::vector<i64> lengths_of(bool short_ones, i64 texts) {
  std::vector<i64> lengths(static_cast<std::size_t>(texts), 128);
  RandomSequence random(1, "lengths");
  if (short_ones)
    for (i64& length : lengths) length = 7 + static_cast<i64>(random.below(37));
  return lengths;
}

struct Texts {
  ops::AttentionRows rows;
  i64 tokens = 0;
  double pairs = 0;

  Texts(const std::vector<i64>& lengths, Device device) {
    std::vector<i64> offsets{0}, positions, examples;
    for (i64 length : lengths) {
      for (i64 i = 0; i < length; ++i) positions.push_back(i);
      examples.push_back(std::ssize(examples));
      offsets.push_back(tokens += length);
      pairs += static_cast<double>(length * length);
    }
    const Tensor offsets_there = Tensor::from(offsets).to(device);
    rows = {offsets_there, Tensor::from(positions).to(device), offsets_there,
            Tensor::from(examples).to(device)};
  }
};

Tensor normal(i64 rows, i64 columns, const char* name, DType type, Device device) {
  Tensor x = Tensor::empty({rows, columns});
  RandomSequence random(2, name);
  for (float& value : x.span<float>()) value = static_cast<float>(random.normal());
  return x.to(type).to(device);
}

}  // namespace

int main(int argc, char** argv) try {
  double rate = 0.1;
  i64 texts = 64, heads = 12, head_dim = 64;
  CLI::App app("Attention of one layer, forward and backward, by the operands' type.");
  app.add_option("dropout", rate)->check(CLI::Range(0.0, 0.99))->capture_default_str();
  bench::add_number(app, "texts", texts);
  bench::add_number(app, "heads", heads);
  bench::add_number(app, "head_dim", head_dim);
  CLI11_PARSE(app, argc, argv);
  const ops::DropoutSite dropout{rate, stream_key(1, "attention"), 3};
  const i64 dim = heads * head_dim;
  const Device device = bench::device();
  const int calls = device == Device{} ? 1 : 50;  // between two waits

  Json lines = Json::array();
  fmt::print("{:>8} {:>8} {:>6} {:>12} {:>12} {:>10} {:>10}\n", "tokens", "longest", "type",
             "forward ms", "backward ms", "GFLOP/s", "GFLOP/s");
  for (bool short_ones : {false, true}) {
    const std::vector<i64> lengths = lengths_of(short_ones, texts);
    const Texts of(lengths, device);
    for (DType type : {DType::f32, DType::bf16, DType::f16}) {
      if (device == Device{} && type != DType::f32) continue;
      const Tensor qkv = normal(of.tokens, 3 * dim, "qkv", type, device),
                   dy = normal(of.tokens, dim, "dy", type, device);
      const ops::Columns q{qkv, 0, dim}, k{qkv, dim, dim}, v{qkv, 2 * dim, dim};
      const auto result = ops::attention(q, k, v, of.rows, heads, dropout);
      const auto seconds = [&](const auto& f) {
        return bench::best_seconds(device,
                                   [&] {
                                     for (int i = 0; i < calls; ++i) f();
                                   }) /
               calls;
      };
      const double forward =
          seconds([&] { return ops::attention(q, k, v, of.rows, heads, dropout); });
      const double backward = seconds(
          [&] { return ops::attention_backward(dy, q, k, v, result, of.rows, heads, dropout); });
      const double flop = of.pairs * static_cast<double>(dim);
      const i64 longest = *std::max_element(lengths.begin(), lengths.end());
      fmt::print("{:>8} {:>8} {:>6} {:>12.4f} {:>12.4f} {:>10.0f} {:>10.0f}\n", of.tokens, longest,
                 dtype_name(type), 1e3 * forward, 1e3 * backward, 4e-9 * flop / forward,
                 1e-8 * flop / backward);
      lines.push_back({{"tokens", of.tokens},
                       {"longest", longest},
                       {"type", std::string(dtype_name(type))},
                       {"forward_ms", 1e3 * forward},
                       {"backward_ms", 1e3 * backward}});
    }
  }
  fmt::print("{}\n", lines.dump());
} catch (const Error& error) {
  fmt::print(stderr, "attention: {}\n", error.what());
  return 2;
}

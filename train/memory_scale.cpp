/// Which sizes can be counted, and the encoder of a number of parameters.
#include <charconv>
#include <cmath>
#include <limits>

#include "train/memory.hpp"

namespace minima {
namespace {

/// 12 dim² layers and what stands around: the number of parameters in closed form.
i64 count_parameters(const nn::EncoderConfig& c) {
  const i64 block =
      4 * (c.dim * c.dim + c.dim) + 2 * c.dim * c.hidden + c.hidden + c.dim + 4 * c.dim;
  const i64 types = c.architecture == nn::Architecture::bert ? c.token_types : 0;
  return (c.vocabulary + c.positions + types + 2) * c.dim + c.layers * block + c.dim * c.dim +
         c.dim + c.labels * (c.dim + 1);
}

}  // namespace

void check_limits(const nn::EncoderConfig& c, const std::string& source) {
  const nn::ArchitectureNames& names = c.names();
  struct Size {
    const char *option, *key;  // on the command line, and in a config.json
    i64 value, least, most;
  };
  for (const auto& [option, key, value, least, most] :
       {Size{"dim", names.dim, c.dim, 1, 1 << 16},
        Size{"layers", names.layer_count, c.layers, 1, 1000},
        Size{"heads", names.heads, c.heads, 1, 1 << 16},
        Size{"hidden", names.hidden, c.hidden, 1, 1 << 18},
        Size{"vocabulary", "vocab_size", c.vocabulary, 2, 1 << 24},
        Size{"positions", "max_position_embeddings", c.positions, 1, 1 << 22},
        Size{"labels", "num_labels", c.labels, 1, 1 << 20}})
    check(value >= least && value <= most, "{} is {}; it must lie between {} and {}",
          source.empty() ? fmt::format("--{}", option) : fmt::format("{}: '{}'", source, key),
          value, least, most);
  check(c.dim % c.heads == 0, "{}: {} heads do not divide dim {}",
        source.empty() ? "model" : source, c.heads, c.dim);
}

i64 parse_scale(const std::string& text) {
  double number = 0;
  const char *begin = text.data(), *end = begin + text.size();
  const auto [rest, error] = std::from_chars(begin, end, number);
  const std::string unit(rest, end);
  static const std::map<std::string, double> units{{"", 1},    {"k", 1e3},  {"K", 1e3},
                                                   {"m", 1e6}, {"M", 1e6},  {"b", 1e9},
                                                   {"B", 1e9}, {"t", 1e12}, {"T", 1e12}};
  check(error == std::errc() && units.contains(unit),
        "scale: '{}' is no number of parameters; write it as 7b, 1.5b, 350m or 66000000", text);
  const double parameters = number * units.at(unit);
  check(parameters >= 2.5e6 && parameters <= 1e13,
        "scale: {} parameters; it must lie between 2.5m and 10t", text);
  return static_cast<i64>(parameters);
}

nn::EncoderConfig config_of_scale(i64 parameters) {
  constexpr i64 kHead = 64, kStep = 8, kAspect = 128;
  nn::EncoderConfig config;
  config.layers = std::max<i64>(
      1, std::llround(std::cbrt(static_cast<double>(parameters) / (12.0 * kAspect * kAspect))));
  nn::EncoderConfig best;
  i64 nearest = std::numeric_limits<i64>::max();
  for (i64 dim = kHead;; dim += kStep) {
    config.dim = dim;
    config.heads = dim / kHead;
    config.hidden = 4 * dim;
    if (dim % (kStep * config.heads) != 0) continue;
    const i64 away = std::abs(count_parameters(config) - parameters);
    if (away > nearest) return best;
    nearest = away;
    best = config;
  }
}

}  // namespace minima

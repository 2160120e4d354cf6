/// The golden cases of optim: trajectories, code maps, quantized pairs, clipping and schedules made
/// with the public libraries, read from the reference set's manifest (`cases.json`).
#include <cmath>
#include <set>

#include "core/code_map.hpp"
#include "core/file.hpp"
#include "core/json.hpp"
#include "core/ops/matmul.hpp"
#include "core/safetensors.hpp"
#include "optim/clip.hpp"
#include "optim/optimizer.hpp"
#include "optim/schedule.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

using test::reference;

const Json& manifest() {
  static const Json json = [] {
    const auto path = reference("optim/cases.json");
    return path.empty() ? Json() : read_json(path);
  }();
  return json;
}

/// The command line's spec for a case; empty for an optimizer that does not exist here yet.
std::string spec_of(const Json& c) {
  static const std::map<std::string, std::string> names{
      {"SGD", "sgd"},           {"Adam", "adam"},
      {"AdamW", "adamw"},       {"AdamW8bit", "adamw8bit"},
      {"Adam8bit", "adam8bit"}, {"Adafactor(HF)", "adafactor"},
      {"CAME", "came"},         {"Adafactor(torch)", "adafactor-torch"},
      {"Lion", "lion"},         {"AdaPM(minima)", "adapm"}};
  const auto name = names.find(c["optimizer"]);
  if (name == names.end()) return "";
  std::string spec = name->second;
  const auto add = [&](const std::string& key, const Json& value) {
    spec += ":" + key + "=" + (value.is_string() ? value.get<std::string>() : value.dump());
  };
  const auto add_list = [&](const std::string& prefix, const Json& values) {
    for (std::size_t i = 0; i < values.size(); ++i) add(prefix + std::to_string(i + 1), values[i]);
  };
  for (const auto& [key, value] : c["hyperparameters"].items()) {
    if (key == "betas")
      add_list("beta", value);
    else if (key == "eps" && value.is_array())
      add_list("eps", value);
    else if (key == "base_lr")
      add("lr", value);
    else if (key == "lr" && value.is_string())
      continue;  // per step: base_lr and the schedule
    else if (key == "groups" || key == "schedule" || key == "clip" || key == "dtype")
      continue;
    else
      add(key, value);
  }
  std::map<std::string, std::string> kinds;
  const Json momentum_kind = c.value("momentum_kind", Json::object());
  for (const auto& [name, kind] : momentum_kind.items()) {
    std::string& pattern = kinds[kind];
    pattern += (pattern.empty() ? "" : "|") + name;
  }
  for (const auto& [kind, pattern] : kinds) add(kind, pattern);
  if (c.contains("decay_order")) add("decay_order", c["decay_order"]);
  if (c.contains("min_8bit_size")) add("min_8bit_size", c["min_8bit_size"]);
  if (c.contains("blocksize")) add("block_size", c["blocksize"]);
  for (const Json& name32 : c.value("force_32bit", Json::array()))
    add("fp32", name32.get<std::string>() + "/");
  return spec;
}

/// Parameters with their values from "p0." or "p.<t>.".
struct GoldenModel {
  GoldenModel(const SafetensorsFile& file, const Json& c, const std::string& prefix) {
    for (const auto& [name, sizes] : c["shapes"].items()) {
      auto parameter = std::make_unique<Parameter>();
      parameter->name = name;
      parameter->value = file.read(prefix + name);
      parameters.push_back(std::move(parameter));
    }
  }
  std::vector<std::unique_ptr<Parameter>> parameters;

  std::vector<ParameterGroup> groups(const Json& c) const {
    std::vector<ParameterGroup> result;
    const Json& hyper = c["hyperparameters"];
    if (!hyper.contains("groups")) {
      result.emplace_back();
      for (const auto& parameter : parameters) result[0].parameters.push_back(parameter.get());
      return result;
    }
    for (const Json& group : hyper["groups"]) {
      result.push_back(
          {{}, "lr=" + group["lr"].dump() + ":weight_decay=" + group["weight_decay"].dump()});
      for (const auto& parameter : parameters)
        if ((parameter->value.rank() >= 2) == (group["select"] == "dim>=2"))
          result.back().parameters.push_back(parameter.get());
    }
    return result;
  }
};

/// Counts entries outside the tolerance; those that are outside even `outlier` count double.
struct Comparison {
  double relative = 0, absolute = 0, of_max = 0, outlier_fraction = 0, outlier = 0;

  void check(const std::string& what, const Tensor& actual, const Tensor& expected) const {
    CAPTURE(what);
    REQUIRE(actual.shape() == expected.shape());
    const Tensor a = actual.to(DType::f64), e = expected.to(DType::f64);
    double largest = 0;
    for (double x : e.span<double>())
      if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
    i64 outside = 0, at = 0, impossible = 0;
    double worst = 0;
    for (i64 i = 0; i < a.size(); ++i) {
      const double x = a.data<double>()[i], y = e.data<double>()[i];
      if (x == y || (std::isnan(x) && std::isnan(y))) continue;
      const double error = std::abs(x - y);
      const double excess = error / (relative * std::abs(y) + absolute + of_max * largest);
      if (!(excess <= 1)) ++outside;
      if (!(excess <= 1) && !(error <= outlier)) ++impossible;
      if (!(excess <= worst)) worst = excess, at = i;
    }
    CAPTURE(at);
    CAPTURE(worst);
    CHECK(static_cast<double>(outside) <= outlier_fraction * static_cast<double>(a.size()));
    if (outlier_fraction > 0) CHECK(impossible == 0);
  }
};

void check_codes(const std::string& what, const Tensor& actual, const Tensor& expected,
                 const Tensor& absmax, i64 block_size, const Json& tolerance) {
  CAPTURE(what);
  i64 differ = 0;
  for (i64 i = 0; i < actual.size(); ++i) {
    if (absmax.data<float>()[i / block_size] == 0) continue;
    const int d = std::abs(actual.data<u8>()[i] - expected.data<u8>()[i]);
    CHECK(d <= tolerance["code_mismatch_max"].get<int>());
    differ += d != 0;
  }
  CHECK(static_cast<double>(differ) <=
        tolerance["code_mismatch_fraction"].get<double>() * static_cast<double>(actual.size()));
}

/// The quantizer of bitsandbytes on the CPU, for replay only: 65,536 bins. It has no code for
/// numbers below 3e-5 of absmax, so that zero does not stay zero.
struct BinQuantizer {
  explicit BinQuantizer(const CodeMap& map) : map(map), bins(65536) {
    for (int k = 0; k < 65536; ++k) {
      const double x = -1 + 2.0 * k / 65535;
      int code = 0;
      while (code < 255 && static_cast<double>((map.value[code] + map.value[code + 1]) * 0.5f) < x)
        ++code;
      bins[static_cast<std::size_t>(k)] = static_cast<u8>(code);
    }
  }
  u8 operator()(float x, float absmax) const {
    const float inverse = 1.0f / absmax, scaled = std::clamp(x * inverse, -1.0f, 1.0f);
    const float k = (scaled + 1.0f) * 0.5f * 65535.0f + 0.5f;
    return bins[static_cast<std::size_t>(static_cast<int>(k))];
  }
  const CodeMap& map;
  std::vector<u8> bins;
};

/// Rounds an fp32 slot as that quantizer would; returns codes and block maxima.
std::pair<Tensor, Tensor> round_by_bins(Tensor& slot, bool with_sign, i64 block_size) {
  static const BinQuantizer quantizers[] = {BinQuantizer(unsigned_code_map()),
                                            BinQuantizer(signed_code_map())};
  const BinQuantizer& quantizer = quantizers[with_sign];
  const i64 n = slot.size(), blocks = (n + block_size - 1) / block_size;
  Tensor codes = Tensor::empty(slot.shape(), DType::u8), absmax = Tensor::zeros({blocks});
  float* x = slot.data<float>();
  for (i64 b = 0; b < blocks; ++b) {
    float& largest = absmax.data<float>()[b];
    const i64 end = std::min(n, (b + 1) * block_size);
    for (i64 i = b * block_size; i < end; ++i) largest = std::max(largest, std::abs(x[i]));
    for (i64 i = b * block_size; i < end; ++i) {
      const u8 code = largest == 0 ? 0 : quantizer(x[i], largest);
      codes.data<u8>()[i] = code;
      x[i] = largest == 0 ? 0 : quantizer.map.value[code] * largest;
    }
  }
  return {codes, absmax};
}

/// A basis is one of many for its subspace: what is compared is basis·basisᵀ and basis·coef.
std::map<std::string, Tensor> without_bases(std::map<std::string, Tensor> state) {
  std::map<std::string, Tensor> result;
  for (auto& [key, x] : state) {
    const std::string parameter = key.substr(0, key.find('/') + 1);
    if (key.ends_with("/basis"))
      result.emplace(key, ops::matmul(x, x, ops::Transpose::no, ops::Transpose::yes));
    else if (key.ends_with("/coef"))
      result.emplace(key, ops::matmul(state.at(parameter + "basis"), x));
    else
      result.emplace(key, x);
  }
  return result;
}

/// One run of a case, from its beginning or from a state saved midway.
class Replay {
 public:
  Replay(const Json& c, const SafetensorsFile& file, i64 start)
      : c(c),
        file(file),
        bins(c.value("quantizer", "exact") == "cpu_lut"),
        model(file, c, start == 0 ? "p0." : fmt::format("p.{}.", start)),
        optimizer(make_optimizer(spec_of(c) + (bins ? ":state=fp32" : ""), model.groups(c))) {
    if (start > 0) optimizer.assign(saved_state(start));
    for (i64 t = start + 1; t <= c["steps"].get<i64>(); ++t) {
      INFO("step " << t << (start ? " after resuming at " + std::to_string(start) : ""));
      step(t);
      compare(t);
    }
  }

 private:
  static bool listed(const Json& steps, i64 t) {
    return std::ranges::find(steps, Json(t)) != steps.end();
  }

  double lr() const {
    const Json& hyper = c["hyperparameters"];
    if (hyper.contains("base_lr")) return hyper["base_lr"];
    if (hyper.contains("groups")) return 1e-3;
    return hyper.value("lr", 1e-3);
  }

  bool quantized(const Parameter& p) const {
    if (!c.contains("blocksize") || p.value.size() < c["min_8bit_size"].get<i64>()) return false;
    for (const Json& name : c.value("force_32bit", Json::array()))
      if (name == p.name) return false;
    return true;
  }
  static std::string library_key(const std::string& slot) {
    return slot == "exp_avg" ? "state1" : "state2";
  }

  /// The state of step t in the optimizer's own keys.
  std::map<std::string, Tensor> saved_state(i64 t) const {
    std::map<std::string, Tensor> result;
    for (const PlannedSlot& slot : optimizer.state().slots) {
      std::string from = fmt::format("s.{}.{}.", t, slot.parameter);
      const bool eight = c.contains("blocksize") && slot.slot != "step";
      from += eight ? library_key(slot.slot) : slot.slot;
      if (slot.slot == "step") {  // torch's SGD keeps none
        const i64 step = file.contains(from) ? static_cast<i64>(file.read(from).item()) : t;
        result.emplace(slot.key(), Tensor::scalar(static_cast<i32>(step)));
        continue;
      }
      Tensor x = file.read(from);
      if (slot.storage == Storage::block8) {
        result.emplace(slot.key() + ".codes", x);
        result.emplace(slot.key() + ".absmax", absmax(t, slot));
      } else if (x.dtype() == DType::u8) {  // cpu_lut: kept decoded
        const CodeMap& map = slot.sign == Sign::any ? signed_code_map() : unsigned_code_map();
        const Tensor scale = absmax(t, slot);
        Tensor values = Tensor::empty(x.shape());
        for (i64 i = 0; i < x.size(); ++i)
          values.data<float>()[i] =
              map.value[x.data<u8>()[i]] * scale.data<float>()[i / c["blocksize"].get<i64>()];
        result.emplace(slot.key(), values);
      } else {
        result.emplace(slot.key(), x.to(DType::f32));
      }
    }
    return result;
  }

  Tensor absmax(i64 t, const PlannedSlot& slot) const {
    return file.read(
        fmt::format("s.{}.{}.absmax{}", t, slot.parameter, slot.slot == "exp_avg" ? 1 : 2));
  }

  void step(i64 t) {
    for (const auto& p : model.parameters) {
      const std::string key = fmt::format("g.{}.{}", t, p->name);
      p->gradient = file.contains(key) ? Gradient(file.read(key)) : Gradient();
    }
    const Json& hyper = c["hyperparameters"];
    StepOptions options;
    if (hyper.contains("schedule")) {
      const Schedule schedule{.kind = hyper["schedule"]["kind"],
                              .warmup = hyper["schedule"]["num_warmup_steps"],
                              .total = hyper["schedule"]["num_training_steps"]};
      options.lr_factor = schedule.factor(t - 1);
    }
    if (hyper.contains("clip")) {
      options.clip_norm = hyper["clip"].value("max_norm", 0.0);
      options.clip_value = hyper["clip"].value("clip_value", 0.0);
    }
    const StepReport report = optimizer.step(options);
    if (file.contains("gnorm") && report.grad_norm)
      CHECK(*report.grad_norm ==
            doctest::Approx(file.read("gnorm").to(DType::f64).data<double>()[t - 1]).epsilon(1e-6));
  }

  void compare(i64 t) {
    std::map<std::string, Tensor> own = without_bases(by_name(optimizer.tensors()));
    if (bins)
      for (const PlannedSlot& slot : optimizer.state().slots)
        for (const auto& p : model.parameters)
          if (slot.parameter == p->name && slot.slot != "step" && quantized(*p) && p->gradient)
            rounded[slot.key()] = round_by_bins(own.at(slot.key()), slot.sign == Sign::any,
                                                c["blocksize"].get<i64>());

    const Json &params = c["tolerance"]["params"], &state = c["tolerance"]["state"];
    for (const auto& p : model.parameters) {
      if (!listed(c["params_saved_after"], t)) break;
      const Tensor expected = file.read(fmt::format("p.{}.{}", t, p->name));
      if (params.contains("bf16_ulps")) {
        for (i64 i = 0; i < expected.size(); ++i)
          CHECK(std::abs(p->value.data<bf16>()[i].bits - expected.data<bf16>()[i].bits) <=
                params["bf16_ulps"].get<int>());
        continue;
      }
      Comparison comparison{
          params["rtol"], params["atol"].get<double>() + params["atol_in_lr"].get<double>() * lr()};
      comparison.outlier_fraction = params.value("outlier_fraction", 0.0);
      comparison.outlier = params.value("outlier_atol_in_lr", 0.0) * lr();
      comparison.check(p->name, p->value, expected);
    }
    if (!listed(c["state_saved_after"], t)) return;
    const std::map<std::string, Tensor> expected = without_bases(saved_state(t));
    for (const auto& [key, e] : expected) {
      if (key.ends_with(".codes")) {
        check_codes(key, own.at(key), e, expected.at(key.substr(0, key.size() - 5) + "absmax"),
                    c["blocksize"].get<i64>(), state);
        continue;
      }
      Comparison comparison{state["rtol"], state["atol"]};
      if (key.ends_with("exp_avg") || key.ends_with("momentum_buffer") || key.ends_with("/basis") ||
          key.ends_with("/coef"))
        comparison.of_max = state["signed_atol_of_max"];
      if (rounded.contains(key)) {
        const std::string slot = key.substr(key.find('/') + 1), name = key.substr(0, key.find('/'));
        const Tensor codes = file.read(fmt::format("s.{}.{}.{}", t, name, library_key(slot)));
        const Tensor scale =
            file.read(fmt::format("s.{}.{}.absmax{}", t, name, slot == "exp_avg" ? 1 : 2));
        check_codes(key, rounded.at(key).first, codes, scale, c["blocksize"].get<i64>(), state);
        comparison.check(key, rounded.at(key).second, scale);
        continue;
      }
      comparison.check(key, own.at(key), e);
    }
  }

  const Json& c;
  const SafetensorsFile& file;
  bool bins;
  GoldenModel model;
  Optimizer optimizer;
  std::map<std::string, std::pair<Tensor, Tensor>> rounded =
      {};  ///< by bins, when it was last stepped
};

std::filesystem::path beside_manifest(const std::string& file) {
  return reference("optim/cases.json").parent_path() / file;
}

}  // namespace

TEST_SUITE("golden") {
  TEST_CASE(
      "every case of the reference set is replayed, from the start and from its midway states") {
    REQUIRE_FALSE(manifest().is_null());
    int replayed = 0, resumed = 0;
    std::set<std::string> not_yet;
    for (const Json& c : manifest()["cases"]) {
      const std::string name = c["name"];
      CAPTURE(name);
      if (spec_of(c).empty()) {
        not_yet.insert(name);
        continue;
      }
      const SafetensorsFile file(beside_manifest(c["file"]));
      Replay(c, file, 0);
      ++replayed;
      for (const Json& at : c["state_saved_after"])
        if (at < c["steps"]) {
          Replay(c, file, at);
          ++resumed;
        }
    }
    MESSAGE(replayed << " cases replayed, " << resumed
                     << " midway states resumed; not yet covered: " << not_yet.size() << " ("
                     << fmt::format("{}", fmt::join(not_yet, ", ")) << ")");
    CHECK(replayed > 0);
  }

  TEST_CASE("the code maps are the public ones, bit for bit") {
    const auto path = reference("optim/quant_maps.safetensors");
    REQUIRE_FALSE(path.empty());
    const SafetensorsFile file(path);
    for (const auto& [name, map] : {std::pair{"dynamic_signed", &signed_code_map()},
                                    std::pair{"dynamic_unsigned", &unsigned_code_map()}}) {
      CAPTURE(name);
      const Tensor expected = file.read(name);
      for (int i = 0; i < 256; ++i)
        CHECK(std::bit_cast<u32>(map->value[i]) == std::bit_cast<u32>(expected.data<float>()[i]));
    }
  }

  TEST_CASE("blocks are encoded and decoded as in the reference pairs") {
    const Json& pairs = manifest()["quant_pairs"];
    const auto path = beside_manifest(pairs["file"]);
    if (!std::filesystem::exists(path)) {
      MESSAGE("quant_pairs are not in this reference set");
      return;
    }
    const SafetensorsFile file(path);
    for (const Json& pair : pairs["pairs"]) {
      const std::string name = pair["name"];
      CAPTURE(name);
      const Tensor x = file.read(name + ".x"), absmax = file.read(name + ".absmax"),
                   q = file.read(name + ".q_exact"), dq = file.read(name + ".dq_exact");
      const i64 block = pair["blocksize"], n = x.size();
      std::vector<u8> codes(static_cast<std::size_t>(n));
      Tensor scales = Tensor::zeros(absmax.shape());
      const bool with_sign = pair["code"] == "dynamic_signed";
      const SlotView slot{Storage::block8, codes.data(), scales.data<float>(), block,
                          with_sign ? &signed_code_map() : &unsigned_code_map()};
      for (i64 at = 0; at < n; at += block)
        close_slot(slot, at, std::min(block, n - at), x.data<float>() + at);
      for (i64 i = 0; i < absmax.size(); ++i)
        CHECK(scales.data<float>()[i] == absmax.data<float>()[i]);
      for (i64 i = 0; i < n; ++i) {
        CAPTURE(i);
        const float scale = absmax.data<float>()[i / block], value = x.data<float>()[i];
        if (scale == 0) {
          CHECK(codes[static_cast<std::size_t>(i)] == slot.map->zero);
          continue;
        }
        // The pairs are the bare search; what a slot stores has the sign rule as well.
        const u8 nearest = q.data<u8>()[i];
        CHECK(nearest_code(*slot.map, value / scale) == nearest);
        const bool moved =
            with_sign && std::signbit(slot.map->value[nearest]) != std::signbit(value);
        CHECK(codes[static_cast<std::size_t>(i)] == (!moved                ? nearest
                                                     : std::signbit(value) ? nearest - 1
                                                                           : nearest + 1));
        codes[static_cast<std::size_t>(i)] = nearest;
      }
      std::vector<float> scratch(static_cast<std::size_t>(block));
      for (i64 at = 0; at < n; at += block) {
        const i64 length = std::min(block, n - at);
        const float* decoded = open_slot(slot, at, length, scratch.data());
        for (i64 i = 0; i < length; ++i) CHECK(decoded[i] == dq.data<float>()[at + i]);
      }
    }
  }

  TEST_CASE("gradients are clipped as by clip_grad_norm_") {
    const Json& clip = manifest()["clip_grad_norm"];
    const SafetensorsFile file(beside_manifest(clip["file"]));
    for (const Json& c : clip["cases"]) {
      const std::string name = c["name"];
      CAPTURE(name);
      std::vector<Parameter> parameters(3);
      std::vector<Parameter*> all;
      for (int i = 0; i < 3; ++i) {
        Parameter& p = parameters[static_cast<std::size_t>(i)];
        p.gradient = file.read(name + ".before." + std::string(1, static_cast<char>('a' + i)));
        all.push_back(&p);
      }
      const Norm norm = c["norm_type"] == "inf" ? Norm::maximum
                        : c["norm_type"] == 1.0 ? Norm::l1
                                                : Norm::l2;
      const double total = global_norm(all, norm);
      CHECK(total == doctest::Approx(file.read(name + ".total_norm").item()).epsilon(1e-6));
      const float factor = static_cast<float>(clip_factor(total, c["max_norm"]));
      for (int i = 0; i < 3; ++i) {
        const Tensor after =
            file.read(name + ".after." + std::string(1, static_cast<char>('a' + i)));
        Tensor scaled = parameters[static_cast<std::size_t>(i)].gradient.values().clone();
        for (float& g : scaled.span<float>()) g *= factor;
        Comparison{.relative = clip["rtol"]}.check(name, scaled, after);
      }
    }
  }

  TEST_CASE("schedules follow the recorded curves") {
    const auto path = reference("optim/lr_schedules.json");
    if (path.empty()) {
      MESSAGE("lr_schedules.json is not in this reference set");
      return;
    }
    static const std::map<std::string, std::string> kinds{
        {"transformers.get_linear_schedule_with_warmup", "linear"},
        {"transformers.get_constant_schedule_with_warmup", "constant"},
        {"transformers.get_cosine_schedule_with_warmup", "cosine"},
        {"transformers.get_cosine_with_hard_restarts_schedule_with_warmup", "cosine_restarts"},
        {"transformers.get_polynomial_decay_schedule_with_warmup", "polynomial"},
        {"transformers.get_inverse_sqrt_schedule", "inverse_sqrt"},
        {"transformers.get_cosine_with_min_lr_schedule_with_warmup", "cosine"},
        {"torch.optim.lr_scheduler.OneCycleLR", "one_cycle"},
        {"torch.optim.lr_scheduler.CosineAnnealingWarmRestarts", "warm_restarts"},
        {"torch.optim.lr_scheduler.StepLR", "step"},
        {"torch.optim.lr_scheduler.ReduceLROnPlateau", "plateau"}};
    // Arguments that are called otherwise here; those in units of lr become shares of it.
    static const std::map<std::string, std::string> renamed{
        {"num_cycles", "cycles"}, {"lr_end", "end"},      {"min_lr_rate", "minimum"},
        {"min_lr", "minimum"},    {"eta_min", "minimum"}, {"anneal_strategy", "anneal"}};
    const Json curves = read_json(path);
    for (const Json& recorded : curves["schedules"]) {
      const std::string name = recorded["name"], kind = kinds.at(recorded["source"]);
      CAPTURE(name);
      Json args = recorded["args"];
      const double base = args.value("max_lr", recorded["base_lr"].get<double>());
      if (kind == "polynomial" && !args.contains("lr_end")) args["lr_end"] = 1e-7;
      if (kind == "plateau") args["eps"] = 1e-8 / base;
      std::string spec = kind;
      for (const auto& [arg, value] : args.items()) {
        if (arg.starts_with("num_") && arg.ends_with("_steps")) continue;
        if (arg == "total_steps" || arg == "max_lr" || value.is_null()) continue;
        const bool in_lr = arg == "lr_end" || arg == "min_lr" || arg == "eta_min";
        const auto other = renamed.find(arg);
        spec += fmt::format(":{}={}", other == renamed.end() ? arg : other->second,
                            in_lr               ? fmt::format("{}", value.get<double>() / base)
                            : value.is_string() ? value.get<std::string>()
                                                : value.dump());
      }
      CAPTURE(spec);
      Schedule schedule = parse_schedule(spec);
      schedule.warmup = args.value("num_warmup_steps", 0);
      schedule.total = args.value("num_training_steps", args.value("total_steps", 0));
      ReduceOnPlateau plateau(schedule.plateau);
      for (std::size_t k = 0; k < recorded["lr"].size(); ++k) {
        CAPTURE(k);
        if (kind == "plateau") plateau.step(recorded["metrics"][k]);
        const double expected = recorded["lr"][k];
        const double actual = base * schedule.factor(static_cast<i64>(k)) * plateau.factor();
        CHECK(std::abs(actual - expected) <= 1e-9 * std::abs(expected) + 1e-15);
      }
    }
  }
}

}  // namespace minima

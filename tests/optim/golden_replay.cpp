/// The golden trajectories of optim, made with the public libraries: replayed from their start and from each midway state.
#include "core/code_map.hpp"
#include "core/files/safetensors.hpp"
#include "core/ops/matmul.hpp"
#include "optim/optimizer.hpp"
#include "tests/optim/golden.hpp"

namespace minima {
namespace {

using test::check_norm;
using test::Comparison;
using test::listed_reference;
using test::manifest;
using test::norm_of;
using test::schedule_of;
using test::spelled;

/// ":name=value" for each of the hyperparameters that a rule has; those of a step are elsewhere.
std::string options_of(const Json& hyper) {
  static const std::set<std::string> not_the_rules{"groups", "select", "schedule", "clip", "dtype"};
  std::string options;
  for (const auto& [key, value] : hyper.items()) {
    if (not_the_rules.contains(key)) continue;
    if (key == "lr" && value.is_string()) continue;  // per step: base_lr and the schedule
    if (value.is_array())
      for (std::size_t i = 0; i < value.size(); ++i)
        options += fmt::format(":{}{}={}", key == "betas" ? "beta" : key, i + 1, spelled(value[i]));
    else
      options += fmt::format(":{}={}", key == "base_lr" ? "lr" : key, spelled(value));
  }
  return options;
}

/// The command line's spec for a case. Throws Error for an optimizer that does not exist here.
std::string spec_of(const Json& c) {
  static const std::map<std::string, std::string> names{
      {"SGD", "sgd"},           {"Adam", "adam"},
      {"AdamW", "adamw"},       {"AdamW8bit", "adamw8bit"},
      {"Adam8bit", "adam8bit"}, {"Adafactor(HF)", "adafactor"},
      {"CAME", "came"},         {"Adafactor(torch)", "adafactor-torch"},
      {"Lion", "lion"},         {"AdaPM(minima)", "adapm"}};
  const auto name = names.find(c["optimizer"]);
  check(name != names.end(), "no optimizer here is {}", c["optimizer"].dump());
  std::string spec = name->second + options_of(c["hyperparameters"]);
  std::map<std::string, std::vector<std::string>> chosen;  // by option: names of parameters
  const Json momentum_kind = c.value("momentum_kind", Json::object());
  for (const auto& [parameter, kind] : momentum_kind.items()) chosen[kind].push_back(parameter);
  for (const Json& parameter : c.value("force_32bit", Json::array()))
    chosen["fp32"].push_back(parameter);
  for (const auto& [option, parameters] : chosen)
    spec += fmt::format(":{}=^{}$", option, fmt::join(parameters, "$|^"));
  for (const auto& [key, option] : {std::pair{"decay_order", "decay_order"},
                                    {"min_8bit_size", "min_8bit_size"},
                                    {"blocksize", "block_size"}})
    if (c.contains(key)) spec += fmt::format(":{}={}", option, spelled(c[key]));
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

  std::vector<Parameter*> all() const {
    std::vector<Parameter*> result;
    for (const auto& parameter : parameters) result.push_back(parameter.get());
    return result;
  }

  /// The groups of a case: each selects by rank, by name or what the ones before it left.
  std::vector<ParameterGroup> groups(const Json& c) const {
    const Json whole = Json::array({{{"select", "rest"}}}), &hyper = c["hyperparameters"];
    std::vector<ParameterGroup> result;
    std::vector<Parameter*> left = all();
    for (const Json& group : hyper.value("groups", whole)) {
      const std::string select = group["select"], options = options_of(group);
      result.push_back({{}, options.empty() ? "" : options.substr(1)});
      std::erase_if(left, [&](Parameter* p) {
        const bool taken = select == "rest" || select == p->name ||
                           select == (p->value.rank() >= 2 ? "dim>=2" : "dim<2");
        if (taken) result.back().parameters.push_back(p);
        return taken;
      });
    }
    check(left.empty(), "no group selects '{}'", left.empty() ? "" : left[0]->name);
    return result;
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

/// Its place among all numbers of this type; both zeros have one.
int rank_of(bf16 x) { return x.bits & 0x8000 ? -(x.bits & 0x7fff) : x.bits; }

/// One run of a case, from its beginning or from a state saved midway. Of a case whose numbers come
/// from the range of float32, which a better-conditioned formula leaves later, none are compared.
class Replay {
 public:
  Replay(const Json& c, const SafetensorsFile& file, i64 start)
      : c(c),
        file(file),
        bins(c.value("quantizer", "exact") == "cpu_lut"),
        out_of_range(c.value("float32_range_artifact", false)),
        model(file, c, start == 0 ? "p0." : fmt::format("p.{}.", start)),
        optimizer(fresh_optimizer()) {
    if (start > 0) optimizer.assign(saved_state(start));
    for (i64 t = start + 1; t <= c["steps"].get<i64>(); ++t) {
      INFO("step " << t << (start ? " after resuming at " + std::to_string(start) : ""));
      step(t);
      if (!out_of_range) compare(t);
    }
  }

 private:
  Optimizer fresh_optimizer() const {
    return make_optimizer(spec_of(c) + (bins ? ":state=fp32" : ""), model.groups(c));
  }

  static bool listed(const Json& steps, i64 t) {
    return std::ranges::find(steps, Json(t)) != steps.end();
  }

  double lr() const {
    const Json& hyper = c["hyperparameters"];
    const Json& lr = hyper.contains("base_lr") ? hyper["base_lr"] : hyper.value("lr", Json());
    return lr.is_number() ? lr.get<double>() : 1e-3;
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

  /// How many of the first t steps brought a gradient.
  i64 steps_taken(const std::string& parameter, i64 t) const {
    i64 count = 0;
    for (i64 k = 1; k <= t; ++k) count += file.contains(fmt::format("g.{}.{}", k, parameter));
    return count;
  }

  /// The state of step t in the optimizer's own keys: fresh where a parameter had no gradient yet.
  std::map<std::string, Tensor> saved_state(i64 t) const {
    std::map<std::string, Tensor> result, fresh = by_name(fresh_optimizer().tensors());
    for (const PlannedSlot& slot : optimizer.state().slots) {
      if (steps_taken(slot.parameter, t) == 0) {
        for (const char* part : {"", ".codes", ".absmax"})
          if (auto node = fresh.extract(slot.key() + part)) result.insert(std::move(node));
        continue;
      }
      std::string from = fmt::format("s.{}.{}.", t, slot.parameter);
      const bool eight = c.contains("blocksize") && slot.slot != "step";
      from += eight ? library_key(slot.slot) : slot.slot;
      if (slot.slot == "step") {  // torch's SGD keeps none
        const i64 step = file.contains(from) ? static_cast<i64>(file.read(from).item())
                                             : steps_taken(slot.parameter, t);
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
      const Json& schedule = hyper["schedule"];
      options.lr_factor = schedule_of(schedule["kind"], schedule, lr()).factor(t - 1);
    }
    const Json clip = hyper.value("clip", Json::object());
    const double limit = clip.value("max_norm", 0.0);
    const Norm kind = norm_of(clip.value("norm_type", Json(2.0)));
    const double norm = global_norm(model.all(), kind);
    options.clip_value = clip.value("clip_value", 0.0);
    if (kind == Norm::l2)
      options.clip_norm = limit;
    else
      options.gradient_scale = clip_factor(norm, limit);
    const StepReport report = optimizer.step(options);
    if (out_of_range || !file.contains("gnorm")) return;
    const double expected = file.read("gnorm").to(DType::f64).data<double>()[t - 1];
    check_norm(norm, expected);
    if (kind == Norm::l2 && report.grad_norm) check_norm(*report.grad_norm, expected);
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
          CHECK(std::abs(rank_of(p->value.data<bf16>()[i]) - rank_of(expected.data<bf16>()[i])) <=
                params["bf16_ulps"].get<int>());
        continue;
      }
      Comparison comparison{
          params["rtol"], params["atol"].get<double>() + params["atol_in_lr"].get<double>() * lr()};
      comparison.of_max = params.value("atol_of_max", 0.0);
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
  bool bins, out_of_range;
  GoldenModel model;
  Optimizer optimizer;
  std::map<std::string, std::pair<Tensor, Tensor>> rounded =
      {};  ///< by bins, when it was last stepped
};

}  // namespace

TEST_SUITE("golden") {
  TEST_CASE(
      "every case of the reference set is replayed, from the start and from its midway states") {
    if (manifest().is_null()) return;
    int replayed = 0, resumed = 0;
    std::vector<std::string> out_of_range;
    for (const Json& c : manifest()["cases"])
      test::try_case(c["name"], [&] {
        const SafetensorsFile file(listed_reference("optim/" + c["file"].get<std::string>()));
        if (c.value("float32_range_artifact", false)) out_of_range.push_back(c["name"]);
        ++replayed;
        Replay(c, file, 0);
        for (const Json& at : c["state_saved_after"])
          if (at < c["steps"]) {
            Replay(c, file, at);
            ++resumed;
          }
      });
    CHECK(replayed > 0);
    MESSAGE(replayed << " cases replayed, " << resumed << " midway states resumed");
    if (!out_of_range.empty())
      MESSAGE("replayed, but not compared, for the range of float32: ",
              fmt::format("{}", fmt::join(out_of_range, ", ")));
  }
}

}  // namespace minima

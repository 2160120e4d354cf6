/// The golden code maps, quantized pairs, clipping and schedules, made with the public libraries.
#include "tests/optim/golden.hpp"

#include "core/code_map.hpp"
#include "core/files/safetensors.hpp"
#include "optim/storage/storage.hpp"

namespace minima {

namespace {

using test::check_norm;
using test::Comparison;
using test::norm_of;
using test::recorded;
using test::reference;
using test::schedule_of;

}  // namespace

TEST_SUITE("golden") {
  TEST_CASE("the code maps are the public ones, bit for bit") {
    const auto path = reference("optim/quant_maps.safetensors");
    if (path.empty()) return;
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
    const auto [pairs, path] = recorded("quant_pairs");
    if (path.empty()) return;
    const SafetensorsFile file(path);
    const auto compare = [&file = file](const Json& pair) {
      const std::string name = pair["name"];
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
    };
    for (const Json& pair : pairs["pairs"]) test::try_case(pair["name"], [&] { compare(pair); });
  }

  TEST_CASE("gradients are clipped as by clip_grad_norm_") {
    const auto [clip, path] = recorded("clip_grad_norm");
    if (path.empty()) return;
    const SafetensorsFile file(path);
    const auto compare = [&file = file](const Json& c, double tolerance) {
      const std::string before = c["name"].get<std::string>() + ".before.",
                        after = c["name"].get<std::string>() + ".after.";
      std::map<std::string, Parameter> parameters;
      std::vector<Parameter*> all;
      for (const auto& [key, entry] : file.entries())
        if (key.starts_with(before)) {
          Parameter& p = parameters[key.substr(before.size())];
          p.gradient = file.read(key);
          all.push_back(&p);
        }
      CHECK_FALSE(all.empty());
      const double total = global_norm(all, norm_of(c["norm_type"])),
                   expected = file.read(c["name"].get<std::string>() + ".total_norm").item();
      if (std::isinf(expected) && std::isfinite(global_norm(all, Norm::maximum))) {
        MESSAGE(c["name"].get<std::string>(),
                " is not compared: the library's norm of finite gradients overflowed");
        return;
      }
      check_norm(total, expected);
      const float factor = static_cast<float>(clip_factor(total, c["max_norm"]));
      for (const auto& [name, p] : parameters) {
        Tensor scaled = p.gradient.values().clone();
        for (float& g : scaled.span<float>()) g *= factor;
        Comparison{.relative = tolerance}.check(name, scaled, file.read(after + name));
      }
    };
    for (const Json& c : clip["cases"])
      test::try_case(c["name"], [&, &clip = clip] { compare(c, clip["rtol"]); });
  }

  TEST_CASE("schedules follow the recorded curves") {
    const auto path = reference("optim/lr_schedules.json");
    if (path.empty()) return;
    static const std::map<std::string, std::string> kinds{
        {"transformers.get_linear_schedule_with_warmup", "linear"},
        {"transformers.get_constant_schedule", "constant"},
        {"transformers.get_constant_schedule_with_warmup", "constant"},
        {"transformers.get_cosine_schedule_with_warmup", "cosine"},
        {"transformers.get_cosine_with_hard_restarts_schedule_with_warmup", "cosine_restarts"},
        {"transformers.get_polynomial_decay_schedule_with_warmup", "polynomial"},
        {"transformers.get_inverse_sqrt_schedule", "inverse_sqrt"},
        {"transformers.get_cosine_with_min_lr_schedule_with_warmup", "cosine"},
        {"torch.optim.lr_scheduler.OneCycleLR", "one_cycle"},
        {"torch.optim.lr_scheduler.CosineAnnealingLR", "cosine"},
        {"torch.optim.lr_scheduler.CosineAnnealingWarmRestarts", "warm_restarts"},
        {"torch.optim.lr_scheduler.StepLR", "step"},
        {"torch.optim.lr_scheduler.ReduceLROnPlateau", "plateau"}};
    const auto compare = [](const Json& curve) {
      const std::string source = curve["source"];
      const auto kind = kinds.find(source);
      check(kind != kinds.end(), "no schedule here is {}", source);
      const Json& args = curve["args"];
      CAPTURE(args.dump());
      const double base = args.value("max_lr", curve["base_lr"].get<double>());
      const Schedule schedule = schedule_of(kind->second, args, base);
      ReduceOnPlateau plateau(schedule.plateau);
      for (std::size_t k = 0; k < curve["lr"].size(); ++k) {
        CAPTURE(k);
        if (curve.contains("metrics")) plateau.step(curve["metrics"].at(k));
        const double expected = curve["lr"][k];
        const double actual = base * schedule.factor(static_cast<i64>(k)) * plateau.factor();
        CHECK(std::abs(actual - expected) <= 1e-9 * std::abs(expected) + 1e-15);
      }
    };
    const Json curves = read_json(path);
    for (const Json& curve : curves["schedules"])
      test::try_case(curve["name"], [&] { compare(curve); });
  }
}

}  // namespace minima

/// What every optimizer must do, whatever its formula is. A rule outside of this tree gets the same:
///
///     register_rule<MyRule>();
///     check_conformance("my_rule");
///
/// in a doctest case of a program with a main (`#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN` in one file).
///
/// Checks run on the rule as it is, on every option of its table off its default in turn, and on all
/// of them together that go with one another (`variants` in tests/optim/support.hpp); where storage
/// has a part in it, on fp32, bf16 and block8. Shapes lie around the borders of blocks, vector registers and tasks.
#pragma once

#include <cmath>
#include <filesystem>
#include <random>
#include <set>

#include "core/buffer.hpp"
#include "core/cpu/threads.hpp"
#include "optim/registry.hpp"
#include "tests/optim/support.hpp"

namespace minima::test {

/// Vectors of 0 to 4,097, a scalar, matrices that are flat, steep and square, a batch of matrices;
/// and names that an option's pattern may find.
inline std::vector<ParameterShape> conformance_shapes() {
  std::vector<ParameterShape> result;
  for (i64 n : {0, 1, 255, 256, 257, 4095, 4096, 4097})
    result.push_back({fmt::format("v{}.bias", n), {n}});  // no decay: a group of their own
  for (const Shape& shape : {Shape{}, Shape{1, 300}, Shape{300, 1}, Shape{17, 241}, Shape{64, 64},
                             Shape{3, 5, 11}, Shape{4, 0}})
    result.push_back({fmt::format("w{}", shape), shape});
  result.push_back({"q_lin", {20, 30}});
  result.push_back({"embeddings", {30, 20}});
  return result;
}

/// How many threads work while it lives.
struct Threads {
  explicit Threads(int n) : before(threads()) { set_threads(n); }
  ~Threads() { set_threads(before); }
  int before;
};

template <class Check>
void for_specs(const std::string& name, const Check& check) {
  for (const std::string& spec : specs(name)) {
    CAPTURE(spec);
    check(spec);
  }
}

/// The options that give the rule this lr, such as relative_step=false:lr=0.1; "" if it has none.
inline std::string learning_rate(const std::string& name, const std::string& lr) {
  for (const std::string& options : variants(name)) {
    const std::size_t last = options.rfind(':') + 1;  // npos + 1 is 0
    if (options.compare(last, 3, "lr=") == 0) return options.substr(0, last) + "lr=" + lr;
  }
  return "";
}

inline bool has_option(const std::string& name, const std::string& option) {
  return default_options(name).contains(option);
}

/// The plan's bytes are those that are allocated.
inline void check_bytes(const std::string& name) {
  for_specs(name, [](const std::string& spec) {
    const Model model(conformance_shapes());
    const Optimizer optimizer = make_optimizer(spec, model.all());
    const StatePlan plan = plan_state(spec, conformance_shapes());
    i64 bytes = 0, elements = 0, scales = 0;
    for (const NamedTensor& x : optimizer.tensors()) {
      bytes += x.tensor.bytes();
      (x.name.ends_with(".absmax") ? scales : elements) += x.tensor.size();
    }
    CHECK(plan.bytes() == bytes);
    CHECK(plan.elements() == elements);
    CHECK(plan.scales() == scales);
    CHECK(optimizer.state().slots == plan.slots);
  });
}

/// What a step takes for the moment is what is predicted, on one thread to the byte.
inline void check_temporaries(const std::string& name) {
  const Threads one(1);
  for_specs(name, [](const std::string& spec) {
    const Model model(conformance_shapes());
    Optimizer optimizer = make_optimizer(spec, model.all());
    model.set_gradients(0);
    reset_peak_memory();
    const i64 before = memory_stats().live;
    optimizer.step();
    CHECK(memory_stats().peak - before ==
          temporary_bytes(*resolve(spec).rule, conformance_shapes()));
  });
}

/// A quadratic and Rosenbrock's valley, with some lr of a coarse grid. A step that is relative to
/// the weight and warms up by 10⁻⁶ t is the slowest: 400 of them take it down by 8 %.
inline void check_descends(const std::string& name) {
  struct Problem {
    Shape shape;
    float first, second;  ///< the start, alternating
    double (*loss)(const float* x, float* gradient, i64 n);
  };
  const Problem problems[] = {
      {{20, 30},
       1,
       -0.7f,
       [](const float* x, float* g, i64 n) {
         double sum = 0;
         for (i64 i = 0; i < n; ++i) g[i] = x[i], sum += 0.5 * static_cast<double>(x[i] * x[i]);
         return sum;
       }},
      {{2}, -1.2f, 1, [](const float* x, float* g, i64) {
         const float off = x[1] - x[0] * x[0];
         g[0] = -2 * (1 - x[0]) - 400 * x[0] * off, g[1] = 200 * off;
         return static_cast<double>((1 - x[0]) * (1 - x[0]) + 100 * off * off);
       }}};
  for_specs(name, [&](const std::string& spec) {
    const float direction = spec.find("maximize=true") == std::string::npos ? 1.0f : -1.0f;
    const double goal = spec.starts_with(name + ":state=") ? 0.25 : 0.9;
    for (const Problem& problem : problems) {
      CAPTURE(problem.shape);
      double best = HUGE_VAL;
      for (const char* lr : {"", "0.02", "0.1", "0.3", "0.003", "0.0003"}) {
        const Model model({{"w", problem.shape}});
        float* const x = model[0].value.data<float>();
        for (i64 i = 0; i < problem.shape.size(); ++i)
          x[i] = i % 2 ? problem.second : problem.first;
        const auto made = [&] {
          try {
            return make_optimizer(spec,
                                  {{model.all(), *lr ? learning_rate(name, lr) : std::string()}});
          } catch (const Error&) {  // it makes its own step size
            return make_optimizer(spec, model.all());
          }
        };
        Optimizer optimizer = made();
        Tensor gradient = Tensor::zeros(problem.shape);
        float* const g = gradient.data<float>();
        const double start = problem.loss(x, g, gradient.size());
        double last = start;
        for (int k = 0; k < 400 && std::isfinite(last); ++k) {
          for (float& each : gradient.span<float>()) each *= direction;
          model[0].gradient = gradient.clone();
          optimizer.step();
          last = problem.loss(x, g, gradient.size());
        }
        if (last / start < best) best = last / start;
        if (best < goal) break;
      }
      CHECK(best < goal);
    }
  });
}

/// Saved midway and continued, it goes on bit for bit; also on another number of threads.
inline void check_resumes(const std::string& name) {
  const auto file = std::filesystem::temp_directory_path() /
                    fmt::format("minima-{}-{}.safetensors", name, std::random_device{}());
  for_specs(name, [&](const std::string& spec) {
    const Model straight(conformance_shapes()), resumed(conformance_shapes());
    for (const Model* model : {&straight, &resumed})  // weights in bf16 as well
      for (std::size_t i : {6, 11}) (*model)[i].value = (*model)[i].value.to(DType::bf16);
    const auto step = [](const Model& model, Optimizer& optimizer, int k) {
      model.set_gradients(k);
      if (k == 0 || k == 2) model[5].gradient.clear();  // its own step count falls behind
      if (k < 3) model[6].gradient.clear();             // its first step comes after the save
      optimizer.step({.lr_factor = 1 - 0.1 * k, .clip_norm = 50});
    };
    Optimizer whole = make_optimizer(spec, decay_groups(straight.all(), spec));
    for (int k = 0; k < 3; ++k) step(straight, whole, k);
    whole.save(file);
    for (std::size_t i = 0; i < straight.parameters.size(); ++i)
      resumed[i].value.copy_from(straight[i].value);
    Optimizer second_half = make_optimizer(spec, decay_groups(resumed.all(), spec));
    second_half.load(file);
    for (int k = 3; k < 5; ++k) step(straight, whole, k);
    const Threads use(3);
    for (int k = 3; k < 5; ++k) step(resumed, second_half, k);
    check_same(straight, resumed);
    check_same_state(whole, second_half);
  });
  std::filesystem::remove(file);
}

/// A step computes with the values that are stored, however they are: it is that of a state of fp32 that holds them (but
/// for the rounding of sums, which are formed by blocks). Rows begin within blocks, and chunks of rows do.
inline void check_stored_values(const std::string& name) {
  for (const std::string& options : variants(name))
    for (const char* storage : {"bf16", "block8"}) {
      const std::string spec = join_options(name, options);
      CAPTURE(spec);
      CAPTURE(storage);
      const std::vector<ParameterShape> shapes{{"w", {300, 19}}, {"v", {333}}};
      const Model stored(shapes), plain(shapes);
      Optimizer a = make_optimizer(
                    fmt::format("{}:state={}:min_8bit_size=1:block_size=50", spec, storage),
                    stored.all()),
                b = make_optimizer(spec + ":state=fp32", plain.all());
      for (int k = 0; k < 3; ++k) {
        for (std::size_t i = 0; i < shapes.size(); ++i) plain[i].value = stored[i].value.clone();
        for (std::size_t i = 0; i < a.state().slots.size(); ++i)
          b.set_values(b.state().slots[i], a.values(a.state().slots[i]));
        stored.set_gradients(k), plain.set_gradients(k);
        a.step(), b.step();
        for (std::size_t i = 0; i < shapes.size(); ++i)
          check_close(stored[i].value, plain[i].value, {1e-6, 1e-6});
      }
    }
}

/// What is traced of an element are the kernel's numbers, bit for bit, and to look on changes none.
inline void check_trace(const std::string& name) {
  for_specs(name, [](const std::string& spec) {
    for (const std::string parameter :
         {"w", "q_lin", "embeddings"})  // the kinds of momentum of adapm
      for (const Shape& shape : {Shape{300}, Shape{20, 30}}) {
        const Model model({{parameter, shape}}), plain({{parameter, shape}});
        Optimizer optimizer = make_optimizer(spec, model.all());
        Optimizer unobserved = make_optimizer(spec, plain.all());
        for (int k = 0; k < 3; ++k) {
          model.set_gradients(k), plain.set_gradients(k);
          Probe probe;
          probe.element = (k * 131 + 7) % shape.size();
          optimizer.step(
              {.clip_norm = 3, .measure_norm = true, .probed = &model[0], .probe = &probe});
          unobserved.step({.clip_norm = 3});
          CAPTURE(parameter);
          CAPTURE(k);
          const std::vector<Trace::Line> lines = probe.trace.lines();
          const auto line = [&](const std::string& letter) {
            const auto found = std::find_if(lines.rbegin(), lines.rend(),
                                            [&](const auto& each) { return each.name == letter; });
            REQUIRE(found != lines.rend());
            return *found;
          };
          CHECK(line("p").value == model[0].value.data<float>()[probe.element]);
          CHECK(line("p").letters != line("p").numbers);
          for (const PlannedSlot& slot : optimizer.state().slots)
            if (slot.dense && slot.storage == Storage::fp32 && !slot.letter.empty())
              CHECK(line(slot.letter).value == optimizer.values(slot).data<float>()[probe.element]);
        }
        check_same(model, plain);
        check_same_state(optimizer, unobserved);
      }
  });
}

/// A slot with a value for each element is declared nonnegative where it never has a negative one, and only there: each has
/// a code map of its own, and the other one would make negative numbers 0, or round twice as coarsely.
inline void check_signs(const std::string& name) {
  for (const std::string& options : variants(name)) {
    CAPTURE(options);
    const Model model(conformance_shapes());
    Optimizer optimizer = make_optimizer(join_options(name, options) + ":state=fp32", model.all());
    std::map<std::string, bool> may_be_negative, is_negative;
    for (int k = 0; k < 3; ++k) {
      model.set_gradients(k);
      optimizer.step();
      for (const PlannedSlot& slot : optimizer.state().slots) {
        if (!slot.dense || slot.storage == Storage::i32) continue;
        const Tensor values = optimizer.values(slot);
        may_be_negative[slot.slot] = slot.sign == Sign::any;
        is_negative[slot.slot] |=
            std::ranges::any_of(values.span<float>(), [](float x) { return x < 0; });
      }
    }
    for (const auto& [slot, may_be] : may_be_negative) {
      CAPTURE(slot);
      CHECK(may_be == is_negative[slot]);
    }
  }
}

/// Where the gradient is 0, decay takes no weights away from 0.
inline void check_decay(const std::string& name) {
  for (const std::string& options : variants(name)) {
    if (options.find("weight_decay=") == options.npos) continue;
    CAPTURE(options);
    const Model model({{"w", {20, 30}}, {"v", {300}}});
    Optimizer optimizer = make_optimizer(join_options(name, options), model.all());
    const auto squares = [&] {
      double sum = 0;
      for (const Parameter* p : model.all())
        for (const float x : p->value.span<float>()) sum += static_cast<double>(x * x);
      return sum;
    };
    const double before = squares();
    for (Parameter* p : model.all()) p->gradient = Tensor::zeros(p->value.shape());
    optimizer.step();
    CHECK(squares() <= before);
  }
}

/// An option given to a group changes that group as it would change the optimizer, and no other.
inline void check_groups(const std::string& name) {
  for (const std::string& options : variants(name)) {
    CAPTURE(options);
    const Model grouped(conformance_shapes()), alone(conformance_shapes());
    const auto half = [](const Model& model, std::size_t first) {
      std::vector<Parameter*> result;
      for (std::size_t i = first; i < model.parameters.size(); i += 2) result.push_back(&model[i]);
      return result;
    };
    Optimizer optimizer =
        make_optimizer(name, {{half(grouped, 0), options}, {half(grouped, 1), ""}});
    Optimizer with = make_optimizer(join_options(name, options), half(alone, 0));
    Optimizer without = make_optimizer(name, half(alone, 1));
    for (int k = 0; k < 3; ++k) {
      grouped.set_gradients(k), alone.set_gradients(k);
      optimizer.step(), with.step(), without.step();
    }
    check_same(grouped, alone);
  }
}

/// A schedule's factor is a factor on lr.
inline void check_schedule(const std::string& name) {
  if (learning_rate(name, "0.5").empty()) return;
  const std::vector<ParameterShape> shapes{{"w", {300}}, {"q_lin", {17, 20}}};
  const Model scheduled(shapes), constant(shapes);
  Optimizer a = make_optimizer(join_options(name, learning_rate(name, "0.5")), scheduled.all());
  Optimizer b = make_optimizer(join_options(name, learning_rate(name, "0.125")), constant.all());
  for (int k = 0; k < 3; ++k) {
    scheduled.set_gradients(k), constant.set_gradients(k);
    a.step({.lr_factor = 0.25}), b.step();
  }
  CHECK(a.takes_schedule());
  check_same(scheduled, constant);
}

/// The parameters in which the gradient of one entry has a part in the steps of others. By state in
/// fp32: in block8 the entries of a block share a scale.
inline std::set<std::string> mixed(const std::string& spec) {
  const Model model(conformance_shapes()), other(conformance_shapes());
  for (const Model* each : {&model, &other}) {
    Optimizer optimizer =
        make_optimizer(spec.substr(0, spec.find(":state=")) + ":state=fp32", each->all());
    for (int k = 0; k < 2; ++k) {
      each->set_gradients(k);
      if (each == &other)
        for (Parameter* p : other.all())
          if (p->value.size() > 0) p->gradient.mutable_values().span<float>().front() += 3;
      optimizer.step();
    }
  }
  std::set<std::string> result;
  for (std::size_t i = 0; i < model.parameters.size(); ++i) {
    const auto a = model[i].value.span<float>(), b = other[i].value.span<float>();
    if (a.size() > 1 && !std::ranges::equal(a.subspan(1), b.subspan(1)))
      result.insert(model[i].name);
  }
  return result;
}

/// Without decay, what never had a gradient does not move: a coordinate; where a step mixes entries,
/// by sums over rows or columns or by products of matrices, a whole row and a whole column. The
/// gradient is +0 where the rule sees it: to block8, as in its public implementation, −0 is a small
/// negative number.
inline void check_stands_still(const std::string& name) {
  const std::string no_decay = has_option(name, "weight_decay") ? "weight_decay=0" : "";
  for_specs(name, [&](const std::string& spec) {
    const float zero = spec.find("maximize=true") == std::string::npos ? 0.0f : -0.0f;
    const Model model(conformance_shapes()), before(conformance_shapes());
    Optimizer optimizer = make_optimizer(spec, {{model.all(), no_decay}});
    const std::set<std::string> mixes = mixed(spec);
    const auto untouched = [&](const Parameter& p) {
      const Shape& shape = p.value.shape();
      const i64 m = shape.rank() > 0 ? shape[-1] : 1, n = shape.rank() > 1 ? shape[-2] : 1;
      std::vector<i64> result;
      for (i64 at = 0; at < p.value.size(); ++at)
        if (at / m % n % 5 == 3 || at % m % 9 == 7 || (!mixes.contains(p.name) && at % 7 == 2))
          result.push_back(at);
      return result;
    };
    for (int k = 0; k < 6; ++k) {
      model.set_gradients(k);
      for (Parameter* p : model.all())
        for (i64 at : untouched(*p)) p->gradient.mutable_values().data<float>()[at] = zero;
      optimizer.step();
    }
    for (std::size_t i = 0; i < model.parameters.size(); ++i) {
      CAPTURE(model[i].name);
      i64 moved = 0;
      for (i64 at : untouched(model[i]))
        moved += model[i].value.data<float>()[at] != before[i].value.data<float>()[at];
      CHECK(moved == 0);
      if (model[i].value.size() > 1) CHECK_FALSE(same_bits(model[i].value, before[i].value));
    }
  });
}

/// A parameter without a gradient, or not trainable, is skipped whole: weight, state and step count.
/// Its first step, later, is a first step.
inline void check_skips(const std::string& name) {
  for_specs(name, [](const std::string& spec) {
    const Model model(conformance_shapes()), before(conformance_shapes());
    enum { stepped, late, frozen };
    for (std::size_t i = frozen; i < model.parameters.size(); i += 3) model[i].trainable = false;
    Optimizer optimizer = make_optimizer(spec, model.all());
    Optimizer fresh = make_optimizer(spec, before.all());
    const auto step = [](const Model& of, Optimizer& by, int k, std::size_t first,
                         std::size_t last) {
      of.set_gradients(k);
      for (std::size_t i = 0; i < of.parameters.size(); ++i)
        if (i % 3 < first || i % 3 > last) of[i].gradient.clear();
      by.step();
    };
    for (int k = 0; k < 2; ++k)  // a rule may begin to move with its second step
      step(model, optimizer, k, stepped, stepped);
    step(model, optimizer, 1, frozen, frozen);
    std::set<std::string> names;
    for (std::size_t i = 0; i < model.parameters.size(); ++i)
      if (i % 3 == stepped)
        names.insert(model[i].name);
      else
        CHECK(same_bits(model[i].value, before[i].value));
    CHECK_FALSE(same_bits(model[3].value, before[3].value));
    const auto state = optimizer.tensors(), untouched = fresh.tensors();
    for (std::size_t i = 0; i < state.size(); ++i)
      if (!names.contains(state[i].name.substr(0, state[i].name.rfind('/'))))
        CHECK(same_bits(state[i].tensor, untouched[i].tensor));
    for (int k = 0; k < 2; ++k) {
      step(model, optimizer, k, late, late);
      step(before, fresh, k, late, late);
    }
    for (std::size_t i = late; i < model.parameters.size(); i += 3)
      CHECK(same_bits(model[i].value, before[i].value));
  });
}

/// A step that overflowed changes nothing, be it the first or a later one.
inline void check_overflow(const std::string& name) {
  for_specs(name, [](const std::string& spec) {
    const Model model(conformance_shapes()), same(conformance_shapes());
    Optimizer optimizer = make_optimizer(spec, model.all());
    Optimizer reference = make_optimizer(spec, same.all());
    for (int k = 0; k < 2; ++k) {
      model.set_gradients(9);
      model[k == 0 ? 1 : 12].gradient.mutable_values().span<float>().back() =
          k == 0 ? HUGE_VALF : std::nanf("");
      const StepReport report = optimizer.step({.skip_non_finite = true});
      CHECK(report.skipped);
      CHECK_FALSE(std::isfinite(*report.grad_norm));
      check_same(model, same);
      check_same_state(optimizer, reference);
      model.set_gradients(k), same.set_gradients(k);
      CHECK_FALSE(optimizer.step({.skip_non_finite = true}).skipped);
      reference.step();
    }
    check_same(model, same);
    check_same_state(optimizer, reference);
  });
}

/// A weight that is not finite after a step is told by it, watched or not, in f32 and in bf16, of any group; and a gradient
/// that is NaN makes one, by the next step at the latest.
inline void check_bad_weights(const std::string& name) {
  for_specs(name, [](const std::string& spec) {
    for (const bool watch : {false, true})
      for (const DType type : {DType::f32, DType::bf16}) {
        const Model model(conformance_shapes());
        Parameter& last = *model.all().back();
        last.value = last.value.to(type);
        Optimizer optimizer = make_optimizer(spec, model.all());
        const auto stepped = [&](i64 k) {
          model.set_gradients(k);
          return optimizer.step({.watch = watch}).bad_weights;
        };
        CHECK_FALSE(stepped(0));
        last.value.fill(HUGE_VAL);
        CHECK(stepped(1));
      }
    for (const std::size_t place :
         {0, 5, 37, 63, 64, 99}) {  // in a vector register, and behind the last
      CAPTURE(place);
      const Model model({{"w", {100}}});
      model[0].value.span<float>()[place] = -HUGE_VALF;
      Optimizer optimizer = make_optimizer(spec, model.all());
      model.set_gradients(0);
      CHECK(optimizer.step().bad_weights);
    }
    const Model model({{"w", {10, 10}}});
    Optimizer optimizer = make_optimizer(spec + ":non_finite_guard=false", model.all());
    bool told = false;
    for (int k = 0; k < 2; ++k) {
      model.set_gradients(k);
      if (k == 0) model[0].gradient.mutable_values().span<float>()[7] = std::nanf("");
      told |= optimizer.step().bad_weights;
    }
    CHECK(told);
  });
}

/// Under the guard, an entry that is not finite leaves its weight alone and is zero in the state
/// that is kept for each element; everything else stays finite.
inline void check_guard(const std::string& name) {
  for_specs(name, [](const std::string& spec) {
    const Model model(conformance_shapes()), before(conformance_shapes());
    Optimizer guarded = make_optimizer(spec + ":non_finite_guard=true", model.all());
    for (int k = 0; k < 3; ++k) {
      model.set_gradients(k);
      for (Parameter* p : model.all()) {
        if (p->value.size() < 2) continue;
        const auto g = p->gradient.mutable_values().span<float>();
        g.front() = std::nanf(""), g.back() = -HUGE_VALF;
      }
      guarded.step();
    }
    for (std::size_t i = 0; i < model.parameters.size(); ++i) {
      CAPTURE(model[i].name);
      const auto x = model[i].value.span<float>(), start = before[i].value.span<float>();
      CHECK(std::ranges::all_of(x, [](float each) { return std::isfinite(each); }));
      if (x.size() < 2) continue;
      CHECK(x.front() == start.front());
      CHECK(x.back() == start.back());
    }
    for (const PlannedSlot& slot : guarded.state().slots) {
      CAPTURE(slot.key());
      const Tensor values = guarded.values(slot);
      const auto x = values.span<float>();
      CHECK(std::ranges::all_of(x, [](float each) { return std::isfinite(each); }));
      const bool of_rank_two =
          slot.shape.rank() == 2 && slot.slot != "basis" && slot.slot != "coef";
      for (const Parameter* p : model.all())
        if (of_rank_two && p->name == slot.parameter && p->value.shape() == slot.shape &&
            x.size() > 1 && slot.shape[0] > 1 && slot.shape[1] > 1) {
          CHECK(x.front() == 0);
          CHECK(x.back() == 0);
        }
    }
  });
}

/// Three steps with gradients of the rows `ids`, others in each, are those with dense ones whose other rows are zero.
inline void check_rows_of(const std::string& spec, const std::vector<ParameterShape>& tables,
                          const std::vector<i64>& ids) {
  CAPTURE(spec);
  const Model dense(tables), rows(tables), again(tables);
  Optimizer a = make_optimizer(spec, dense.all()), b = make_optimizer(spec, rows.all()),
            c = make_optimizer(spec, again.all());
  for (i64 k = 0; k < 3; ++k) {
    std::vector<i64> given = ids;
    given[ids.size() - 2] += k;
    for (std::size_t i = 0; i < tables.size(); ++i) {
      std::vector<i64> shape(tables[i].shape.begin(), tables[i].shape.end());
      shape[0] = std::ssize(ids);
      rows[i].gradient =
          Gradient::rows(Tensor::from(given),
                         random_tensor(Shape(std::span<const i64>(shape)), fmt::format("g{}", k)));
      again[i].gradient = rows[i].gradient;
      dense[i].gradient = rows[i].gradient.to_dense(dense[i].value.shape());
    }
    c.tensors();  // whoever has the state in hand may have changed it
    a.step(), b.step(), c.step();
  }
  check_same(dense, rows), check_same(again, rows);
  check_same_state(a, b), check_same_state(c, b);
}

/// A gradient of rows is the dense gradient with zeros elsewhere, bit for bit; also to an optimizer that must read all of
/// its state before each step, for somebody could have written to it.
inline void check_rows(const std::string& name) {
  for_specs(name, [](const std::string& spec) {
    for (i64 width : {1, 7, 300}) {
      CAPTURE(width);
      check_rows_of(spec, {{"table", {50, width}}, {"cube", {50, 2, width}}}, {0, 3, 4, 17, 49});
    }
  });
}

/// Dense gradients, with rows of zeros in them, and gradients of rows may come in turns: with lazy rows too, no bit depends
/// on what the optimizer knows of its state.
inline void check_turns(const std::string& name) {
  for (const char* state : {"fp32", "bf16", "block8"})
    for (const bool lazy : {false, true}) {
      const std::string spec =
          fmt::format("{}:state={}:min_8bit_size=1:block_size=100:lazy_rows={}", name, state, lazy);
      CAPTURE(spec);
      const std::vector<ParameterShape> table{{"table", {30, 300}}};
      const Model knowing(table), asking(table);
      Optimizer a = make_optimizer(spec, knowing.all()), b = make_optimizer(spec, asking.all());
      for (int k = 0; k < 6; ++k) {
        const Gradient rows = Gradient::rows(Tensor::from<i64>({3, 7 + k % 3, 20}),
                                             random_tensor({3, 300}, fmt::format("g{}", k)));
        for (const Model* model : {&knowing, &asking})
          if (k % 2)
            (*model)[0].gradient = rows;
          else
            (*model)[0].gradient = rows.to_dense({30, 300});
        b.tensors();
        a.step(), b.step();
      }
      check_same(knowing, asking);
      check_same_state(a, b);
    }
}

/// Bad options are refused, each with its name, its value and what it may be; a misspelled one with
/// the nearest.
inline void check_refusals(const std::string& name) {
  const Model model({{"w", {4, 4}}});
  const auto refused = [&](const std::string& option, const std::string& value,
                           const std::string& words) {
    CAPTURE(option);
    CHECK_THROWS_WITH_AS(make_optimizer(name + ":" + option + "=" + value, model.all()),
                         doctest::Contains(words.c_str()), Error);
    CHECK_THROWS_WITH_AS(make_optimizer(name, {{model.all(), option + "=" + value}}),
                         doctest::Contains(words.c_str()), Error);
  };
  const Json options = default_options(name);
  for (const auto& [option, value] : options.items()) {
    refused(option + "s", "1", fmt::format("no option named '{0}s'; did you mean '{0}'", option));
    if (value.is_number()) refused(option, "nan", option + " is 'nan'; it must be a number");
    if (value.is_boolean()) refused(option, "1", option + " is '1'; it must be true or false");
    if (option.starts_with("beta") && option.size() == 5) {
      refused(option, "1", option + " is 1; it must be at least 0 and below 1");
      refused(option, "-0.1", option + " is -0.1; it must be at least 0");
    }
    if (option == "lr" || option == "weight_decay")
      refused(option, "-1", option + " is -1; it must be at least 0");
    if (option.starts_with("eps") && !value.is_string())
      refused(option, "-1", " 0");  // "at least 0", or "above 0"
  }
}

inline void check_conformance(const std::string& name) {
  CAPTURE(name);
  check_bytes(name), check_temporaries(name), check_descends(name), check_resumes(name),
      check_stored_values(name);
  check_trace(name), check_signs(name), check_decay(name), check_groups(name);
  check_schedule(name), check_stands_still(name), check_skips(name), check_overflow(name);
  check_bad_weights(name), check_guard(name), check_rows(name), check_turns(name);
  check_refusals(name);
}

}  // namespace minima::test

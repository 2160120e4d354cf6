#include "train/inspect.hpp"

#include "core/files/file.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

std::filesystem::path file(const std::string& name = "state") {
  static const test::Folder folder;
  return std::filesystem::path(folder.path()) / (name + ".safetensors");
}

/// An optimizer of one parameter `w` after no step.
struct Made {
  Made(const std::string& spec, const Shape& shape) : parameter{} {
    parameter.name = "w";
    parameter.value = Tensor::zeros(shape);
    optimizer.emplace(make_optimizer(spec, std::vector<Parameter*>{&parameter}));
  }
  void set(const std::string& slot, const std::vector<float>& values) {
    for (const PlannedSlot& planned : optimizer->state().slots)
      if (planned.slot == slot) optimizer->set_values(planned, Tensor::from(values, planned.shape));
  }
  StateFile saved(const std::string& name = "state") {
    optimizer->save(file(name));
    return StateFile(file(name));
  }
  Parameter parameter;
  std::optional<Optimizer> optimizer;
};

const PlannedSlot& slot_of(const StateFile& state, const std::string& slot) {
  const PlannedSlot* const found = state.find("w/" + slot);
  REQUIRE(found);
  return *found;
}

}  // namespace

TEST_CASE("statistics count what is not finite and put magnitudes into half decades") {
  const ValueStatistics s =
      statistics(Tensor::from(std::vector<float>{3, -4, 0, 0.5f, INFINITY, NAN, 1e-30f, 100}));
  CHECK(s.count == 8);
  CHECK(s.non_finite == 2);
  CHECK(s.zeros == 1);
  CHECK(s.min == -4);
  CHECK(s.max == 100);
  CHECK(s.rms == doctest::Approx(std::sqrt((9 + 16 + 0.25 + 10000) / 6)));
  // 0.5 = 10^-0.30, 3 = 10^0.48, 4 = 10^0.60, 100 = 10^2.
  CHECK(s.histogram.at(-1) == 1);
  CHECK(s.histogram.at(0) == 1);
  CHECK(s.histogram.at(1) == 1);
  CHECK(s.histogram.at(4) == 1);
  i64 sum = 0;
  for (const auto& [bin, count] : s.histogram) sum += count;
  CHECK(sum == 5);
  CHECK(std::isnan(statistics(Tensor::zeros({0})).rms));
}

TEST_CASE("differences are largest, relative, RMS and an angle") {
  const auto tensor = [](std::vector<float> x) { return Tensor::from(x); };
  // The multiple of (2, 2) nearest to (1, 0) is (1/2, 1/2).
  CHECK(difference(tensor({1, 0}), tensor({2, 2})).scaled_rms == doctest::Approx(std::sqrt(0.5)));
  CHECK(difference(tensor({0.1, 0.3, 7}), tensor({0.1, 0.3, 7})).scaled_rms == 0);
  const Difference d = difference(tensor({3, 0, 4, 1, NAN, 0}), tensor({3, 1, 2, 0, 1, 0}));
  CHECK(d.count == 6);
  CHECK(d.non_finite == 1);
  CHECK(d.max_abs == 2);
  CHECK(d.max_relative == 1);
  CHECK(d.lost == 1);
  CHECK(d.rms == doctest::Approx(std::sqrt(6.0 / 5)));
  CHECK(d.relative_rms == doctest::Approx(std::sqrt(6.0 / 26)));
  CHECK(d.cosine == doctest::Approx(17 / std::sqrt(26.0 * 14)));
  CHECK(d.scale == doctest::Approx(6.0 / 8));
  CHECK(difference(tensor({0, 0}), tensor({0, 0})).relative_rms == 0);
  CHECK(std::isinf(difference(tensor({0}), tensor({1})).relative_rms));
  CHECK_THROWS_AS(difference(tensor({0}), tensor({1, 2})), Error);
}

TEST_CASE("where nothing finite is compared there is no difference, and none of 0 either") {
  for (const Tensor& a : {Tensor::from<float>({NAN, INFINITY}), Tensor::zeros({0})}) {
    const Difference d = difference(a, Tensor::zeros(a.shape()));
    CHECK(d.non_finite == a.size());
    for (const double x : {d.max_abs, d.max_relative, d.rms, d.relative_rms, d.cosine, d.scale})
      CHECK(std::isnan(x));
  }
}

TEST_CASE("a saved state is read as it was kept, in every storage") {
  for (const char* storage : {"fp32", "bf16", "block8"}) {
    CAPTURE(storage);
    Made made(fmt::format("adamw:state={}:min_8bit_size=0:block_size=16", storage), {5, 8});
    std::vector<float> m, v;
    for (int i = 0; i < 40; ++i) {
      m.push_back(std::sin(static_cast<float>(i)));
      v.push_back(m.back() * m.back());
    }
    made.set("exp_avg", m);
    made.set("exp_avg_sq", v);
    const StateFile state = made.saved();
    CHECK(state.saved.optimizer == "adamw");
    CHECK(state.plan.bytes() == made.optimizer->state_bytes());
    for (const PlannedSlot& planned : made.optimizer->state().slots) {
      const PlannedSlot& slot = slot_of(state, planned.slot);
      CHECK(slot.shape == planned.shape);
      CHECK(slot.storage == planned.storage);
      const Tensor own = made.optimizer->values(planned), read = state.values(slot);
      REQUIRE(own.shape() == read.shape());
      CHECK(test::same_bits(own, read));
    }
  }
}

TEST_CASE("codes are counted and the worst block is the one with an outlier") {
  Made made("adamw8bit:min_8bit_size=0:block_size=16", {40});
  std::vector<float> m(40, 0.5f), v(40, 1.0f);
  for (std::size_t i = 0; i < 40; i += 2) m[i] = -0.5f;
  m[20] = 50;                                // in the block 16 … 31
  std::fill(v.begin() + 32, v.end(), 0.0f);  // the short last block
  made.set("exp_avg", m);
  made.set("exp_avg_sq", v);
  const StateFile state = made.saved();

  const CodeUse signed_use = code_use(state, slot_of(state, "exp_avg"));
  i64 sum = 0;
  for (i64 n : signed_use.histogram) sum += n;
  CHECK(sum == 40);
  // ±1 outside the middle block, there 1 and two codes near ±0.01.
  CHECK(signed_use.used == 4);
  CHECK(signed_use.histogram[255] == 8 + 1 + 4);
  CHECK(signed_use.histogram[0] == 8 + 4);
  CHECK(signed_use.at_extremes == doctest::Approx(25.0 / 40));
  CHECK(signed_use.at_zero == 0);
  CHECK(signed_use.worst.index == 1);
  CHECK(signed_use.worst.begin == 16);
  CHECK(signed_use.worst.end == 32);
  CHECK(signed_use.worst.absmax == 50);
  CHECK(signed_use.worst.ratio == doctest::Approx(100).epsilon(0.05));

  const CodeUse unsigned_use = code_use(state, slot_of(state, "exp_avg_sq"));
  CHECK(unsigned_use.used == 2);
  CHECK(unsigned_use.histogram[255] == 32);
  CHECK(unsigned_use.histogram[0] == 8);
  CHECK(unsigned_use.at_extremes == doctest::Approx(0.8));
  CHECK(unsigned_use.at_zero == doctest::Approx(0.2));
  CHECK(unsigned_use.worst.ratio == 1);

  Made plain("adamw", {4});
  const StateFile fp32 = plain.saved("plain");
  CHECK_THROWS_WITH_AS(code_use(fp32, slot_of(fp32, "exp_avg")),
                       "inspect: 'w/exp_avg' is stored as fp32; codes are block8's", Error);
}

TEST_CASE("the expected error of rounding is that of numbers that lie anywhere") {
  // Of evenly spread numbers the true error is near what the codes lead to expect.
  constexpr int n = 4096;
  std::vector<float> values(n);
  for (int i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = 1 - 2 * (i + 0.5f) / n;
  Made eight("adamw8bit:block_size=4096", {n}), whole("adamw", {n});
  eight.set("exp_avg", values);
  whole.set("exp_avg", values);
  const StateFile a = eight.saved("eight"), b = whole.saved("whole");
  const double expected = code_use(a, slot_of(a, "exp_avg")).expected_error;
  const Difference real =
      difference(b.values(slot_of(b, "exp_avg")), a.values(slot_of(a, "exp_avg")));
  CHECK(real.relative_rms > 0.001);
  const Tensor once = rounded(slot_of(a, "exp_avg"), Tensor::from(values));
  CHECK(test::same_bits(once, a.values(slot_of(a, "exp_avg"))));
  CHECK(rounded(slot_of(b, "exp_avg"), once).shares_storage(once));
  CHECK(expected / real.relative_rms == doctest::Approx(1).epsilon(0.02));
}

TEST_CASE("blocks that are not finite have no error of rounding, and leave the others theirs") {
  const auto error = [](std::vector<float> values) {
    Made made("adamw8bit:min_8bit_size=0:block_size=16", {std::ssize(values)});
    made.set("exp_avg", values);
    const StateFile state = made.saved();
    return code_use(state, slot_of(state, "exp_avg")).expected_error;
  };
  std::vector<float> half(16), whole(32);
  for (std::size_t i = 0; i < 16; ++i) half[i] = whole[i] = 0.03f * static_cast<float>(i + 1);
  CHECK(error(half) > 0);
  whole[20] = INFINITY;
  CHECK(error(whole) == error(half));
  half[5] = NAN;
  CHECK(std::isnan(error(half)));
  CHECK(error(std::vector<float>(16)) == 0);
}

TEST_CASE("factors are multiplied out and held against the whole second moment") {
  // R = (1, 3), C = (1, 2, 3), mean 2: V = ((.5, 1, 1.5), (1.5, 3, 4.5)).
  const std::vector<float> V{0.5f, 1, 1.5f, 1.5f, 3, 4.5f};
  Made whole("adamw", {2, 3});
  whole.set("exp_avg_sq", V);
  const StateFile reference = whole.saved("reference");
  for (const auto& [spec, row, column] :
       {std::tuple{"adafactor", "exp_avg_sq_row", "exp_avg_sq_col"},
        {"adafactor-torch", "row_var", "col_var"},
        {"came", "exp_avg_sq_row", "exp_avg_sq_col"}}) {
    CAPTURE(spec);
    Made made(spec, {2, 3});
    made.set(row, {1, 3});
    made.set(column, {1, 2, 3});
    const StateFile state = made.saved();
    const std::vector<FactorUse> uses = factor_use(state, state.plan.slots, &reference);
    const FactorUse& use = uses.at(0);
    CHECK(use.row == row);
    CHECK(use.batch == 1);
    CHECK(use.rows == 2);
    CHECK(use.columns == 3);
    CHECK(use.mean_row == 2);
    CHECK(use.mean_column == 2);
    CHECK(use.row_spread == 3);
    CHECK(use.column_spread == 3);
    CHECK(use.min == 0.5);
    CHECK(use.max == 4.5);
    CHECK(use.full == "exp_avg_sq");
    CHECK(use.error.max_abs == 0);
    CHECK(use.error.cosine == doctest::Approx(1));
    if (uses.size() > 1) CHECK(uses[1].full.empty());  // CAME's instability: nobody keeps it whole
    CHECK(factor_use(state, state.plan.slots, nullptr).at(0).full.empty());

    whole.set("exp_avg_sq", {0.5f, 1, 1.5f, 1.5f, 3, 5.5f});
    const StateFile other = whole.saved("other");
    const FactorUse off = factor_use(state, state.plan.slots, &other).at(0);
    CHECK(off.error.max_abs == 1);
    CHECK(off.error.rms == doctest::Approx(std::sqrt(1.0 / 6)));
    CHECK(off.error.scale == doctest::Approx(12.0 / 13));

    // As Adam keeps it, without bias correction: far off as it stands, the same but for its scale.
    whole.set("exp_avg_sq", {0.005f, 0.01f, 0.015f, 0.015f, 0.03f, 0.045f});
    const StateFile early = whole.saved("early");
    const FactorUse scaled = factor_use(state, state.plan.slots, &early).at(0);
    CHECK(scaled.error.relative_rms == doctest::Approx(99));
    CHECK(scaled.error.scaled_rms < 1e-6);
  }
  Made wrong("adamw", {3, 2}), made("adafactor", {2, 3});
  const StateFile turned = wrong.saved("turned"), state = made.saved();
  CHECK_THROWS_AS(factor_use(state, state.plan.slots, &turned), Error);
}

TEST_CASE("factors of a batch of matrices belong to their own matrix") {
  Made made("adafactor", {2, 2, 2});
  made.set("exp_avg_sq_row", {1, 3, 10, 10});
  made.set("exp_avg_sq_col", {2, 2, 5, 15});
  Made whole("adamw", {2, 2, 2});
  whole.set("exp_avg_sq", {1, 1, 3, 3, 5, 15, 5, 15});
  const StateFile state = made.saved(), reference = whole.saved("reference");
  const FactorUse use = factor_use(state, state.plan.slots, &reference).at(0);
  CHECK(use.batch == 2);
  CHECK(use.error.max_abs == 0);

  made.set("exp_avg_sq_row", {1, 3, NAN, 10});
  const StateFile partly = made.saved();
  const FactorUse finite = factor_use(partly, partly.plan.slots, nullptr).at(0);
  CHECK(finite.min == 1);
  CHECK(finite.max == 3);
}

TEST_CASE("two states are compared slot by slot, and what only one has is named") {
  Made a("adamw", {4}), b("adamw8bit:min_8bit_size=0", {4}), c("sgd:momentum=0.9", {4}),
      d("adamw", {5});
  a.set("exp_avg", {1, -0.5f, 0, 0.25f});
  b.set("exp_avg", {1, 1, 0, 1});
  const StateFile sa = a.saved("a"), sb = b.saved("b"), sc = c.saved("c"), sd = d.saved("d");
  const StateComparison same = compare_states(sa, sa.plan.slots, sb, sb.plan.slots);
  CHECK(same.common.size() == 3);
  CHECK(same.only_a.empty());
  CHECK(same.common[0].difference.max_abs == 1.5);
  CHECK(same.common[0].b->storage == Storage::block8);
  const StateComparison other = compare_states(sa, sa.plan.slots, sc, sc.plan.slots);
  CHECK(other.common.empty());
  CHECK(other.only_a == std::vector<std::string>{"w/exp_avg", "w/exp_avg_sq", "w/step"});
  CHECK(other.only_b == std::vector<std::string>{"w/momentum_buffer"});
  CHECK(compare_states(sa, sa.plan.slots, sd, sd.plan.slots).reshaped ==
        std::vector<std::string>{"w/exp_avg is [4] and [5]", "w/exp_avg_sq is [4] and [5]"});
}

TEST_CASE("a file that is cut off, flipped, or something else is one error") {
  Made made("adamw8bit:min_8bit_size=0", {6});
  made.set("exp_avg", {1, 2, 3, 4, 5, 6});
  made.optimizer->save(file());
  const std::string good = read_file(file());
  const auto refused = [&](const std::string& bytes) {
    write_file(file("bad"), bytes);
    try {
      StateFile state(file("bad"));
    } catch (const Error& error) {
      return error.fault == Fault::input &&
             std::string(error.what()).find('\n') == std::string::npos;
    }
    return false;
  };
  CHECK_FALSE(refused(good));
  for (std::size_t length = 0; length < good.size(); length += 7) {
    CAPTURE(length);
    CHECK(refused(good.substr(0, length)));
  }
  for (std::size_t at = 0; at < good.size(); ++at) {
    CAPTURE(at);
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << at % 8));
    CHECK(refused(bad));
  }

  save_safetensors(file("bad"), {{"x", Tensor::zeros({2})}});
  CHECK_THROWS_WITH_AS(StateFile(file("bad")),
                       fmt::format("{}: not an optimizer's state: its metadata has no 'format'",
                                   file("bad").string())
                           .c_str(),
                       Error);
}

}  // namespace minima

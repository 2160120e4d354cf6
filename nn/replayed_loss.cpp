#include "nn/replayed_loss.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <tuple>

#include "autograd/observer.hpp"
#include "core/ops/matmul.hpp"
#include "core/recording.hpp"

namespace minima::nn {
namespace {

/// What a recording is for; a step number is none of it.
using Key = std::tuple<BatchLayout, bool, u64, bool, DType, bool>;

Key key_of(const BatchLayout& layout, const Pass& pass) {
  return {layout,         pass.training,      pass.seed, pass.checkpoint_layers,
          pass.precision, ops::tf32_allowed()};
}

}  // namespace

struct ReplayedLoss::State {
  struct Recorded {
    std::vector<std::pair<const std::byte*, bool>>
        places;                ///< where each parameter lay, and whether it was trained
    Tensor numbers, step, dy;  // what goes in
    Tensor loss;               // what comes out
    Grads gradients;
    std::optional<Recording> forward, backward;
    u64 turn = 0;  ///< of its last replay
  };

  std::vector<Parameter*> parameters;
  Function loss;
  MemoryPool pool;
  std::map<Key, Recorded> recorded = {};
  u64 turn = 0;  ///< forward passes replayed

  auto places() const {
    std::vector<std::pair<const std::byte*, bool>> all;
    for (const Parameter* parameter : parameters)
      all.emplace_back(parameter->value.raw(), parameter->trainable);
    return all;
  }

  i64 count() const {
    return std::ranges::count_if(recorded, [](const auto& each) { return !!each.second.backward; });
  }

  void forget_one() {
    const auto turn_of = [](const auto& each) {
      return each.second.backward ? each.second.turn : std::numeric_limits<u64>::max();
    };
    recorded.erase(std::ranges::min_element(recorded, {}, turn_of));
  }

  void record(Recorded& to, const BatchLayout& layout, Pass pass) {
    const Device device = pool.device();
    to.places = places();
    to.numbers = Tensor::empty({layout.size()}, DType::i64, device);
    to.step = Tensor::empty({}, DType::i64, device);
    pass.step_there = to.step.data<i64>();
    Variable result;
    to.forward.emplace(pool, [&] { result = loss(layout.in(to.numbers), pass); });
    to.loss = result.value();
    to.dy = Tensor::empty_like(to.loss);
    Grads before;  // of the step's earlier batches
    for (Parameter* parameter : parameters)
      before.push_back(std::exchange(parameter->gradient, {}));
    const auto put_back = [&](const auto& keep) {
      for (std::size_t i = 0; i < parameters.size(); ++i)
        keep(std::exchange(parameters[i]->gradient, std::move(before[i])));
    };
    try {
      to.backward.emplace(pool, [&] { result.backward(to.dy); });
    } catch (...) {
      put_back([](Gradient) {});
      throw;
    }
    put_back([&](Gradient made) { to.gradients.push_back(std::move(made)); });
  }
};

ReplayedLoss::ReplayedLoss(std::vector<Parameter*> parameters, Function loss) {
  check(!parameters.empty(), "replayed loss: there are no parameters");
  const Device device = parameters.front()->value.device();
  state_.reset(new State{std::move(parameters), std::move(loss), MemoryPool(device)});
}

i64 ReplayedLoss::recorded() const { return state_->count(); }

Variable ReplayedLoss::operator()(const BatchLayout& layout, const Tensor& numbers,
                                  const Pass& pass) {
  State& state = *state_;
  if (!grad_enabled() || observed() || state.pool.device() == Device{})
    return state.loss(layout.in(numbers), pass);
  const auto [place, is_new] = state.recorded.try_emplace(key_of(layout, pass));
  if (is_new) return state.loss(layout.in(numbers), pass);
  const u64 turn = ++state.turn;  // no earlier loss may go back into what is made or forgotten now
  State::Recorded& recorded = place->second;
  if (!recorded.backward || recorded.places != state.places()) {
    recorded = {};
    if (state.count() == kMostRecorded) state.forget_one();
    try {
      state.record(recorded, layout, pass);
    } catch (const Error& error) {
      if (error.fault != Fault::memory) throw;
      recorded = {};
      release_cached_memory(state.pool.device());  // nothing can be, while work is recorded
      state.record(recorded, layout, pass);
    }
  }

  recorded.turn = turn;
  // Gradients of the step's earlier batches may lie where a replay writes.
  for (Parameter* parameter : state.parameters) parameter->gradient.unshare();
  recorded.numbers.copy_from(numbers);
  recorded.step.copy_from(Tensor::scalar(pass.step));
  recorded.forward->replay();
  std::vector<Variable> leaves;
  for (Parameter* parameter : state.parameters) leaves.emplace_back(*parameter);
  return minima::record("checkpoint", recorded.loss.clone(), std::move(leaves),
                        [kept = state_, &recorded, turn](const Tensor& dy) {
                          check(turn == kept->turn,
                                "replayed loss: backward comes after the next forward pass, which "
                                "has overwritten what it needs; take the losses one by one");
                          recorded.dy.copy_from(dy);
                          recorded.backward->replay();
                          return recorded.gradients;
                        });
}

}  // namespace minima::nn

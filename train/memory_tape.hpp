/// What predict_step runs a step on: the counterparts of core/tensor and autograd on sizes alone, as far as memory goes.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "train/memory.hpp"

namespace minima::sizes {

struct Allocator {
  i64 live = 0, peak = 0;
};

/// Bytes that count while somebody holds them.
using Tensor = std::shared_ptr<const i64>;

/// Of what needs no gradient.
constexpr std::size_t kNoNode = static_cast<std::size_t>(-1);

/// A result [rows, columns] and the node that made it.
struct Variable {
  mutable Tensor value;
  i64 rows, columns;
  std::size_t node;
  mutable Tensor rounded = nullptr;  ///< the same in two bytes a number
  bool given_rounded = false;        ///< and not in f32
};

/// nn::PackedRows, where its tensors are not the batch's own.
struct Rows {
  Tensor offsets, positions, examples;
};

using Grads = std::vector<Tensor>;
using Backward = std::function<Grads(const Tensor& dy)>;

/// autograd/variable.cpp: nodes in the order of their numbers.
class Tape {
 public:
  Tensor allocate(i64 elements, const char* name = "", i64 element_size = 4) {
    const i64 bytes = elements * element_size;
    allocator.live += bytes;
    allocator.peak = std::max(allocator.peak, allocator.live);
    Tensor tensor(new i64(bytes), [this](const i64* size) {
      allocator.live -= *size;
      delete size;
    });
    if (*name) named_.push_back({scope, name, tensor});
    return tensor;
  }

  /// The next batch, or one after it, of a step. It finds the gradients of those before.
  void begin_batch(i64 number) {
    batch_ = number;
    nodes_.clear();
  }
  /// A parameter that trains, by its place among those from 1 (0: none of the model's, and backward leaves its gradient in
  /// its node). A table's gradient is some of its rows, each of `row` numbers, and at most `most_rows` of them. `tied`: the
  /// parameter has a leaf before this one.
  std::size_t leaf(std::size_t place = 0, i64 row = 0, i64 most_rows = 0, bool tied = false) {
    Node& node = nodes_.emplace_back();
    node.place = place, node.row = row, node.most_rows = most_rows, node.tied = tied;
    return nodes_.size() - 1;
  }
  /// Says only now of which.
  std::size_t of_parameter(std::size_t leaf, std::size_t place) {
    nodes_[leaf].place = place;
    return place > 0 ? leaf : kNoNode;
  }
  /// A part of another tensor: together they are one, for whoever asks whether somebody else has it.
  Tensor part(const Tensor& whole, i64 elements) {
    return Tensor(whole, &part_sizes_.emplace_back(4 * elements));
  }
  /// gradient_so_far(): where it is dense, of so many bytes, and nobody else's.
  Tensor gradient_so_far(std::size_t input, i64 bytes) {
    if (input == kNoNode) return nullptr;
    Node& node = nodes_[input];
    const bool taken = node.gradient && node.gradient.use_count() == 1 && *node.gradient == bytes;
    return taken ? std::exchange(node.gradient, nullptr) : nullptr;
  }
  /// Gradients of rows, each with its id, which is as two numbers.
  Tensor rows_of_table(i64 rows, i64 row) { return allocate(rows * (row + 2)); }
  Variable record(Tensor value, i64 rows, i64 columns, std::vector<std::size_t> inputs,
                  Backward backward) {
    const auto none = [](std::size_t input) { return input == kNoNode; };
    if (!recording_ || std::ranges::all_of(inputs, none))
      return {std::move(value), rows, columns, kNoNode};
    nodes_.push_back({std::move(inputs), std::move(backward), nullptr, *value});
    return {std::move(value), rows, columns, nodes_.size() - 1};
  }

  /// autograd/checkpoint.cpp. `dy` of the result is what the gradient of x depends on alone.
  Variable checkpoint(const std::function<Variable(const Variable&)>& fn, const Variable& x) {
    if (x.node == kNoNode) return fn(x);
    recording_ = false;
    const Variable y = fn({x.value, x.rows, x.columns, x.node});
    recording_ = true;
    return record(y.value, y.rows, y.columns, {x.node},
                  [this, fn, from = x.value, rows = x.rows, columns = x.columns](const Tensor& dy) {
                    const Variable input{from, rows, columns, leaf()};
                    const Variable again = fn(input);
                    backward(again, dy, input.node);
                    return Grads{std::exchange(nodes_[input.node].gradient, nullptr)};
                  });
  }

  /// Down to the node after `last`, or all.
  void backward(const Variable& root, const Tensor& gradient,
                std::optional<std::size_t> last = {}) {
    nodes_[root.node].gradient = gradient;
    for (std::size_t n = nodes_.size(); n-- > (last ? *last + 1 : 0);) {
      Node& node = nodes_[n];
      if (!node.backward) {
        if (node.place > 0 && node.gradient) add_to_parameter(node);
        continue;
      }
      const Tensor gradient = std::exchange(node.gradient, nullptr);
      const Tensor dy = *gradient == node.bytes ? gradient : allocate(node.bytes, "", 1);
      const Grads grads = std::exchange(node.backward, nullptr)(dy);
      for (std::size_t i = 0; i < grads.size(); ++i) {
        if (node.inputs[i] == kNoNode) continue;
        Tensor& gradient = nodes_[node.inputs[i]].gradient;  // later ones are added to the first
        if (!gradient) gradient = grads[i];
      }
    }
  }

  /// The optimizer works on those whose gradients wait.
  void update() {
    if (waiting_.empty()) return;
    UpdateMemory& update = updates.emplace_back(UpdateMemory{allocator.live, {}});
    for (const auto& [place, gradient] : std::exchange(waiting_, {}))
      update.places.push_back(place - 1);
    waiting_bytes_ = 0;
  }

  /// What is alive and has a name.
  std::vector<Activation> kept() const {
    std::vector<Activation> result;
    for (const auto& [scope, name, tensor] : named_)
      if (const Tensor alive = tensor.lock()) result.push_back({scope, name, *alive});
    return result;
  }
  i64 gradient_bytes() const {
    i64 sum = 0;
    for (const auto& [place, gradient] : gradients_) sum += *gradient.values;
    return sum;
  }

  Allocator allocator;
  std::string scope;
  i64 together = 0;      ///< bytes of gradients that are used together in backward; 0: none is
  i64 most_waiting = 0;  ///< bytes of gradients
  std::vector<UpdateMemory> updates;

 private:
  struct Node {
    std::vector<std::size_t> inputs;
    Backward backward;
    Tensor gradient;
    i64 bytes = 0;          ///< of the result; a gradient of another type is converted
    std::size_t place = 0;  ///< of a leaf, as the rest
    i64 row = 0, most_rows = 0;
    bool tied = false;
  };
  struct Gradient {
    Tensor values;
    bool in_rows = false;
  };
  struct Named {
    std::string scope, name;
    std::weak_ptr<const i64> tensor;
  };

  /// core/parameter.cpp: Gradient::add.
  void add_to_parameter(Node& node) {
    Tensor gradient = std::exchange(node.gradient, nullptr);
    auto& [sum, in_rows] = gradients_[node.place];
    if (!sum || (in_rows && node.row == 0)) {  // rows are added to what is dense
      sum = std::move(gradient), in_rows = node.row > 0;
    } else if (in_rows) {  // both are brought together, then the rows of one id are added
      const Tensor both = allocate(*sum + *gradient, "", 1);
      const i64 rows = *gradient / (4 * (node.row + 2)) * (batch_ + 1);
      sum = rows_of_table(std::min(rows, node.most_rows), node.row);
    } else if (sum.use_count() > 1) {  // in place, where it is nobody else's
      sum = allocate(*sum, "", 1);
    }
    if (together > 0 && !node.tied) wait_for_update(node.place, std::exchange(sum, nullptr));
  }

  void wait_for_update(std::size_t place, Tensor gradient) {
    waiting_bytes_ += *gradient;
    most_waiting = std::max(most_waiting, waiting_bytes_);
    waiting_.emplace_back(place, std::move(gradient));
    if (waiting_bytes_ >= together) update();
  }

  std::vector<std::pair<std::size_t, Tensor>> waiting_;  // leaves' places and gradients
  i64 waiting_bytes_ = 0;
  i64 batch_ = 0;
  std::map<std::size_t, Gradient> gradients_;  // by place
  std::deque<i64> part_sizes_;
  std::deque<Node> nodes_;  // a checkpoint adds some while backward holds another
  std::vector<Named> named_;
  bool recording_ = true;
};

}  // namespace minima::sizes

#include "autograd/variable.hpp"

#include <atomic>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "autograd/observer.hpp"
#include "core/ops/finite.hpp"
#include "core/text/grouped.hpp"

namespace minima {

/// A step of the computation. Its inputs always have smaller numbers, so numbers in falling order
/// are a valid order for backward, and the same one in every run.
struct Node {
  std::string_view op;
  u64 number = 0;
  Shape shape;
  DType dtype = DType::f32;
  Device device;
  std::vector<std::shared_ptr<Node>> inputs;  // null where an input needs no gradient
  Backward backward;
  Gradient gradient;  // what has come in so far
  Parameter* parameter = nullptr;
  bool used = false;

  /// Frees what only this node holds one node after another: a long chain, left to the destructors
  /// of its members, would overflow the stack.
  ~Node() {
    std::vector<std::shared_ptr<Node>> pending = std::move(inputs);
    while (!pending.empty()) {
      const std::shared_ptr<Node> node = std::move(pending.back());
      pending.pop_back();
      if (!node || node.use_count() > 1) continue;
      std::ranges::move(node->inputs, std::back_inserter(pending));
      node->inputs.clear();
    }
  }
};

namespace {

thread_local bool recording = true;
thread_local bool finding = false;  ///< values that are not finite
std::atomic<u64> next_number{0};
thread_local const Observed::Observer* observer = nullptr;
thread_local Node* going_back = nullptr;  ///< whose backward is being called
struct WholeGradients;
thread_local WholeGradients* whole_gradients = nullptr;  ///< who wants to know of them

/// Of one backward with all that checkpoints go back through within it.
struct WholeGradients {
  explicit WholeGradients(const std::function<void(Parameter&)>& function)
      : whole(function), before(std::exchange(whole_gradients, this)) {}
  ~WholeGradients() { whole_gradients = before; }
  /// Counts the uses in the graph below, each once.
  void count(const Node& root) {
    std::vector<const Node*> pending{&root};
    std::unordered_set<const Node*> seen{&root};
    while (!pending.empty()) {
      const Node& node = *pending.back();
      pending.pop_back();
      if (node.parameter) ++uses[node.parameter];
      for (const std::shared_ptr<Node>& input : node.inputs)
        if (input && seen.insert(input.get()).second) pending.push_back(input.get());
    }
  }
  void end_use(Parameter& parameter) {
    if (--uses.at(&parameter) == 0) whole(parameter);
  }

  const std::function<void(Parameter&)>& whole;
  std::unordered_map<const Parameter*, i64> uses;
  WholeGradients* before;
};

/// Another node for as long as this lives.
struct GoingBack {
  explicit GoingBack(Node* node) : before(std::exchange(going_back, node)) {}
  ~GoingBack() { going_back = before; }
  Node* before;
};

struct Earlier {
  bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
    return a->number < b->number;
  }
};
/// Nodes to go back through, the latest first. What throws on the way leaves nothing on those to come: a leaf, or another
/// node that was not used, may be in the next graph too.
struct Ready
    : std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, Earlier> {
  ~Ready() {
    for (; !empty(); pop()) top()->gradient.clear();
  }
};

/// `shape_of(input)` for each input.
template <class Inputs, class F>
void observe(OpEvent::Kind kind, std::string_view op, const Shape& result, const Inputs& inputs,
             const F& shape_of) {
  if (!observer) return;
  std::vector<Shape> shapes;
  for (const auto& input : inputs) shapes.push_back(shape_of(input));
  (*observer)({kind, op, result, shapes});
}

/// Throws Error where a value is not finite: "the result of 'exp' [2, 3] holds inf at element 4".
void require_finite(const Tensor& value, const std::string& what) {
  if (const i64 at = ops::first_non_finite(value); at >= 0)
    fail_at_run_time(
        "{} {} holds {} at element {}", what, value.shape(),
        without_sign_of_nan(value.reshape({value.size()}).rows(at, at + 1).to(DType::f64).item()),
        at);
}

/// The same for what the backward of a node has given its inputs.
void require_finite(const Grads& grads, const Node& node) {
  for (std::size_t i = 0; i < grads.size(); ++i)
    if (const auto& input = node.inputs[i]; input && grads[i])
      require_finite(grads[i].values(),
                     input->parameter ? fmt::format("the gradient of '{}', through '{}',",
                                                    input->parameter->name, node.op)
                                      : fmt::format("the gradient of an input of '{}'", node.op));
}

/// What the backward of a node makes of its gradient, which goes; nothing where none came. Uses the node up.
Grads gradients_of_inputs(Node& node, Gradient gradient) {
  check(!node.used, "backward: the graph below '{}' was already used; compute the value again",
        node.op);
  node.used = true;
  if (!gradient) return {};
  Grads grads = needing_memory(
      [&] {
        const Backward backward = std::exchange(node.backward, nullptr);
        const GoingBack scope(&node);
        return backward(gradient.to_dense(node.shape).to(node.dtype));
      },
      "backward of '{}'", node.op);
  check(grads.size() == node.inputs.size(), "backward of '{}': {} gradients for {} inputs", node.op,
        grads.size(), node.inputs.size());
  return grads;
}

/// Throws Error for a gradient that `op` cannot have meant for this input, the i-th.
void require_fit(const Gradient& gradient, const Node& input, std::string_view op, std::size_t i) {
  if (!gradient) return;
  check(gradient.fits(input.shape),
        "backward of '{}': the gradient of input {} is {}, its value {}", op, i,
        gradient.values().shape(), input.shape);
  check(gradient.values().device() == input.device,
        "backward of '{}': the gradient of input {} lies on {}, its value on {}", op, i,
        to_string(gradient.values().device()), to_string(input.device));
  check(widened(gradient.values().dtype()) == widened(input.dtype),
        "backward of '{}': the gradient of input {} is {}, its value {}", op, i,
        dtype_name(gradient.values().dtype()), dtype_name(input.dtype));
}

}  // namespace

Observed::Observed(Observer function)
    : observer_(std::move(function)), before_(std::exchange(observer, &observer_)) {}
Observed::~Observed() { observer = before_; }
bool observed() { return observer || finding; }
FindNonFinite::FindNonFinite() : before_(std::exchange(finding, true)) {}
FindNonFinite::~FindNonFinite() { finding = before_; }

GradMode::GradMode(bool records) : before_(std::exchange(recording, records)) {}
GradMode::~GradMode() { recording = before_; }
bool grad_enabled() { return recording; }

Variable::Variable(Tensor value) : given_(value.dtype()) {
  (is_narrow(given_) ? rounded_ : wide_) = std::move(value);
}

const Tensor& Variable::value() const {
  if (!wide_.defined() && rounded_.defined()) wide_ = rounded_.to(DType::f32);
  return wide_;
}

const Tensor& Variable::value(DType type) const {
  if (!is_narrow(type) || widened(given_) != DType::f32 || !defined()) return value();
  if (!rounded_.defined() || rounded_.dtype() != type) rounded_ = value().to(type);
  return rounded_;
}

Variable::Variable(Parameter& parameter) : Variable(parameter.value) {
  if (finding) require_finite(given(), fmt::format("the weight '{}'", parameter.name));
  if (!parameter.trainable || !recording) return;
  check(is_float(given_),
        "'{}' is {}, which has no gradient; make it one of floats, or no trainable one",
        parameter.name, dtype_name(given_));
  node_ = std::make_shared<Node>();
  node_->op = "parameter";
  node_->number = next_number++;
  node_->shape = parameter.value.shape();
  node_->dtype = given_;
  node_->device = given().device();
  node_->parameter = &parameter;
}

Tensor gradient_so_far(std::size_t i, DType type) {
  check(going_back && i < going_back->inputs.size(),
        "gradient_so_far: input {}, asked for outside of a Backward or of its inputs", i);
  const std::shared_ptr<Node>& input = going_back->inputs[i];
  if (!input) return {};
  Gradient& gradient = input->gradient;
  const bool taken = gradient.kind() == Gradient::Kind::dense &&
                     gradient.values().dtype() == type && gradient.values().unique();
  return taken ? std::exchange(gradient, {}).values() : Tensor();
}

Variable record(OpName name, Tensor value, std::vector<Variable> inputs, Backward backward,
                Tensor rounded) {
  // Only the first: those behind it may be what an op can do without.
  check(inputs.empty() || inputs[0].defined(),
        "{}: its first operand is undefined; it was never given a value", name.name);
  check(bool(backward), "{}: record was given no backward", name.name);
  if (finding) require_finite(value, fmt::format("the result of '{}'", name.name));
  Variable result(std::move(value));
  if (rounded.defined()) result.rounded_ = std::move(rounded);
  observe(OpEvent::Kind::forward, name.name, result.shape(), inputs,
          [](const Variable& x) { return x.defined() ? x.shape() : Shape{0}; });
  if (!recording || std::ranges::none_of(inputs, &Variable::requires_grad)) return result;
  auto node = std::make_shared<Node>();
  node->op = name.name;
  node->number = next_number++;
  node->shape = result.shape();
  node->dtype = result.given_;
  node->device = result.given().device();
  for (Variable& input : inputs) node->inputs.push_back(std::move(input.node_));
  node->backward = std::move(backward);
  result.node_ = std::move(node);
  return result;
}

void Variable::backward() const {
  check(defined() && given().size() == 1,
        "backward: the value is {}, not a single number; give its gradient", shape());
  backward(Tensor::full(shape(), 1, given_, given().device()));
}

void Variable::backward(const Tensor& dy) const {
  check(requires_grad(),
        "backward: the value depends on no trainable parameter (or was computed under NoGrad)");
  check(dy.shape() == shape(), "backward: the gradient is {}, the value {}", dy.shape(), shape());
  check(dy.device() == node_->device, "backward: the gradient lies on {}, the value on {}",
        to_string(dy.device()), to_string(node_->device));

  if (whole_gradients) whole_gradients->count(*node_);
  Ready ready;
  std::unordered_set<const Node*> seen{node_.get()};
  node_->gradient.add(dy);
  ready.push(node_);
  while (!ready.empty()) {
    const std::shared_ptr<Node> node = ready.top();
    ready.pop();
    Gradient gradient = std::exchange(node->gradient, {});
    if (node->parameter) {
      if (gradient.kind() == Gradient::Kind::dense) gradient = gradient.values().to(node->dtype);
      needing_memory([&] { node->parameter->gradient.add(std::move(gradient)); },
                     "the gradient of '{}'", node->parameter->name);
      if (whole_gradients) whole_gradients->end_use(*node->parameter);
      continue;
    }
    Grads grads = gradients_of_inputs(*node, std::move(gradient));
    const auto shape_of = [](const std::shared_ptr<Node>& x) { return x ? x->shape : Shape{0}; };
    observe(OpEvent::Kind::backward, node->op, node->shape, node->inputs, shape_of);
    if (finding) require_finite(grads, *node);
    for (std::size_t i = 0; i < node->inputs.size(); ++i) {
      std::shared_ptr<Node>& input = node->inputs[i];
      if (!input) continue;
      if (i < grads.size()) {
        require_fit(grads[i], *input, node->op, i);
        input->gradient.add(std::move(grads[i]));
        grads[i].clear();
      }
      if (seen.insert(input.get()).second) ready.push(std::move(input));
    }
    observe(OpEvent::Kind::gradients, node->op, node->shape, node->inputs, shape_of);
    node->inputs.clear();
  }
}

void Variable::backward(const Tensor& dy, const std::function<void(Parameter&)>& whole) const {
  const WholeGradients counted(whole);
  backward(dy);
}

}  // namespace minima

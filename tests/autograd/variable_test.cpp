#include "autograd/variable.hpp"

#include "autograd/checkpoint.hpp"
#include "autograd/functions.hpp"
#include "autograd/layers.hpp"
#include "core/ops/elementwise.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::check_close;

namespace {

Tensor vector(const std::vector<float>& values) { return Tensor::from(values); }

}  // namespace

TEST_CASE("a value that is used twice gets the sum of both gradients") {
  Parameter w{"w", vector({1, 2, 3})};
  const Variable x(w), y = x * x;
  sum(y + y * x).backward();  // x² + x³
  check_close(w.gradient.values(), vector({2 + 3, 4 + 12, 6 + 27}));
}

TEST_CASE("a target that would make a loss of more numbers than there are predictions is refused") {
  const Variable column(Tensor::zeros({3, 1})), row(Tensor::zeros({3}));
  CHECK_THROWS_WITH_AS(mse(column, row), doctest::Contains("mse: the target [3] is no [3, 1]"),
                       Error);
  CHECK_THROWS_AS(bce_with_logits(column, row), Error);
  CHECK(mse(Variable(Tensor::zeros({2, 3})), row).value().item() == 0);
}

TEST_CASE("a loss is the mean of its terms, their sum, or each of them, as asked") {
  const Variable x(vector({1, 2, 4})), target(vector({1, 0, 1}));
  CHECK(mse(x, target).value().item() == doctest::Approx(13.0 / 3));
  CHECK(mse(x, target, Reduction::sum).value().item() == 13);
  check_close(mse(x, target, Reduction::none).value(), vector({0, 4, 9}), {0, 0});
  const Tensor each = bce_with_logits(x, target, Reduction::none).value();
  CHECK(bce_with_logits(x, target, Reduction::sum).value().item() ==
        doctest::Approx(static_cast<double>(each.data<float>()[0]) + each.data<float>()[1] +
                        each.data<float>()[2]));
}

TEST_CASE("a number stands on either side of an operator") {
  Parameter w{"w", vector({1, 2, 4}), {}};
  const Variable x(w);
  check_close((2.0 + x).value(), vector({3, 4, 6}), {0, 0});
  check_close((2.0 - x).value(), vector({1, 0, -2}), {0, 0});
  check_close((2.0 * x).value(), vector({2, 4, 8}), {0, 0});
  check_close((2.0 / x).value(), vector({2, 1, 0.5}), {0, 0});
  sum(1.0 - 8.0 / x).backward();  // 8 / x²
  check_close(w.gradient.values(), vector({8, 2, 0.5}), {0, 0});
}

TEST_CASE("gradients of several backward calls add up until they are cleared") {
  Parameter w{"w", vector({1, 2}), {}};
  for (int call = 1; call <= 3; ++call) {
    sum(square(Variable(w))).backward();
    check_close(w.gradient.values(),
                vector({2.0f * static_cast<float>(call), 4.0f * static_cast<float>(call)}));
  }
  w.gradient.clear();
  sum(square(Variable(w))).backward();
  check_close(w.gradient.values(), vector({2, 4}));
}

TEST_CASE("a gradient that two leaves share is not overwritten by what is added to one of them") {
  Parameter a{"a", vector({1, 2}), {}}, b{"b", vector({3, 4}), {}};
  sum(Variable(a) + Variable(b)).backward();  // both take over one tensor
  sum(Variable(a)).backward();
  check_close(a.gradient.values(), vector({2, 2}));
  check_close(b.gradient.values(), vector({1, 1}));
}

TEST_CASE("what a product adds to its input's gradient reaches no other that shares the tensor") {
  const auto parameter = [](const char* name, const Shape& shape) {
    return Parameter{name, Tensor::full(shape, 0.5), {}};
  };
  Parameter a = parameter("a", {2, 2}), b = parameter("b", {2, 2}), w1 = parameter("w1", {3, 2}),
            b1 = parameter("b1", {3}), w2 = parameter("w2", {2, 3}), b2 = parameter("b2", {2});
  const Variable x = square(Variable(a)), other = square(Variable(b));
  const Variable y = feed_forward(x, {Variable(w1), Variable(b1)}, {Variable(w2), Variable(b2)});
  sum((x + other) + y).backward();  // its gradient is one tensor for x and for other
  check_close(b.gradient.values(), Tensor::full({2, 2}, 1));
}

TEST_CASE("under NoGrad nothing is recorded, and afterwards everything is again") {
  Parameter w{"w", vector({1, 2}), {}};
  {
    NoGrad no_grad;
    CHECK_FALSE(grad_enabled());
    const Variable y = sum(Variable(w));
    CHECK_FALSE(y.requires_grad());
    CHECK_FALSE(Variable(w).requires_grad());
    CHECK_THROWS_WITH_AS(y.backward(),
                         "backward: the value depends on no trainable parameter (or was computed "
                         "under NoGrad)",
                         Error);
  }
  CHECK(grad_enabled());
  CHECK(sum(Variable(w)).requires_grad());
}

TEST_CASE("a checkpoint goes back under NoGrad as any graph does") {
  Parameter w{"w", vector({3, 3}), {}};
  const Variable y = checkpoint([](const Variable& x) { return square(x); }, Variable(w));
  const NoGrad no_grad;
  y.backward(Tensor::full({2}, 1));
  check_close(w.gradient.to_dense({2}), Tensor::full({2}, 6), {0, 0});
  CHECK_FALSE(grad_enabled());
}

TEST_CASE("a gradient is whole when every use in the graph has given its share") {
  Parameter a{"a", vector({2, 2}), {}}, b{"b", vector({3, 3}), {}};
  const Variable elsewhere = square(Variable(b));  // in no graph that goes back
  std::vector<std::string> whole;
  const auto overwrite = [&](Parameter& parameter) {
    whole.push_back(parameter.name);
    check_close(parameter.gradient.values(), Tensor::full({2}, parameter.name == "a" ? 5 : 6));
    parameter.value.fill(100);  // no op of the graph reads it any more
  };
  const Variable first = add(square(Variable(a)), Variable(a));  // 2 a + 1 = 5
  sum(add(first, square(Variable(b)))).backward(Tensor::full({}, 1), overwrite);
  CHECK(whole == std::vector<std::string>{"b", "a"});
  sum(Variable(a)).backward();
  CHECK(whole.size() == 2);
}

TEST_CASE("the gradients of what a checkpoint computes anew are whole too") {
  Parameter x{"x", vector({1, 1}), {}}, w{"w", vector({3, 3}), {}};
  std::vector<std::string> whole;
  const auto note = [&](Parameter& parameter) {
    whole.push_back(parameter.name);
    if (parameter.name == "w") check_close(parameter.gradient.values(), Tensor::full({2}, 7));
  };
  i64 computed = 0;
  const Variable y = checkpoint(
      [&](const Variable& in) {
        ++computed;
        const Variable once(w), again(w);
        return add(mul(in, mul(once, again)), Variable(w));  // 2 w + 1 = 7
      },
      Variable(x));
  sum(y).backward(Tensor::full({}, 1), note);
  CHECK(computed == 2);
  CHECK(whole == std::vector<std::string>{"w", "input of a checkpoint", "x"});
  check_close(x.gradient.values(), Tensor::full({2}, 9));
}

TEST_CASE("a parameter that is not trainable gets no gradient, and nothing is kept for it") {
  Parameter frozen{"frozen", vector({1, 2}), {}, false}, w{"w", vector({3, 4}), {}};
  CHECK_FALSE(square(Variable(frozen)).requires_grad());
  sum(Variable(frozen) * Variable(w)).backward();
  CHECK(frozen.gradient.kind() == Gradient::Kind::none);
  check_close(w.gradient.values(), vector({1, 2}));
}

TEST_CASE("linear_cross_entropy makes no gradient of a table that is not trained") {
  Parameter x{"x", Tensor::full({2, 4}, 1), {}};
  const Tensor table = Tensor::zeros({1000, 4}), bias = Tensor::zeros({1000});
  const i64 before = memory_stats().live;
  const Variable loss = linear_cross_entropy(Variable(x), table, bias, test::ids({7, 9}));
  CHECK(memory_stats().live - before < bias.bytes());
  loss.backward();
  check_close(x.gradient.values(), Tensor::zeros({2, 4}), {0, 0});
}

TEST_CASE("a value that is dropped takes nothing of the graph that others go back through") {
  Parameter w{"w", vector({1, 2}), {}};
  const Variable shared = square(Variable(w)), loss = sum(shared);
  { const Variable dropped = exp(shared); }
  loss.backward();
  check_close(w.gradient.values(), vector({2, 4}));
}

TEST_CASE("a graph serves one backward") {
  Parameter w{"w", vector({1, 2}), {}};
  const Variable loss = sum(square(Variable(w)));
  loss.backward();
  CHECK_THROWS_WITH_AS(loss.backward(),
                       "backward: the graph below 'sum' was already used; compute the value again",
                       Error);
}

TEST_CASE("a backward that throws leaves nothing behind for the next graph") {
  Parameter w{"w", vector({1, 2}), {}};
  const Variable x(w), y = square(x);  // both are kept
  const auto tried = [&](bool throws) {
    return sum(y + x + record(OpName::elsewhere("own"), x.value(), {x}, [=](const Tensor& dy) {
                 check(!throws, "own: throws");
                 return Grads{dy};
               }));
  };
  CHECK_THROWS_WITH_AS(tried(true).backward(), "own: throws", Error);
  w.gradient.clear();
  tried(false).backward();
  check_close(w.gradient.values(), vector({2 + 2, 4 + 2}));
}

TEST_CASE("backward asks for a single number, or for a gradient of the value's shape") {
  Parameter w{"w", vector({1, 2}), {}};
  const Variable y = square(Variable(w));
  CHECK_THROWS_WITH_AS(y.backward(),
                       "backward: the value is [2], not a single number; give its gradient", Error);
  CHECK_THROWS_WITH_AS(y.backward(Tensor::full({3}, 1)),
                       "backward: the gradient is [3], the value [2]", Error);
  y.backward(vector({1, 10}));
  check_close(w.gradient.values(), vector({2, 40}));
}

TEST_CASE("tied weights: rows from an embedding and a dense gradient merge into a dense one") {
  Parameter w{"w", Tensor::full({4, 2}, 1), {}};
  const Variable table(w);
  const Tensor ids = Tensor::from(std::vector<i64>{2, 0, 2});
  SUBCASE("in one graph") {
    sum(matmul(embedding(table, ids), table, Transpose::no, Transpose::yes)).backward();
  }
  SUBCASE("in two graphs, rows first") {
    sum(embedding(table, ids) * 4.0).backward();
    CHECK(w.gradient.kind() == Gradient::Kind::rows);
    sum(Variable(w) * 3.0).backward();
  }
  SUBCASE("in two graphs, dense first") {
    sum(Variable(w) * 3.0).backward();
    sum(embedding(table, ids) * 4.0).backward();
  }
  REQUIRE(w.gradient.kind() == Gradient::Kind::dense);
  // 3 for every entry as an output, 4 for each time it was looked up
  check_close(w.gradient.values(),
              Tensor::from(std::vector<float>{7, 7, 3, 3, 11, 11, 3, 3}, {4, 2}));
}

TEST_CASE("rows of several lookups merge by id") {
  Parameter w{"w", Tensor::full({5, 1}, 1), {}};
  const Variable table(w);
  const auto look_up = [&](const std::vector<i64>& ids) {
    return sum(embedding(table, Tensor::from(ids)));
  };
  (look_up({4, 1}) + look_up({3, 4})).backward();
  REQUIRE(w.gradient.kind() == Gradient::Kind::rows);
  check_close(w.gradient.ids(), Tensor::from(std::vector<i64>{1, 3, 4}));
  check_close(w.gradient.values(), Tensor::from(std::vector<float>{1, 1, 2}, {3, 1}));
}

TEST_CASE("the padding row of an embedding gets no gradient, and must be one of its rows") {
  Parameter w{"w", Tensor::full({3, 1}, 1), {}};
  for (i64 wrong : {-1, 3}) CHECK_THROWS_AS(embedding(Variable(w), test::ids({0}), wrong), Error);
  sum(embedding(Variable(w), Tensor::from(std::vector<i64>{0, 2, 0}), 0)).backward();
  check_close(w.gradient.ids(), Tensor::from(std::vector<i64>{2}));
}

TEST_CASE("a program's own op goes back as those of this tree do") {
  const auto reverse_gradient = [](const Variable& x) {
    return record(OpName::elsewhere("reverse_gradient"), x.value(), {x},
                  [](const Tensor& dy) { return Grads{ops::unary<ops::Neg>(dy)}; });
  };
  Parameter x{"x", Tensor::from(std::vector{1.0f, -2.0f}), {}};
  sum(square(reverse_gradient(Variable(x)))).backward();
  CHECK(x.gradient.values().data<float>()[0] == -2);
  CHECK(x.gradient.values().data<float>()[1] == 4);
  CHECK_THROWS_WITH_AS(record(OpName::elsewhere("own"), x.value, {x}, nullptr),
                       "own: record was given no backward", Error);
}

TEST_CASE("an op's gradient of another shape than its input's is refused") {
  Parameter w{"w", Tensor::full({3, 2}, 1), {}};
  const auto with = [&](const Variable& x, Gradient gradient) {
    sum(record(OpName::elsewhere("own"), x.value(), {x}, [gradient](const Tensor&) {
      return Grads{gradient};
    })).backward();
  };
  CHECK_THROWS_WITH_AS(with(Variable(w), Tensor::zeros({2})),
                       "backward of 'own': the gradient of input 0 is [2], its value [3, 2]",
                       Error);
  CHECK_THROWS_AS(with(square(Variable(w)), Tensor::zeros({2, 3})), Error);
  CHECK_THROWS_AS(with(Variable(w), Gradient::rows(test::ids({1}), Tensor::zeros({1, 3}))), Error);
  CHECK(!w.gradient);
  with(Variable(w), Gradient::rows(test::ids({1}), Tensor::full({1, 2}, 1)));
  CHECK(w.gradient.kind() == Gradient::Kind::rows);
}

TEST_CASE("an op's gradient of another type than its input's is refused, and a leaf of integers") {
  Parameter w{"w", Tensor::full({2}, 1), {}}, ids{"ids", test::ids({1, 2}), {}};
  const auto with = [&](DType type) {
    sum(record(OpName::elsewhere("own"), w.value, {w}, [type](const Tensor& dy) {
      return Grads{dy.to(type)};
    })).backward();
  };
  for (const DType type : {DType::f64, DType::i64})
    CHECK_THROWS_WITH_AS(
        with(type),
        fmt::format("backward of 'own': the gradient of input 0 is {}, its value f32",
                    dtype_name(type))
            .c_str(),
        Error);
  with(DType::bf16);
  check_close(w.gradient.values(), vector({1, 1}));
  CHECK_THROWS_WITH_AS(
      Variable{ids},
      "'ids' is i64, which has no gradient; make it one of floats, or no trainable one", Error);
  ids.trainable = false;
  CHECK_FALSE(Variable(ids).requires_grad());
}

TEST_CASE("an operand without a value is refused by name") {
  const Variable none, x = Tensor::zeros({2});
  CHECK_THROWS_WITH_AS(softmax(none, -1),
                       "softmax: its first operand is undefined; it was never given a value",
                       Error);
  const std::string given = "operand is undefined; it was never given a value";
  for (const auto& [op, f] : std::vector<std::pair<std::string, std::function<Variable()>>>{
           {"gelu: its first", [&] { return gelu(none); }},
           {"add: its first", [&] { return none + x; }},
           {"mul: its second", [&] { return x * none; }},
           {"where: its third", [&] { return where(Tensor::scalar(1), x, none); }},
           {"sum: its first", [&] { return sum(none); }},
           {"mean: its first", [&] { return mean(none); }},
           {"var: its first", [&] { return var(none); }},
           {"norm: its first", [&] { return norm(none); }},
           {"cumsum: its first", [&] { return cumsum(none, 0); }}})
    CHECK_THROWS_WITH_AS(f(), (op + " " + given).c_str(), Error);
  CHECK_THROWS_AS(reshape(none, {0, 1}), Error);
  CHECK_THROWS_AS(slice(none, {0, 0, 0}), Error);
  CHECK_THROWS_WITH_AS(cat({x, none}, 0), "cat: a part is undefined; it was never given a value",
                       Error);
}

TEST_CASE("deep graphs are freed without deep recursion") {
  Parameter w{"w", vector({1}), {}};
  Variable x(w);
  for (int i = 0; i < 200'000; ++i) x = x + 0.0;
  SUBCASE("after backward") { sum(x).backward(); }
  SUBCASE("unused") {}
}

TEST_CASE("functions pass on the ops' errors, with both shapes") {
  const Variable a = Tensor::zeros({2, 3}), b = Tensor::zeros({2, 4});
  CHECK_THROWS_WITH_AS(a + b,
                       "add: [2, 3] and [2, 4] do not broadcast; counted from the last dimension, "
                       "sizes must be equal or 1",
                       Error);
  CHECK_THROWS_AS(matmul(a, b), Error);
  CHECK_THROWS_WITH_AS(cat({a, b}, 2), "cat: [2, 3] has no dimension 2", Error);
  CHECK_THROWS_WITH_AS(reshape(a, {4, -1}), "reshape: 6 elements do not divide by 4", Error);
  CHECK_THROWS_WITH_AS(mean_pool(sum(a), test::ids({0})),
                       "mean_pool: x is [], offsets [1]; they must be [T, d] and [B+1]", Error);
}

TEST_CASE("gradients where a value is not finite, or its square is not, are those of the limit") {
  const auto gradient_of = [](float x, const auto& f) {
    Parameter p{.name = "x", .value = Tensor::full({2}, x), .gradient = {}};
    sum(f(Variable(p))).backward();
    return p.gradient.values().template data<float>()[0];
  };
  const float inf = INFINITY;
  CHECK(gradient_of(std::nanf(""), [](const Variable& x) { return relu(x); }) == 1);
  CHECK(gradient_of(0, [](const Variable& x) { return relu(x); }) == 0);
  CHECK(gradient_of(1e20f, [](const Variable& x) { return gelu_tanh(x); }) == 1);
  CHECK(gradient_of(-1e20f, [](const Variable& x) { return gelu_tanh(x); }) == 0);
  CHECK(gradient_of(-inf, [](const Variable& x) { return logsumexp(x); }) == 0);
  CHECK(gradient_of(1, [](const Variable& x) { return logsumexp(x); }) == doctest::Approx(0.5));
}

TEST_CASE("a checkpoint without a function is refused") {
  Parameter w{"w", vector({2})};
  for (const Variable& x : {Variable(w), Variable(w.value)})
    CHECK_THROWS_WITH_AS(checkpoint({}, x), "checkpoint: it was given no function", Error);
}

TEST_CASE("a checkpoint whose result depends on nothing that is trained passes no gradient on") {
  Parameter w{.name = "w", .value = Tensor::full({2}, 3), .gradient = {}};
  const Variable x(w);
  const Variable stopped =
      checkpoint([](const Variable& x) { return Variable(x.value()); }, square(x));
  sum(x * stopped).backward();
  CHECK(w.gradient.values().data<float>()[0] == 9);
}

TEST_CASE(
    "a value that a checkpoint's function captures is refused where it is used elsewhere too") {
  Parameter w{"w", vector({2})}, v{"v", vector({3})};
  const auto times = [](const Variable& y) { return [y](const Variable& x) { return x * y; }; };
  const Variable once = square(Variable(v)), twice = square(Variable(v));
  sum(checkpoint(times(once), Variable(w))).backward();
  check_close(w.gradient.values(), vector({9}));
  check_close(v.gradient.values(), vector({12}));
  CHECK_THROWS_WITH_AS(sum(checkpoint(times(twice), Variable(w)) + twice).backward(),
                       doctest::Contains("was already used"), Error);
}

/// Replays the operation cases of the reference set (model/ops/ops.json): each op by name, outputs
/// and gradients in f32 against values computed in f64.
#include <map>
#include <sstream>

#include "autograd/functions.hpp"
#include "autograd/layers.hpp"
#include "core/files/json.hpp"
#include "core/files/safetensors.hpp"
#include "core/ops/elementwise.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::check_close;
using test::Tolerance;

namespace {

struct Case {
  std::string name, op;
  Json attrs;
  std::map<std::string, Variable> inputs;
  std::map<std::string, Tensor> constants;

  const Variable& in(const std::string& key) const { return inputs.at(key); }
  const Tensor& constant(const std::string& key) const { return constants.at(key); }
  int dim() const { return attrs.at("dim").get<int>(); }
  Dims dims() const { return attrs.at("dims").get<Dims>(); }
  KeepDims keep() const { return attrs.at("keepdim").get<bool>() ? KeepDims::yes : KeepDims::no; }
  double eps() const { return attrs.at("eps").get<double>(); }
};

using Outputs = std::map<std::string, Variable>;
using Replay = std::function<Outputs(const Case&)>;

Reduction reduction(const Case& c) {
  const std::string name = c.attrs.at("reduction");
  REQUIRE((name == "none" || name == "sum" || name == "mean"));
  return name == "none" ? Reduction::none : name == "sum" ? Reduction::sum : Reduction::mean;
}

Variable replay_cross_entropy(const Case& c) {
  CrossEntropyOptions options{reduction(c),
                              c.attrs.at("label_smoothing").get<double>(),
                              c.attrs.at("ignore_index").get<i64>(),
                              {}};
  if (c.attrs.at("weighted").get<bool>()) options.weight = c.constant("weight");
  return cross_entropy(c.in("x"), c.constant("target"), options);
}

Variable replay_embedding(const Case& c) {
  const Json& padding = c.attrs.at("padding_idx");
  return embedding(c.in("w"), c.constant("ids"),
                   padding.is_null() ? std::nullopt : std::optional(padding.get<i64>()));
}

/// The flat places in a padded batch where the mask is 1, and how many of them each text has,
/// summed up: the packed form.
struct Kept {
  std::vector<i64> places, offsets{0};
  explicit Kept(const Tensor& mask) {
    for (i64 i = 0; i < mask.size(); ++i) {
      if (mask.data<i64>()[i] != 0) places.push_back(i);
      if ((i + 1) % mask.size(1) == 0) offsets.push_back(static_cast<i64>(places.size()));
    }
  }
};

Variable replay_mean_pool(const Case& c) {
  const Kept kept(c.constant("mask"));
  const Variable rows = reshape(c.in("x"), {-1, c.in("x").size(-1)});
  return mean_pool(index_select(rows, 0, Tensor::from(kept.places)), Tensor::from(kept.offsets));
}

/// The note has it as in Python, each dimension's begin, end and step: x[:, 1:3, ::2].
Variable replay_slice(const Case& c) {
  Variable x = c.in("x");
  std::istringstream dims(c.attrs.at("note").get<std::string>().substr(2));
  int dim = 0;
  for (std::string range; std::getline(dims, range, ','); ++dim) {
    i64 numbers[] = {0, x.size(dim), 1}, *number = numbers;
    std::istringstream parts(range);
    for (std::string part; std::getline(parts, part, ':'); ++number)
      if (part.find_first_of("0123456789") != part.npos) *number = std::stoll(part);
    x = slice(x, {dim, numbers[0], numbers[1], numbers[2]});
  }
  return x;
}

// ---- attention: q, k, v [B, heads, L, head_dim], mask [B, keys] or undefined

using Attention = std::function<Outputs(const Variable& q, const Variable& k, const Variable& v,
                                        const Tensor& mask)>;

/// Composed of the functions that its formula names.
Outputs composed_attention(const Variable& q, const Variable& k, const Variable& v,
                           const Tensor& mask) {
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(-1)));
  const Variable scores = matmul(q, k, Transpose::no, Transpose::yes) * scale;
  Variable weights;
  if (mask.defined()) {
    const Tensor keep = ops::expand(mask.reshape({mask.size(0), 1, 1, -1}), scores.shape());
    weights = softmax_masked(scores, keep);
  } else {
    weights = softmax(scores);
  }
  return {{"y", matmul(weights, v)}, {"aux_probs", weights}};
}

/// By the packed op: keys where the mask is 1, every query. It keeps no weights.
Outputs packed_attention(const Variable& q, const Variable& k, const Variable& v,
                         const Tensor& mask) {
  const i64 texts = q.size(0), heads = q.size(1), queries = q.size(2), keys = k.size(2),
            dim = heads * q.size(3);
  const Kept kept(mask.defined() ? mask : Tensor::full({texts, keys}, 1, DType::i64));
  const auto rows = [&](const Variable& x) {
    return reshape(transpose(x, 1, 2), {x.size(0) * x.size(2), dim});
  };
  const Tensor places = Tensor::from(kept.places);
  ops::AttentionRows layout{Tensor::empty({texts + 1}, DType::i64),
                            Tensor::zeros({texts * queries}, DType::i64),
                            Tensor::from(kept.offsets), Tensor::zeros({texts}, DType::i64)};
  for (i64 b = 0; b <= texts; ++b) layout.query_offsets.data<i64>()[b] = b * queries;
  const Variable y = attention(rows(q), index_select(rows(k), 0, places),
                               index_select(rows(v), 0, places), layout, heads);
  return {{"y", transpose(reshape(y, {texts, queries, heads, -1}), 1, 2)}};
}

/// DistilBERT's layer: LN(x + attention(x)), then LN(h + feed_forward(h)).
Variable transformer_block(const Case& c, const Attention& attention) {
  const Variable& x = c.in("x");
  const i64 heads = c.attrs.at("heads").get<i64>();
  const auto project = [&](const Variable& from, const std::string& which) {
    return linear(from, c.in("w" + which), c.in("b" + which));
  };
  const auto split = [&](const Variable& from) {
    return transpose(reshape(from, {x.size(0), x.size(1), heads, -1}), 1, 2);
  };
  const Variable mixed = attention(split(project(x, "q")), split(project(x, "k")),
                                   split(project(x, "v")), c.constant("mask"))
                             .at("y");
  const Variable joined = reshape(transpose(mixed, 1, 2), x.shape());
  const Variable h = layer_norm(x + project(joined, "o"), c.in("ln1w"), c.in("ln1b"), c.eps());
  const Variable fed = project(gelu(project(h, "1")), "2");
  return layer_norm(h + fed, c.in("ln2w"), c.in("ln2b"), c.eps());
}

std::map<std::string, Replay> replays(const Attention& attention) {
  std::map<std::string, Replay> table;
  // An op with one output, called y.
  const auto add_op = [&](const std::string& op, std::function<Variable(const Case&)> f) {
    table[op] = [f = std::move(f)](const Case& c) { return Outputs{{"y", f(c)}}; };
  };
  const std::pair<const char*, Variable (*)(const Variable&)> unary[] = {
      {"gelu_erf", gelu},   {"gelu_tanh", gelu_tanh},
      {"relu", relu},       {"tanh", tanh},
      {"sigmoid", sigmoid}, {"silu", silu},
      {"exp", exp},         {"log", log},
      {"sqrt", sqrt},       {"rsqrt", rsqrt},
      {"abs", abs},         {"neg", neg},
      {"square", square},   {"erf", erf}};
  for (const auto& [op, f] : unary) add_op(op, [f = f](const Case& c) { return f(c.in("x")); });
  const std::pair<const char*, Variable (*)(const Variable&, const Variable&)> binary[] = {
      {"add", add},         {"sub", sub},         {"mul", mul}, {"div", div},
      {"maximum", maximum}, {"minimum", minimum}, {"pow", pow}};
  for (const auto& [op, f] : binary)
    add_op(op, [f = f](const Case& c) { return f(c.in("a"), c.in("b")); });
  add_op("where", [](const Case& c) { return where(c.constant("c"), c.in("a"), c.in("b")); });

  const std::pair<const char*, Variable (*)(const Variable&, const Dims&, KeepDims)> reductions[] =
      {{"sum", sum}, {"mean", mean}, {"amax", amax}, {"amin", amin}, {"logsumexp", logsumexp}};
  for (const auto& [op, f] : reductions)
    add_op(op, [f = f](const Case& c) { return f(c.in("x"), c.dims(), c.keep()); });
  add_op("var", [](const Case& c) {
    return var(c.in("x"), c.dims(), c.attrs.at("correction").get<i64>(), c.keep());
  });
  add_op("norm", [](const Case& c) { return norm(c.in("x")); });
  add_op("cumsum", [](const Case& c) { return cumsum(c.in("x"), c.dim()); });
  add_op("l2_normalize", [](const Case& c) { return l2_normalize(c.in("x"), -1, c.eps()); });
  table["argmax"] = [](const Case& c) {
    return Outputs{{"index", ops::argmax(c.in("x").value(), c.dim())}};
  };

  add_op("softmax", [](const Case& c) { return softmax(c.in("x"), c.dim()); });
  add_op("log_softmax", [](const Case& c) { return log_softmax(c.in("x"), c.dim()); });
  add_op("softmax_masked",
         [](const Case& c) { return softmax_masked(c.in("x"), c.constant("keep")); });
  add_op("cross_entropy", replay_cross_entropy);
  add_op("bce_with_logits", [](const Case& c) {
    return bce_with_logits(c.in("x"), c.constant("target"), reduction(c));
  });
  add_op("mse", [](const Case& c) { return mse(c.in("x"), c.constant("target"), reduction(c)); });

  add_op("transpose", [](const Case& c) { return transpose(c.in("x"), c.dims()[0], c.dims()[1]); });
  add_op("permute", [](const Case& c) { return permute(c.in("x"), c.dims()); });
  add_op("slice", replay_slice);
  add_op("expand", [](const Case& c) {
    return expand(c.in("x"), Shape(c.attrs.at("shape").get<std::vector<i64>>()));
  });
  add_op("cat", [](const Case& c) { return cat({c.in("a"), c.in("b")}, c.dim()); });
  add_op("stack", [](const Case& c) { return stack({c.in("a"), c.in("b")}, c.dim()); });
  add_op("index_select",
         [](const Case& c) { return index_select(c.in("x"), c.dim(), c.constant("ids")); });
  add_op("gather", [](const Case& c) { return gather(c.in("x"), c.dim(), c.constant("ids")); });
  add_op("scatter_add", [](const Case& c) {
    return scatter_add(c.in("x"), c.dim(), c.constant("ids"), c.in("src"));
  });
  add_op("embedding", replay_embedding);
  add_op("mean_pool", replay_mean_pool);
  add_op("reused_input", [](const Case& c) {
    const Variable& x = c.in("x");
    return x * x + sum(x, {-1}, KeepDims::yes) * tanh(x);
  });

  add_op("matmul", [](const Case& c) { return matmul(c.in("a"), c.in("b")); });
  add_op("matmul_nt",
         [](const Case& c) { return matmul(c.in("a"), c.in("b"), Transpose::no, Transpose::yes); });
  add_op("matmul_tn",
         [](const Case& c) { return matmul(c.in("a"), c.in("b"), Transpose::yes, Transpose::no); });
  add_op("linear", [](const Case& c) {
    return linear(c.in("x"), c.in("w"), c.inputs.contains("b") ? c.in("b") : Variable());
  });
  add_op("layer_norm",
         [](const Case& c) { return layer_norm(c.in("x"), c.in("w"), c.in("b"), c.eps()); });
  table["attention"] = [=](const Case& c) {
    const Tensor mask = c.constants.contains("mask") ? c.constant("mask") : Tensor();
    return attention(c.in("q"), c.in("k"), c.in("v"), mask);
  };
  add_op("transformer_block", [=](const Case& c) { return transformer_block(c, attention); });
  return table;
}

/// 1e-5 but for three cases whose inputs magnify rounding: a mean of 1,000, a deviation of 1e-4,
/// and one feature, where 1/σ = 316 multiplies the rounding of an exact 0.
Tolerance tolerance(const std::string& name) {
  if (name == "layer_norm_offset") return {1e-3, 1e-5};
  if (name == "layer_norm_small") return {1e-5, 2e-4};
  if (name == "layer_norm_1_big") return {2e-4, 1e-5};
  return {};
}

void replay(const Json& record, const SafetensorsFile& file, const Replay& run) {
  const std::string name = record.at("name");
  Case c{name, record.at("op"), record.at("attrs"), {}, {}};
  std::map<std::string, Parameter> parameters;
  for (const auto& [key, shape] : record.at("inputs").items()) {
    Parameter& p = parameters[key] = {key, file.read(name + "/in." + key), {}};
    c.inputs[key] = Variable(p);
  }
  for (const auto& [key, shape] : record.at("consts").items())
    c.constants[key] = file.read(name + "/const." + key);

  const Outputs outputs = run(c);
  for (const auto& [key, output] : outputs) {
    CAPTURE(key);
    check_close(output.value(), file.read(name + "/out." + key), tolerance(name));
    if (file.contains(name + "/upstream." + key))
      output.backward(file.read(name + "/upstream." + key));
  }
  for (const auto& key : record.at("grads")) {
    const Parameter& p = parameters.at(key.get<std::string>());
    CAPTURE(p.name);
    REQUIRE(p.gradient);
    check_close(p.gradient.to_dense(p.value.shape()), file.read(name + "/grad." + p.name),
                tolerance(name));
  }
}

/// Replays all cases of a folder that `chosen` takes; an op without a replay is a failure.
int replay_all(const std::filesystem::path& folder, const Attention& attention,
               const std::function<bool(const std::string& op)>& chosen) {
  const Json records = read_json(folder / "ops.json");
  const SafetensorsFile file(folder / "ops.safetensors");
  const auto table = replays(attention);
  int count = 0;
  for (const Json& record : records) {
    const std::string op = record.at("op");
    if (!chosen(op)) continue;
    test::try_case(record.at("name"), [&] {
      CAPTURE(op);
      REQUIRE(table.contains(op));
      replay(record, file, table.at(op));
    });
    ++count;
  }
  return count;
}

bool any_op(const std::string&) { return true; }
bool uses_attention(const std::string& op) {
  return op == "attention" || op == "transformer_block";
}

}  // namespace

TEST_SUITE("golden") {
  TEST_CASE("every reference case of an op gives its outputs and gradients") {
    const std::filesystem::path manifest = test::reference("model/ops/ops.json");
    if (manifest.empty()) return;
    const int count = replay_all(manifest.parent_path(), composed_attention, any_op);
    CHECK(count == static_cast<int>(read_json(manifest).size()));
    MESSAGE(count, " cases of ", manifest.string());
  }

  TEST_CASE("the cases that the repository carries cover every op of the set") {
    const std::filesystem::path folder = test::source_folder() / "tests/golden/model/ops";
    CHECK(replay_all(folder, composed_attention, any_op) > 0);
    std::map<std::string, int> cases;
    for (const Json& record : read_json(folder / "ops.json")) ++cases[record.at("op")];
    for (const auto& [op, run] : replays(composed_attention)) {
      CAPTURE(op);
      CHECK(cases[op] > 0);
    }
  }

  TEST_CASE("packed attention gives the reference's outputs and gradients, whatever the mask") {
    const std::filesystem::path manifest = test::reference("model/ops/ops.json");
    if (manifest.empty()) return;
    CHECK(replay_all(manifest.parent_path(), packed_attention, uses_attention) > 0);
  }
}

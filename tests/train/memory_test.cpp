/// What `minima memory` predicts, against the allocator, the model, the trainer and the reference.
#include "train/memory.hpp"

#include <regex>

#include "core/cpu/threads.hpp"
#include "nn/models/masked_lm.hpp"
#include "optim/optimizer.hpp"
#include "tests/data/files.hpp"
#include "tests/nn/small_config.hpp"
#include "tests/support.hpp"
#include "train/classification.hpp"
#include "train/trainer.hpp"
#include "train/update_in_backward.hpp"

using namespace minima;
using test::contains;
using test::error_of;
using test::small_config;

namespace {

nn::EncoderConfig small_bert() {
  nn::EncoderConfig config = small_config();
  config.architecture = nn::Architecture::bert;
  config.token_types = 3;
  config.attention_output_dropout = 0.1;
  return config;
}

/// Every optimizer on every storage, and options that change what is kept.
std::vector<std::string> all_specs() {
  std::vector<std::string> specs{"sgd:momentum=0.9", "adamw:amsgrad=true", "adafactor:beta1=0.9"};
  for (const std::string& name : optimizer_names())
    for (const char* state : {"fp32", "bf16", "block8"})
      specs.push_back(name + ":state=" + state + ":min_8bit_size=512");
  return specs;
}

}  // namespace

TEST_CASE("a model whose steps nothing can hold is refused before anything is allocated") {
  nn::EncoderConfig config = small_config();
  check_fits(config, {"adamw"});
  config.dim = 65536, config.heads = 1, config.layers = 64;
  const i64 before = memory_stats().allocations;
  const std::string error = error_of([&] { check_fits(config, {"adamw:state=block8"}); });
  CAPTURE(error);
  CHECK(std::regex_match(
      error, std::regex("memory: every step of this training holds \\d+ MB or more \\(weights "
                        "\\d+, state of 'adamw:state=block8' \\d+\\), \\d+ are free here; a "
                        "smaller model needs less")));
  CHECK(memory_stats().allocations == before);
}

TEST_CASE("the parameters are the model's, by name, shape and order") {
  for (nn::EncoderConfig config : {small_config(), small_bert()}) {
    config.pooling =
        config.architecture == nn::Architecture::bert ? nn::Pooling::first : nn::Pooling::mean;
    const auto check_parameters = [&](nn::Module&& model, Texts texts) {
      const StepMemory step = predict_step(config, BatchShape::of_texts(2, 3), {.texts = texts});
      const std::vector<Parameter*> parameters = model.parameters();
      REQUIRE(step.parameters.size() == parameters.size());
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        CHECK(step.parameters[i].name == parameters[i]->name);
        CHECK(step.parameters[i].shape == parameters[i]->value.shape());
      }
      CHECK(step.parameter_count == model.parameter_count());
    };
    check_parameters(nn::Classifier(config), Texts::labelled);
    check_parameters(nn::MaskedLm(config), Texts::plain);
  }
}

TEST_CASE("every prediction is what the allocator measures, for every optimizer and storage") {
  const BatchShape batch = BatchShape::of_tokens(70, 17);
  const StepMemory step = predict_step(small_config(), batch);
  const int before = threads();
  set_threads(1);
  for (const std::string& spec : all_specs()) {
    CAPTURE(spec);
    const OptimizerMemory predicted = predict_optimizer(spec, step);
    const MeasuredMemory measured = measure_step(small_config(), batch, spec);
    for (const std::string& what : disagreements(step, predicted, measured)) FAIL_CHECK(what);
    CHECK(predicted.peak_bytes == measured.peak_bytes);
  }
  set_threads(before);
}

TEST_CASE("the peak of a step is exact for every kind of model and batch") {
  const int before = threads();
  set_threads(1);
  for (const nn::EncoderConfig& sizes : {small_config(), small_bert()})
    for (const double rate : {0.0, 0.1})
      for (const nn::Pooling pooling : {nn::Pooling::first, nn::Pooling::mean})
        for (const i64 layers : {1, 3})
          for (const BatchShape& batch :
               {BatchShape::of_texts(1, 1), BatchShape::of_texts(5, 2), BatchShape::of_texts(40, 3),
                BatchShape::of_texts(2, 40), BatchShape::of_tokens(333, 39)})
            for (const auto& [spec, kind] :
                 {std::pair{std::string("adamw"), StepKind{}},
                  {"adafactor", {}},
                  {"adamw", {.checkpoint_layers = true}},
                  {"adamw", {.precision = DType::bf16}},
                  {"adamw", {.freeze = {"embeddings"}}},
                  {"adamw", {.checkpoint_layers = true, .freeze = {"embeddings", "layer.0"}}},
                  {"adamw", {.precision = DType::bf16, .freeze = {"embeddings", "layer"}}},
                  {"adafactor", {.freeze = {"bias", "classifier.weight", "LayerNorm"}}},
                  {"adamw", {.checkpoint_layers = true, .precision = DType::f16}},
                  {"adamw", {.update_in_backward = true}},
                  {"adafactor",
                   {.checkpoint_layers = true,
                   .update_in_backward = true,
                   .freeze = {"embeddings"}}},
                  {"adamw", {.accumulate = 2}},
                  {"adafactor", {.precision = DType::bf16, .accumulate = 3}},
                  {"adamw",
                   {.checkpoint_layers = true, .freeze = {"layer.0", "bias"}, .accumulate = 6}},
                  {"adamw", {.texts = Texts::plain}},
                  {"adafactor", {.update_in_backward = true, .texts = Texts::plain}},
                  {"adamw",
                   {.checkpoint_layers = true,
                   .precision = DType::bf16,
                   .accumulate = 3,
                   .texts = Texts::plain}}}) {
              nn::EncoderConfig config = sizes;
              config.dropout = config.attention_dropout = config.classifier_dropout = rate;
              config.attention_output_dropout *= rate;
              config.pooling = pooling;
              config.layers = layers;
              CAPTURE(rate);
              CAPTURE(pooling);
              CAPTURE(layers);
              CAPTURE(batch.tokens);
              CAPTURE(spec);
              CAPTURE(kind.checkpoint_layers);
              CAPTURE(fmt::format("{}", fmt::join(kind.freeze, ",")));
              CAPTURE(dtype_name(kind.precision));
              CAPTURE(kind.accumulate);
              CAPTURE(kind.texts);
              const StepMemory step = predict_step(config, batch, kind);
              const MeasuredMemory measured = measure_step(config, batch, spec, kind);
              CHECK(step.activation_bytes == measured.activation_bytes);
              CHECK(step.gradient_bytes == measured.gradient_bytes);
              CHECK(predict_optimizer(spec, step).peak_bytes == measured.peak_bytes);
            }
  set_threads(before);
}

TEST_CASE("what making the model takes is no part of a step, however little of it trains") {
  nn::EncoderConfig config = small_config();
  config.dim = 64, config.heads = 2, config.layers = 1, config.hidden = 1;
  const BatchShape batch = BatchShape::of_texts(3, 2);
  const StepKind kind{.freeze = {"embeddings", "layer"}};
  const OptimizerMemory predicted = predict_optimizer("sgd", predict_step(config, batch, kind));
  CHECK(predicted.peak_bytes == measure_step(config, batch, "sgd", kind).peak_bytes);
}

TEST_CASE("where the optimizer's temporaries make the peak, they are exact too") {
  const int before = threads();
  set_threads(1);
  nn::EncoderConfig config = small_config();
  config.hidden = 900;
  config.vocabulary = 20;
  const BatchShape batch = BatchShape::of_texts(1, 1);
  const StepMemory step = predict_step(config, batch);
  for (const std::string spec :
       {"adapm", "adapm:factored=true", "adapm:rank=3:low_rank=ffn", "adapm:rank=24:low_rank=q_lin",
        "came", "adafactor", "adafactor-torch"}) {
    CAPTURE(spec);
    const OptimizerMemory predicted = predict_optimizer(spec, step);
    CHECK(predicted.peak_bytes >
          step.parameter_bytes + predicted.state.bytes() + step.working_peak);
    CHECK(predicted.peak_bytes == measure_step(config, batch, spec).peak_bytes);
  }
  set_threads(before);
}

TEST_CASE("with updates in backward few gradients wait, and the peak is where it is predicted") {
  const int before = threads();
  set_threads(1);
  // A matrix of 1 MB is used at once; one a little smaller waits for the next.
  for (const auto& [dim, hidden] :
       {std::pair<i64, i64>{64, 4096}, {512, 512}, {508, 512}, {300, 900}})
    for (const bool checkpointed : {false, true})
      for (const DType precision : {DType::f32, DType::bf16})
        for (const std::string spec : {"adamw", "adafactor", "adapm", "came:state=block8"}) {
          nn::EncoderConfig config = small_config();
          config.dim = dim;
          config.hidden = hidden;
          const BatchShape batch = BatchShape::of_texts(1, 2);
          CAPTURE(dim);
          CAPTURE(checkpointed);
          CAPTURE(dtype_name(precision));
          CAPTURE(spec);
          const StepKind kind{.checkpoint_layers = checkpointed,
                              .update_in_backward = true,
                              .precision = precision};
          const StepMemory step = predict_step(config, batch, kind);
          const OptimizerMemory predicted = predict_optimizer(spec, step);
          const MeasuredMemory measured = measure_step(config, batch, spec, kind);
          for (const std::string& what : disagreements(step, predicted, measured)) FAIL_CHECK(what);
          if (spec == "adamw") CHECK(predicted.peak_bytes == measured.peak_bytes);
          CHECK(step.gradient_bytes < 2 * kUpdatedTogether + 20'000);
        }
  set_threads(before);
}

TEST_CASE("the trainer's step peaks where it is predicted") {
  nn::EncoderConfig config = small_config();
  const BatchShape shape = BatchShape::of_texts(6, 9);
  for (const i64 batches : {1, 3}) {
    CAPTURE(batches);
    TrainingData data;
    for (i64 text = 0; text < batches * shape.texts; ++text) {
      for (i64 t = 0; t < shape.longest; ++t)
        data.train.tokens.push_back(static_cast<i32>(1 + text * shape.longest + t));
      data.train.offsets.push_back((text + 1) * shape.longest);
      data.train.labels.push_back(text % config.labels);
    }
    data.dev = data.test = data.train;

    const i64 before = memory_stats().live;
    reset_peak_memory();
    nn::Classifier model(config);
    model.initialize(1);
    Optimizer optimizer = make_optimizer("adamw", decay_groups(model.parameters()));
    i64 peak = 0;
    const TrainingOptions options{
        .epochs = 1, .batch = BatchSize::of_texts(shape.texts), .accumulate = batches};
    Trainer trainer(classification(model, data, options), optimizer, options);
    trainer.callbacks.push_back(
        {.step = [&](const StepRecord&, i64) { peak = memory_stats().peak - before; }});
    trainer.run();
    // The trainer lets go of the labels [texts] i64 behind the loss; the prediction keeps the batch.
    CHECK(predict_optimizer("adamw", predict_step(config, shape, {.accumulate = batches}))
              .peak_bytes == peak + 8 * shape.texts);
  }
}

TEST_CASE("a block keeps 8 dim + hidden + heads + 4 numbers for each token") {
  const nn::EncoderConfig config = small_config();
  const BatchShape batch = BatchShape::of_texts(7, 11);
  std::map<std::string, i64> scopes;
  i64 sum = 0;
  for (const Activation& activation : predict_step(config, batch).activations) {
    scopes[activation.scope] += activation.bytes;
    sum += activation.bytes;
  }
  const i64 of_row = 8 * config.dim + config.hidden + config.heads + 4;
  CHECK(scopes["block 0"] == 4 * batch.tokens * of_row);
  CHECK(scopes["block 1"] == scopes["block 0"]);
  // The last: keys and values of all, the rest (and the rows themselves) of each text's first token.
  CHECK(scopes["block 2"] ==
        4 * (batch.tokens * 2 * config.dim + batch.texts * (of_row - config.dim)));
  // The sum's rows, mean and deviation, the output; the example id of each row.
  CHECK(scopes["embeddings"] == batch.tokens * (4 * (2 * config.dim + 2) + 8));
  CHECK(sum == predict_step(config, batch).activation_bytes);
  CHECK(predict_step(config, batch).logits_bytes == 4 * batch.texts * config.labels);
}

TEST_CASE("with products of two bytes a block keeps half, but for statistics, and its weights") {
  const nn::EncoderConfig config = small_config();
  const BatchShape batch = BatchShape::of_texts(7, 11);
  const auto of_block = [&](const char* scope, const StepKind& kind) {
    i64 bytes = 0;
    for (const Activation& activation : predict_step(config, batch, kind).activations)
      if (activation.scope == scope) bytes += activation.bytes;
    return bytes;
  };
  const i64 weights = 2 * (4 * config.dim + 2 * config.hidden) * config.dim;
  CHECK(of_block("block 1", {.precision = DType::bf16}) ==
        batch.tokens * (2 * (8 * config.dim + config.hidden) + 4 * (config.heads + 4)) + weights);
  CHECK(of_block("block 1", {.precision = DType::f16}) ==
        of_block("block 1", {.precision = DType::bf16}));
}

TEST_CASE("with checkpointed layers a block keeps its input alone") {
  const nn::EncoderConfig config = small_config();
  const BatchShape batch = BatchShape::of_texts(7, 11);
  std::map<std::string, i64> scopes;
  for (const Activation& activation :
       predict_step(config, batch, {.checkpoint_layers = true}).activations)
    scopes[activation.scope] += activation.bytes;
  const i64 row = 4 * config.dim;
  CHECK(scopes["block 0"] == batch.tokens * row);  // its output is the next one's input
  CHECK(scopes["block 1"] == batch.tokens * row);
  CHECK(scopes["block 2"] == batch.texts * row);
}

TEST_CASE("DistilBERT with two labels needs what the design says") {
  const StepMemory step =
      predict_step(nn::preset("distilbert-base-cased"), BatchShape::of_texts(32, 128));
  CHECK(step.parameter_count == 65'783'042);
  CHECK(step.parameters.size() == 104);
  const auto check_state = [&](const std::string& spec, i64 elements, i64 scales, i64 megabytes) {
    CAPTURE(spec);
    const StatePlan state = predict_optimizer(spec, step).state;
    CHECK(state.elements() == elements);
    CHECK(state.scales() == scales);
    CHECK(((state.bytes() + (1 << 19)) >> 20) == megabytes);
  };
  check_state("adamw", 131'566'188, 0, 502);
  check_state("adafactor", 178'712, 0, 1);
  check_state("adamw8bit", 131'566'188, 513'432, 128);
  check_state("came", 66'078'048, 0, 252);
  const OptimizerMemory adamw = predict_optimizer("adamw", step),
                        adapm = predict_optimizer("adapm", step),
                        factored = predict_optimizer("adapm:factored=true", step);
  CHECK(adamw.momentum == step.parameter_count);
  CHECK(adapm.momentum <= adamw.momentum / 10);
  CHECK(factored.state.elements() <= adamw.state.elements() / 20);
}

TEST_SUITE("golden") {
  TEST_CASE("the state of DistilBERT is as large as the public libraries make it") {
    const auto file = test::reference("optim/state_sizes.json");
    if (file.empty()) return;
    const Json sizes = read_json(file);
    // "DistilBertForSequenceClassification, vocab_size 28996, dim 768, …"
    const std::string text = sizes["model"]["config"];
    Json config{{"model_type", "distilbert"}, {"max_position_embeddings", 512}};
    static const std::regex size(R"((\w+) (\d+))");
    for (std::sregex_iterator match(text.begin(), text.end(), size), end; match != end; ++match)
      config[(*match)[1]] = std::stoll((*match)[2]);
    const StepMemory step =
        predict_step(nn::EncoderConfig::from_json(config, text), BatchShape::of_texts(1, 1));
    CHECK(sizes["model"]["parameters"] == step.parameter_count);
    CHECK(sizes["model"]["tensors"] == step.parameters.size());
    const std::map<std::string, std::string> specs{
        {"SGD", "sgd"},
        {"SGD_momentum", "sgd:momentum=0.9"},
        {"Adam", "adam"},
        {"AdamW", "adamw"},
        {"AdamW_amsgrad", "adamw:amsgrad=true"},
        {"Adafactor_torch", "adafactor-torch"},
        {"Adafactor_HF", "adafactor"},
        {"Adafactor_HF_beta1", "adafactor:beta1=0.9"},
        {"CAME", "came"},
        {"AdamW8bit", "adamw8bit"},
        {"AdamW8bit_embeddings_32bit", "adamw8bit:fp32=embeddings.word|embeddings.position"},
        {"AdaPM_minima_rank16", "adapm:rank=16"}};
    const std::function<void(const std::string&, const Json&)> compare =
        [&](const std::string& spec, const Json& recorded) {
          CAPTURE(spec);
          const OptimizerMemory memory = predict_optimizer(spec, step);
          CHECK(memory.state.elements() + memory.state.scales() ==
                recorded.value("elements_with_python_scalars", recorded.at("elements")));
          if (recorded.contains("momentum_elements"))
            CHECK(memory.momentum == recorded["momentum_elements"]);
          if (recorded.contains("with_factored_second_moment"))
            compare(spec + ":factored=true", recorded["with_factored_second_moment"]);
        };
    for (const auto& [name, recorded] : sizes["optimizers"].items())
      test::try_case(name, [&, &name = name, &recorded = recorded] {
        const auto spec = specs.find(name);
        check(spec != specs.end(), "no optimizer is known here as '{}'", name);
        compare(spec->second, recorded);
      });
  }
}

TEST_CASE("what the measurement contradicts is said with both numbers") {
  const BatchShape batch = BatchShape::of_texts(2, 5);
  const StepMemory step = predict_step(small_config(), batch);
  const OptimizerMemory adamw = predict_optimizer("adamw", step);
  const MeasuredMemory good{step.parameter_bytes,  adamw.state.elements(), adamw.state.bytes(),
                            step.activation_bytes, step.gradient_bytes,    adamw.peak_bytes};
  CHECK(disagreements(step, adamw, good).empty());
  for (i64 MeasuredMemory::*number :
       {&MeasuredMemory::parameter_bytes, &MeasuredMemory::state_elements,
        &MeasuredMemory::state_bytes, &MeasuredMemory::activation_bytes,
        &MeasuredMemory::gradient_bytes}) {
    MeasuredMemory off = good;
    off.*number += 1;
    const std::vector<std::string> found = disagreements(step, adamw, off);
    REQUIRE(found.size() == 1);
    CHECK(contains(found[0], fmt::format("{} predicted, {} measured", good.*number, off.*number)));
  }
  MeasuredMemory off = good;
  off.peak_bytes = good.peak_bytes * 99 / 100;
  CHECK(disagreements(step, adamw, off).empty());
  off.peak_bytes = good.peak_bytes * 97 / 100;
  CHECK(disagreements(step, adamw, off).size() == 1);
}

TEST_CASE(
    "temporaries of parameters side by side need not meet, but where one thread has them all") {
  const BatchShape batch = BatchShape::of_texts(1, 1);
  const StepMemory step = predict_step(small_config(), batch);
  const int before = threads();
  for (const int n : {1, 3}) {
    set_threads(n);
    const OptimizerMemory adapm = predict_optimizer("adapm", step);
    MeasuredMemory apart{step.parameter_bytes,  adapm.state.elements(), adapm.state.bytes(),
                         step.activation_bytes, step.gradient_bytes,    adapm.peak_bytes};
    REQUIRE(adapm.temporary_bytes > adapm.peak_bytes / 40);
    apart.peak_bytes -= adapm.temporary_bytes;
    CHECK(disagreements(step, adapm, apart).size() == (n == 1));
    apart.peak_bytes = adapm.peak_bytes * 103 / 100;
    CHECK(disagreements(step, adapm, apart).size() == 1);
  }
  set_threads(before);
}

TEST_CASE("sizes at their limits are counted without overflow, and beyond them refused by name") {
  nn::EncoderConfig largest;
  largest.dim = 1 << 16;
  largest.layers = 1000;
  largest.heads = 1 << 16;
  largest.hidden = 1 << 18;
  largest.vocabulary = 1 << 24;
  largest.positions = 1 << 22;
  largest.labels = 1 << 20;
  const StepMemory step = predict_step(largest, BatchShape::of_tokens(1 << 24, 1 << 22));
  const OptimizerMemory adam = predict_optimizer("adam:amsgrad=true", step);
  CHECK(step.parameter_count > i64{1} << 45);
  CHECK(step.activation_bytes > i64{1} << 54);
  CHECK(adam.peak_bytes > step.activation_bytes);
  CHECK(adam.sum_bytes > adam.peak_bytes / 2);

  const auto refused = [&](i64 nn::EncoderConfig::*size, const char* option, const char* key) {
    for (const i64 value : {largest.*size + 1, i64{0}, i64{-1}, i64{1} << 62}) {
      nn::EncoderConfig config = largest;
      config.*size = value;
      CAPTURE(value);
      const std::string said = error_of([&] { check_limits(config); });
      CHECK(contains(said, fmt::format("--{} is {}", option, value)));
      CHECK(contains(said, std::to_string(largest.*size)));
      CHECK(contains(error_of([&] { check_limits(config, "c.json"); }),
                     fmt::format("c.json: '{}' is {}", key, value)));
    }
  };
  using Config = nn::EncoderConfig;
  refused(&Config::layers, "layers", "n_layers");
  refused(&Config::vocabulary, "vocabulary", "vocab_size");
  refused(&Config::positions, "positions", "max_position_embeddings");
  refused(&Config::labels, "labels", "num_labels");
  refused(static_cast<i64 Config::*>(&Config::dim), "dim", "dim");
  refused(static_cast<i64 Config::*>(&Config::heads), "heads", "n_heads");
  refused(static_cast<i64 Config::*>(&Config::hidden), "hidden", "hidden_dim");

  for (const BatchShape& batch : {BatchShape{0, 0, 0}, BatchShape::of_texts(1, 41),
                                  BatchShape::of_texts(1 << 22, 5), BatchShape{3, 2, 1}})
    CHECK(contains(error_of([&] { predict_step(small_config(), batch); }), "memory: "));
  for (const StepKind& kind :
       {StepKind{.accumulate = 0}, {.update_in_backward = true, .accumulate = 2}})
    CHECK(contains(error_of([&] { predict_step(small_config(), {1, 1, 1}, kind); }), "accumulate"));
}

TEST_CASE("a scale becomes an encoder of about as many parameters") {
  CHECK(parse_scale("7b") == 7'000'000'000);
  CHECK(parse_scale("1.5B") == 1'500'000'000);
  CHECK(parse_scale("350m") == 350'000'000);
  CHECK(parse_scale("66000000") == 66'000'000);
  for (const char* wrong : {"", "b", "7x", "7bb", "0", "-7b", "nan", "inf", "1e40", "2m", "11t"})
    CHECK(contains(error_of([&] { parse_scale(wrong); }), "scale: "));
  for (const char* scale : {"2.5m", "3.5m", "5m", "7.1m", "10m", "14m", "20m", "38m"}) {
    CAPTURE(scale);
    const i64 asked = parse_scale(scale);
    const StepMemory step = predict_step(config_of_scale(asked), BatchShape::of_texts(1, 128));
    CHECK(static_cast<double>(step.parameter_count) ==
          doctest::Approx(static_cast<double>(asked)).epsilon(0.09));
  }
  for (const char* scale : {"100m", "350m", "1b", "7b", "70b", "175b", "10t"}) {
    CAPTURE(scale);
    const nn::EncoderConfig config = config_of_scale(parse_scale(scale));
    const double asked = static_cast<double>(parse_scale(scale));
    const i64 live = memory_stats().live;
    const StepMemory step = predict_step(config, BatchShape::of_texts(1, 128));
    CHECK(memory_stats().live == live);
    CHECK(static_cast<double>(step.parameter_count) == doctest::Approx(asked).epsilon(0.08));
    CHECK(config.hidden == 4 * config.dim);
    CHECK(config.dim == 64 * config.heads);
    CHECK(static_cast<double>(config.dim) / static_cast<double>(config.layers) ==
          doctest::Approx(128).epsilon(0.25));
  }
}

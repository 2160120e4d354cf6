/// A result of `minima compare` with made-up numbers, in the shape that the program writes.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "core/files/json.hpp"

namespace minima::test {

struct SampleSize {
  int seeds = 3, steps = 40, epochs = 4;
};

inline Json sample_scores(double accuracy, std::size_t labels, int texts) {
  Json confusion = Json::array();
  for (std::size_t i = 0; i < labels; ++i) {
    Json row = Json::array();
    for (std::size_t j = 0; j < labels; ++j) row.push_back(i == j ? texts : 1);
    confusion.push_back(row);
  }
  Json scores = {{"accuracy", accuracy}, {"macro_f1", accuracy - 0.0125}, {"loss", 1.5 - accuracy}};
  if (labels == 2) scores["positive_f1"] = accuracy - 0.025;
  scores["confusion"] = confusion;
  return scores;
}

/// What was watched in a run of `steps` steps, every 20th of them: the tensors of two layers.
inline Json sample_watched(int steps, int seed) {
  const std::vector<std::string> names = {"distilbert.embeddings.word_embeddings.weight",
                                          "distilbert.transformer.layer.0.attention.q_lin.weight",
                                          "distilbert.transformer.layer.0.ffn.lin1.bias",
                                          "distilbert.transformer.layer.1.attention.q_lin.weight",
                                          "distilbert.transformer.layer.1.ffn.lin1.bias",
                                          "pre_classifier.weight",
                                          "classifier.weight"};
  Json positions = Json::array(), tensors = Json::array();
  for (const std::string& name : names)
    tensors.push_back({{"name", name},
                       {"ratio", Json::array()},
                       {"step_size", Json::array()},
                       {"update_clipped", 0.25}});
  const int every = steps > 400 ? 20 : 2;
  for (int step = every; step <= steps; step += every) {
    positions.push_back(step);
    for (std::size_t i = 0; i < names.size(); ++i) {
      const double size = 1e-3 * (1 - 0.9 * step / steps);
      tensors[i]["ratio"].push_back(size * std::exp(std::sin(0.37 * step + 3 * seed) + 0.5 * i));
      tensors[i]["step_size"].push_back(size);
    }
  }
  return {{"steps", positions}, {"tensors", tensors}};
}

/// Two slots of some tensors; of the second moments what factors would lose.
inline Json sample_state(const std::string& storage) {
  Json slots = Json::array();
  double error = 0.004;
  for (const std::string name :
       {"distilbert.embeddings.word_embeddings.weight",
        "distilbert.transformer.layer.0.attention.q_lin.weight",
        "distilbert.transformer.layer.0.ffn.lin1.weight",
        "distilbert.transformer.layer.1.ffn.lin1.weight", "classifier.weight"})
    for (const std::string slot : {"exp_avg", "exp_avg_sq"}) {
      const bool small = name == "classifier.weight";
      slots.push_back(
          {{"tensor", name},
           {"slot", slot},
           {"storage", storage},
           {"elements", small ? 256 : 16384},
           {"bytes", small ? 1024 : 65536},
           {"rounding", small ? Json(nullptr) : Json(error)},
           {"factoring", small || slot == "exp_avg" ? Json(nullptr) : Json(20 * error)}});
      error += 0.001;
    }
  return slots;
}

inline Json sample_comparison(const std::vector<std::string>& specs, const SampleSize& size,
                              const std::vector<std::string>& labels) {
  Json runs = Json::array();
  double cost = 1;
  for (const std::string& spec : specs) {
    for (int seed = 1; seed <= size.seeds; ++seed) {
      const double accuracy = 0.8 - 0.005 * cost + 0.01 * seed;
      Json losses = Json::array(), epochs = Json::array(), norms = Json::array(),
           clipped = Json::array();
      for (int step = 0; step < size.steps; ++step) {
        norms.push_back(1.2 + std::cos(0.7 * step + cost));
        clipped.push_back(norms.back() > 1.0 ? 1 : 0);
      }
      for (int step = 0; step < size.steps; ++step)
        losses.push_back(0.2 + 1.6 * std::exp(-4.0 * step / size.steps) +
                         0.1 * std::sin(12.9898 * (step + 7 * seed)));
      for (int epoch = 1; epoch <= size.epochs; ++epoch)
        epochs.push_back({{"epoch", epoch},
                          {"step", epoch * size.steps / size.epochs},
                          {"train_loss", 1.0 / epoch},
                          {"dev", {{"accuracy", accuracy - 0.1 / epoch}, {"loss", 0.5}}},
                          {"seconds", 1.5 * epoch}});
      runs.push_back({{"optimizer", spec.substr(0, spec.find(':'))},
                      {"spec", spec},
                      {"options",
                       {{"optimizer", spec},
                        {"storage", {{"state", "fp32"}, {"block_size", 256}}},
                        {"groups",
                         {{{"options", {{"lr", 5e-4}, {"weight_decay", 0.01}}},
                           {"parameters", {"classifier.weight"}}},
                          {{"options", {{"lr", 5e-4}, {"weight_decay", 0.0}}},
                           {"parameters", {"classifier.bias"}}}}}}},
                      {"seed", seed},
                      {"state_elements", 2469180},
                      {"state_bytes", 9876720 / (cost * cost)},
                      {"state_bytes_predicted", 9876720 / (cost * cost)},
                      {"scales", 0},
                      {"step_ms", 10 + cost + 0.125 * seed},
                      {"tokens_per_second", 30000.0 - 100 * seed},
                      {"peak_bytes", 69876720},
                      {"seconds", 9.25},
                      {"best_epoch", size.epochs},
                      {"dev", sample_scores(accuracy + 0.01, labels.size(), 20)},
                      {"test", sample_scores(accuracy, labels.size(), 20)},
                      {"train_loss", losses},
                      {"grad_norm", norms},
                      {"clipped", clipped},
                      {"clipped_share", 0.625},
                      {"watched", sample_watched(size.steps, seed)},
                      {"alarms", Json::array()},
                      {"switches", Json::array()},
                      {"state", sample_state("fp32")},
                      {"worst",
                       {{{"text", "the printer is on fire, <b>really</b>"},
                         {"actual", labels.empty() ? "" : labels.front()},
                         {"predicted", labels.empty() ? "" : labels.back()},
                         {"loss", 7.25}}}},
                      {"epochs", epochs}});
    }
    ++cost;
  }
  return {
      {"data",
       {{"name", "sample"},
        {"origin", "made up"},
        {"train", 667},
        {"dev", 162},
        {"test", 162},
        {"labels", labels},
        {"bag_of_words", {{"dev", 0.765}, {"test", 0.7611}}}}},
      {"model",
       {{"name", "small"}, {"parameters", 1234567}, {"config", {{"dim", 128}, {"n_layers", 2}}}}},
      {"training",
       {{"epochs", size.epochs}, {"batch", "32 texts"}, {"clip_norm", 1}, {"seeds", {1, 2, 3}}}},
      {"machine", {{"processor", "a processor"}, {"threads", 2}}},
      {"runs", runs},
      {"report", "runs/sample/report.html"}};
}

}  // namespace minima::test

#include "examples/minima/notes.hpp"

#include "core/text/utf8.hpp"
#include "data/classes.hpp"
#include "data/counted.hpp"
#include "examples/minima/terminal.hpp"
#include "optim/registry.hpp"
#include "train/classification.hpp"

namespace minima {

void tell_of_pairs(const TextClassifier& classifier, const std::string& model, bool pairs,
                   const std::string& option) {
  const nn::EncoderConfig& config = classifier.model->config;
  if (pairs) config.check_pairs(model);
  if (config.pairs && !pairs)
    print_note("note: {} has learned from pairs of texts, and is given single ones ({})\n", model,
               option);
}

void tell_of_alike_labels(const std::vector<std::string>& labels) {
  if (const std::string alike = alike_labels(labels); !alike.empty())
    print_note(
        "note: labels that look alike but for blanks and letter case are classes of their own: "
        "{}\n",
        alike);
}

void tell_of_unknown(const Task& task) {
  constexpr double kMany = 0.1;  // natural text and a vocabulary of its language: under 0.01
  if (task.unknown < kMany) return;
  print_note(
      "minima: warning: {:.0f} % of the tokens to learn from are {}: the vocabulary does not "
      "know these words; is it of their language and casing, and large enough (--vocabulary)?\n",
      100 * task.unknown, task.tokenizer.vocabulary().names().unk);
}

void tell_of_cut(i64 cut, i64 texts, std::string_view what, i64 max_length) {
  if (cut > 0)
    print_note(
        "{} of {} {} are cut at {} tokens (--max-length of training, or the least of the model's "
        "positions and its tokenizer's model_max_length)\n",
        cut, texts, what, max_length);
}

void PoorTexts::add(const Tokenizer& tokenizer, const TokenizedSplit& split, i64 i,
                    const Example& text, i64 line) {
  const i32 unk = tokenizer.vocabulary().special().unk;
  const i64 words = split.length(i) - (text.pair.empty() ? 2 : 3);  // but for [CLS] and [SEP]
  i64 unknown_words = 0;
  for (i64 t = split.offsets[i]; t < split.offsets[i + 1]; ++t)
    unknown_words += split.tokens[t] == unk;
  if (words <= 0)
    empty_.add(line);
  else if (unknown_words == words)
    unknown_.add(line);
  if (find_invalid_utf8(text.text) != std::string::npos ||
      find_invalid_utf8(text.pair) != std::string::npos)
    no_utf8_.add(line);
}

void PoorTexts::tell(i64 texts) const {
  const auto tell = [&](const Count& count, const char* what) {
    if (count.texts > 0)
      print_note("{} of {}: {} (the first in line {})\n", count.texts, counted(texts, "text"), what,
                 count.first);
  };
  tell(empty_, "no word in it, so that its label says nothing");
  tell(unknown_, "no word that the vocabulary knows, so that its label says nothing");
  tell(no_utf8_, "not valid UTF-8, and what is not was left out");
}

void tell_of_overlaps(const Task& task) {
  const auto& [dev_in_train, test_in_train, test_in_dev, conflicts, exact] = task.overlaps;
  if (dev_in_train + test_in_train + test_in_dev == 0) return;
  std::vector<std::string> facts, in_train;
  if (dev_in_train > 0)
    in_train.push_back(fmt::format("{} of {} dev texts", dev_in_train, task.dataset.dev.size()));
  if (test_in_train > 0)
    in_train.push_back(fmt::format("{} of {} test texts", test_in_train, task.dataset.test.size()));
  if (!in_train.empty())
    facts.push_back(fmt::format("{} are training texts too", fmt::join(in_train, " and ")));
  if (test_in_dev > 0)
    facts.push_back(
        fmt::format("{} of {} test texts are dev texts", test_in_dev, task.dataset.test.size()));
  print_note(
      "minima: warning: {}, but for case and punctuation: what is measured on them flatters the "
      "model\n",
      fmt::join(facts, ", and "));
}

void tell_of_conflicts(const Task& task) {
  const auto [texts, rows] = task.overlaps.conflicts;
  const auto [exact_texts, exact_rows] = task.overlaps.exact_conflicts;
  if (texts == 0) return;
  print_note("note: {} labelled differently ({} rows, but for case and punctuation){}\n",
             texts == 1 ? "a text is" : fmt::format("{} texts are", texts), rows,
             exact_texts == 0 ? ""
                              : fmt::format("; {} to the letter ({} rows): no model is right about "
                                            "all of these",
                                            exact_texts, exact_rows));
}

void tell_of_rare_classes(const Task& task) {
  constexpr std::size_t kNamed = 5;
  const std::vector<std::string>& names = task.dataset.label_names;
  std::vector<bool> judged(names.size());
  for (const auto* split : {&task.dataset.dev, &task.dataset.test})
    for (const Example& example : *split) judged[static_cast<std::size_t>(example.label)] = true;
  std::vector<std::string> unjudged;
  for (std::size_t label = 0; label < names.size(); ++label)
    if (!judged[label]) unjudged.push_back(fmt::format("'{}'", shown(names[label])));
  if (unjudged.empty()) return;
  print_note(
      "note: no text of dev or test is of class {}: how well such texts are told stays unknown\n",
      listed(unjudged, kNamed));
}

void tell_of_class_weights(const Task& task, const TrainingOptions& training) {
  constexpr double kHeavy = 20;  // times the median
  const std::vector<double> weights =
      class_weights(training.class_weights, task.data.train, task.config.labels);
  if (weights.empty()) return;
  const std::vector<std::string>& names = task.dataset.label_names;
  if (training.class_weights != "balanced") {
    std::vector<std::string> meanings;
    for (const double weight : weights)
      meanings.push_back(fmt::format("'{}' {:.6g}", shown(names[meanings.size()]), weight));
    print_note("note: --class-weights, as the classes are numbered: {}\n",
               listed(meanings, meanings.size()));
  }
  const double usual = median(weights);
  const auto heaviest = std::ranges::max_element(weights);
  if (!(*heaviest > kHeavy * usual)) return;
  print_note(
      "minima: warning: --class-weights: '{}' counts {:.3g}, {:.3g} times the median class, so "
      "that few texts steer training{}; numbers of your own (1,1,5) bound it\n",
      names[static_cast<std::size_t>(heaviest - weights.begin())], *heaviest, *heaviest / usual,
      training.label_smoothing > 0
          ? ", and by label smoothing it has a part in the loss of every text"
          : "");
}

void tell_of_spec(const std::string& spec) {
  const auto [name, options] = parse_spec(spec);
  if (name == "sgd" && has_option(spec, "lr") && !has_option(spec, "momentum"))
    print_note("note: {} has no momentum; sgd without lr, or with --lr, has 0.9\n", spec);
  for (const auto& [option, value] : options)
    if (name.ends_with("8bit") && option == "state" && value != "block8")
      print_note("note: {}: its state is {} in spite of its name\n", spec, value);
  const std::vector<Slot> slots = resolve(spec).rule->slots({"matrix", {2, 2}});
  if (std::ranges::any_of(slots, [](const Slot& slot) { return !slot.shape; })) return;
  for (const auto& [option, value] : options)
    if (option == "state" && value != "fp32")
      print_note("note: {} keeps no number for each weight here: state={} has no effect\n", name,
                 value);
}

}  // namespace minima

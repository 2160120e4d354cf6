#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "train/chart/drawing.hpp"
#include "train/report/parts.hpp"

namespace minima::report {
namespace {

constexpr std::size_t kMatrixLabels = 16;  // the rest are counted together
constexpr i64 kScoredLabels = 500;         // the rest are left out

std::string label_name(const Json& names, std::size_t label) {
  const bool named = names.is_array() && label < names.size() && names[label].is_string();
  return named ? names[label].get<std::string>() : fmt::format("class {}", label);
}

/// counts[actual][predicted], with the names of its labels.
struct Matrix {
  std::vector<std::string> labels;
  std::vector<std::vector<double>> counts;
  std::size_t single = 0;  ///< so many stand for one label; what is right among others is unknown

  double texts(std::size_t actual) const {
    return std::accumulate(counts[actual].begin(), counts[actual].end(), 0.0);
  }
};

/// The most frequent labels; the others are added up in one more.
Matrix condensed(const ConfusionMatrix& all, const Json& names) {
  const auto n = static_cast<std::size_t>(all.labels());
  const bool whole = n <= kMatrixLabels;
  std::vector<std::size_t> order(n), place(n, kMatrixLabels - 1);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (!whole) {
    std::ranges::stable_sort(order, std::greater{}, [&](std::size_t label) {
      return all.actual(static_cast<i64>(label));
    });
    order.resize(kMatrixLabels - 1);
    std::ranges::sort(order);
  }
  Matrix out;
  for (std::size_t i = 0; i < order.size(); ++i) {
    place[order[i]] = i;
    out.labels.push_back(label_name(names, order[i]));
  }
  out.single = order.size();
  if (!whole) out.labels.push_back(fmt::format("{} others", n - order.size()));
  out.counts.assign(out.labels.size(), std::vector<double>(out.labels.size()));
  for (const auto& [cell, count] : all.cells())
    out.counts[place[static_cast<std::size_t>(cell.first)]]
              [place[static_cast<std::size_t>(cell.second)]] += static_cast<double>(count);
  return out;
}

std::string matrix_table(const Matrix& matrix, const std::string& caption) {
  std::string out = fmt::format(
      "<table class=\"matrix{}\">\n<caption>{}</caption>\n<thead><tr>"
      "<th scope=\"col\">actual ↓<br>predicted →</th>",
      matrix.labels.size() > kMatrixLabels / 2 ? " dense" : "", escaped(caption));
  const std::vector<std::string> shown = html::shortened(matrix.labels, chart::kNameWidth);
  for (std::size_t i = 0; i < shown.size(); ++i)
    out += fmt::format("<th scope=\"col\"{}><span>{}</span></th>",
                       whole_name(matrix.labels[i], shown[i]), escaped(shown[i]));
  out += "<th scope=\"col\" class=\"total\"><span>texts</span></th></tr></thead>\n<tbody>\n";
  for (std::size_t i = 0; i < matrix.labels.size(); ++i) {
    const double texts = matrix.texts(i);
    out += fmt::format("<tr><th scope=\"row\"{}>{}</th>", whole_name(matrix.labels[i], shown[i]),
                       escaped(shown[i]));
    for (std::size_t j = 0; j < matrix.labels.size(); ++j) {
      const double count = matrix.counts[i][j];
      out += fmt::format("<td class=\"cell{}\" style=\"--share:{:.3g}\">{}</td>",
                         i == j && i < matrix.single ? " right" : "", texts > 0 ? count / texts : 0,
                         fixed(count, 0));
    }
    out += fmt::format("<td class=\"total\">{}</td></tr>\n", fixed(texts, 0));
  }
  return out + "</tbody>\n</table>\n";
}

std::string scores_table(const ConfusionMatrix& matrix, const Json& names) {
  std::string rows;
  const i64 shown = std::min(matrix.labels(), kScoredLabels);
  for (i64 label = 0; label < shown; ++label)
    rows += row(escaped(label_name(names, static_cast<std::size_t>(label))),
                {fixed(matrix.precision(label), 3), fixed(matrix.recall(label), 3),
                 fixed(matrix.f1(label), 3), fmt::format("{}", matrix.actual(label))});
  return table("scores", "", {"Class", "Precision", "Recall", "F1", "Texts"}, rows) +
         (shown < matrix.labels()
              ? fmt::format("<p class=\"note\">And {} classes more.</p>\n", matrix.labels() - shown)
              : "");
}

}  // namespace

std::string confusion_section(const Comparison& comparison) {
  std::string out, scores;
  std::string folded;
  const Json& names = at(comparison.json, "/data/labels");
  for (const Entry& entry : comparison.entries) {
    const Json& run = *entry.runs.front();
    const auto all = read_matrix(at(run, "/test/confusion"));
    if (!all || all->labels() == 0) continue;
    const Matrix matrix = condensed(*all, names);
    if (std::cmp_greater(all->labels(), kMatrixLabels))
      folded = fmt::format(
          " Of {} labels {} are shown; the others, none of them more frequent, are counted "
          "together.",
          all->labels(), kMatrixLabels - 1);
    const std::string caption =
        fmt::format("{}, seed {}: {} right", entry.name, plain(at(run, "/seed")),
                    percent(number(run, "/test/accuracy")));
    out += scrolling("Confusion matrix of " + entry.name, matrix_table(matrix, caption));
    scores +=
        details(entry.name + ": precision, recall and F1 of each class", scores_table(*all, names));
  }
  if (out.empty()) return {};
  return section(
      "confusion", "Which classes are confused",
      "<div class=\"matrices\">\n" + out +
          "</div>\n<p class=\"note\">First seed of each optimizer, on test. Shade: the share of "
          "the row’s texts." +
          folded + "</p>\n" + scores);
}

}  // namespace minima::report

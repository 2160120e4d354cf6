#include "train/metrics.hpp"

#include "tests/support.hpp"

using namespace minima;

namespace {

/// Rows: actual; columns: predicted.
Evaluation evaluation_of(const std::vector<std::vector<i64>>& counts) {
  ConfusionMatrix matrix(static_cast<i64>(counts.size()));
  for (std::size_t actual = 0; actual < counts.size(); ++actual)
    for (std::size_t predicted = 0; predicted < counts.size(); ++predicted)
      for (i64 n = 0; n < counts[actual][predicted]; ++n)
        matrix.add(static_cast<i64>(actual), static_cast<i64>(predicted));
  return {matrix, 0.5};
}

}  // namespace

TEST_CASE("accuracy, precision, recall and F1 are those of scikit-learn") {
  // sklearn.metrics on y_true = 0×5, 1×3, 2×2 and y_pred as in the matrix: accuracy 0.7, f1 [0.8, 0.5714…, 0.6667…]
  const Evaluation e = evaluation_of({{4, 1, 0}, {1, 2, 0}, {0, 1, 1}});
  CHECK(e.accuracy() == doctest::Approx(0.7));
  CHECK(e.confusion.precision(1) == doctest::Approx(0.5));
  CHECK(e.confusion.recall(1) == doctest::Approx(2.0 / 3));
  CHECK(e.confusion.f1(0) == doctest::Approx(0.8));
  CHECK(e.confusion.f1(1) == doctest::Approx(4.0 / 7));
  CHECK(e.confusion.f1(2) == doctest::Approx(2.0 / 3));
  CHECK(e.macro_f1() == doctest::Approx((0.8 + 4.0 / 7 + 2.0 / 3) / 3));
  CHECK_FALSE(e.positive_f1().has_value());
  for (const std::vector<std::string>& names : {std::vector<std::string>{}, {"a", "b"}}) {
    CHECK_THROWS_AS(scores_of_classes(e, names), Error);
    CHECK_THROWS_AS(table(e, names), Error);
  }
  const Json classes = scores_of_classes(e, {"a", "b", "c"});
  REQUIRE(classes.size() == 3);
  const double expected[3][4] = {
      {0.8, 0.8, 0.8, 5}, {0.5, 2.0 / 3, 4.0 / 7, 3}, {1, 0.5, 2.0 / 3, 2}};
  for (std::size_t label = 0; label < 3; ++label) {
    CHECK(classes[label]["name"] == std::string(1, "abc"[label]));
    std::size_t i = 0;
    for (const char* score : {"precision", "recall", "f1", "support"}) {
      CAPTURE(score);
      CHECK(classes[label][score].get<double>() == doctest::Approx(expected[label][i++]));
    }
  }
}

TEST_CASE(
    "two classes have an F1 of the positive one, and a class that never occurs does not count") {
  const Evaluation two = evaluation_of({{50, 10}, {5, 35}});
  CHECK(two.positive_f1().value() == doctest::Approx(70.0 / 85));
  const Evaluation absent = evaluation_of({{3, 1, 0}, {0, 4, 0}, {0, 0, 0}});
  CHECK(absent.macro_f1() == doctest::Approx((6.0 / 7 + 8.0 / 9) / 2));
  CHECK(absent.confusion.f1(2) == 0);
  // One that is predicted does, though no text is of it: f1_score([0, 0, 1], [0, 2, 1], average="macro") is 5/9.
  CHECK(evaluation_of({{1, 0, 1}, {0, 1, 0}, {0, 0, 0}}).macro_f1() == doctest::Approx(5.0 / 9));
}

TEST_CASE(
    "the better evaluation has the better score, of equals the lower loss, and tells something") {
  const double nan = std::nan("");
  const auto of = [](double accuracy, double loss) {
    return Evaluation{ConfusionMatrix(0), loss, {{"accuracy", accuracy}}};
  };
  CHECK(is_better(of(0.8, 2), of(0.7, 1), "accuracy"));
  CHECK_FALSE(is_better(of(0.8, 2), of(0.7, 1), "loss"));
  CHECK(is_better(of(0.8, 1), of(0.8, 2), "accuracy"));
  CHECK_FALSE(is_better(of(0.8, 1), of(0.8, 1), "accuracy"));
  CHECK(is_better(of(0.1, 9), of(0.8, 1), ""));  // the later one
  for (const char* score : {"accuracy", "loss", ""}) {
    CAPTURE(score);
    CHECK(is_better(of(0.1, 9), of(0.8, nan), score));
    CHECK_FALSE(is_better(of(0.8, nan), of(0.1, 9), score));
    CHECK_FALSE(is_better(of(0.8, nan), of(0.1, nan), score));
  }
  CHECK(is_better(of(0.1, 9), of(nan, 1), "accuracy"));
  CHECK_FALSE(is_better(of(nan, 1), of(0.1, 9), "accuracy"));
  CHECK(of(0.8, 1).find("accuracy") == 0.8);
  CHECK_FALSE(of(0.8, 1).find("f1"));
}

TEST_CASE("mean, deviation and median are the textbook's") {
  CHECK(mean({1, 2, 6}) == 3);
  CHECK(deviation({1, 2, 6}) == doctest::Approx(std::sqrt(7.0)));
  CHECK(deviation({4}) == 0);
  CHECK(median({5, 1, 9}) == 5);
  CHECK(median({4, 1, 2, 9}) == 3);
}

TEST_CASE("Matthews' coefficient and scores by name") {
  ConfusionMatrix two(
      2);  // scikit-learn: matthews_corrcoef = 0.4780914437337574 for tp 6, fn 2, fp 1, tn 3
  two.add(1, 1, 6), two.add(1, 0, 2), two.add(0, 1, 1), two.add(0, 0, 3);
  CHECK(two.mcc() == doctest::Approx((6 * 3 - 1 * 2) / std::sqrt(7.0 * 8 * 4 * 5)));
  const Evaluation evaluation{two, 0.5};
  CHECK(evaluation.score("mcc") == two.mcc());
  CHECK(evaluation.score("f1") == two.macro_f1());
  CHECK(evaluation.score("loss") == 0.5);
  CHECK_THROWS_WITH_AS(evaluation.score("recall"),
                       doctest::Contains("this task has accuracy, f1, mcc, loss;"), Error);
  for (const std::string& metric : metric_names()) CHECK(evaluation.find(metric));
  Evaluation read = Evaluation::from_json(evaluation.to_json());
  CHECK(read.to_json() == evaluation.to_json());
  ConfusionMatrix further(2);
  further.add(0, 1, 4);
  read.add({further, 2.5});  // a score that was kept as it was read would not follow
  two.add(0, 1, 4);
  CHECK(read.to_json() == Evaluation{two, (12 * 0.5 + 4 * 2.5) / 16}.to_json());
  ConfusionMatrix same(3);
  same.add(0, 0, 5), same.add(1, 0, 5);
  CHECK(same.mcc() == 0);
}

TEST_CASE("columns of the confusion matrix are told apart, by numbers where names are not") {
  ConfusionMatrix matrix(3);
  matrix.add(0, 2, 7);
  const std::string alike =
      table({matrix, 0.5}, {"class 0", "class 1", "a class of a very long name"});
  CHECK(alike.find("actual \\ predicted      1      2      3\n"
                   " 1 class 0              0      0      7\n") != std::string::npos);
  CHECK(alike.find("\n 3 a class of a v~      0") != std::string::npos);
  const std::string apart = table({matrix, 0.5}, {"positive", "neutral", "no"});
  CHECK(apart.find("actual \\ predicted  posit~  neutr~     no\n"
                   "positive                0      0      7\n") == std::string::npos);
  CHECK(apart.find("actual \\ predicted posit~ neutr~     no\n"
                   "positive                0      0      7\n") != std::string::npos);
}

TEST_CASE("classes whose names begin alike are told apart in every table, by their numbers") {
  const std::vector<std::string> names = {"balance_not_updated_after_bank_transfer", "fee",
                                          "balance_not_updated_after_cheque"};
  ConfusionMatrix matrix(3);
  matrix.add(0, 2, 7);
  const std::string text = table({matrix, 0.5}, names);
  CHECK(text.find("\nbalance_not_up~1 ") != std::string::npos);
  CHECK(text.find("\nfee              ") != std::string::npos);
  CHECK(text.find("\nbalance_not_up~3 ") != std::string::npos);
}

TEST_CASE("names of classes are cut by the columns that they take, in any script") {
  ConfusionMatrix matrix(4);
  matrix.add(0, 3, 7);
  const std::string text = table({matrix, 0.5}, {"доставка", "ไทย", "产品质量问题", "العربية"});
  CHECK(text.find("actual \\ predicted доста~    ไทย  产品~ العرب~\n"
                  "доставка                0      0      0      7\n") != std::string::npos);
  CHECK(text.find("\n产品质量问题     ") != std::string::npos);
}

TEST_CASE("a confusion matrix of many labels takes room for what occurs alone") {
  constexpr i64 kLabels = 3000;
  ConfusionMatrix matrix(kLabels);
  for (i64 label = 0; label < kLabels; ++label) matrix.add(label, label);
  matrix.add(7, 2999, 5), matrix.add(2, 3, 4);
  const Evaluation many{matrix, 0.5};
  CHECK(many.accuracy() == doctest::Approx(3000.0 / 3009));
  CHECK(matrix.actual(7) == 6);
  CHECK(matrix.predicted(2999) == 6);
  const Json json = many.to_json();
  CHECK(json["confusion"]["labels"] == kLabels);
  CHECK(json["confusion"]["cells"][2] == Json{2, 2, 1});
  CHECK(json["confusion"]["cells"][3] == Json{2, 3, 4});
  CHECK(json.dump().size() < 50'000);
  const Evaluation read = Evaluation::from_json(json);
  CHECK(read.to_json() == json);
  CHECK(read.macro_f1() == many.macro_f1());

  std::vector<std::string> names;
  for (i64 label = 0; label < kLabels; ++label) names.push_back("class " + std::to_string(label));
  const std::string text = table(many, names);
  CHECK(text.find("3000 classes") != std::string::npos);
  const std::size_t first = text.find("     5  class 7           class 2999\n"),
                    second = text.find("     4  class 2           class 3\n");
  CHECK(first < second);
  CHECK(second != std::string::npos);
  CHECK(std::ranges::count(text, '\n') == 4);
}

TEST_CASE("a confusion matrix is read as it is written, of any size, and refused in another form") {
  for (const std::size_t labels : {2, 100, 101, 150}) {  // earlier versions wrote each as a square
    CAPTURE(labels);
    Json square = Json::array();
    for (std::size_t i = 0; i < labels; ++i) {
      square.push_back(std::vector<i64>(labels));
      square[i][i] = 3;
    }
    square[1][0] = 2;
    const ConfusionMatrix read = ConfusionMatrix::from_json(square);
    CHECK(read.labels() == static_cast<i64>(labels));
    CHECK(read.count(1, 0) == 2);
    CHECK(read.count(0, 1) == 0);
    CHECK(read.total() == 3 * static_cast<i64>(labels) + 2);
    CHECK(read.to_json().is_array() == (labels <= 100));
    CHECK(ConfusionMatrix::from_json(read.to_json()).cells() == read.cells());
  }
  for (const char* bad :
       {"3", "{}", "[1]", "[[1, 2]]", "[[1, 2], [3]]", "[[-1]]", "[[0.5]]", "[[\"1\"]]",
        R"({"labels": 2})", R"({"labels": 2, "cells": 3})", R"({"labels": 2, "cells": [[0, 1]]})",
        R"({"labels": 2, "cells": [[0, 2, 1]]})", R"({"labels": 2, "cells": [[-1, 0, 1]]})",
        R"({"labels": 1e9, "cells": []})", R"({"labels": 1000000000, "cells": []})",
        R"({"labels": 0, "cells": [[0, 0, 1]]})"}) {
    CAPTURE(bad);
    CHECK_THROWS_WITH_AS(ConfusionMatrix::from_json(Json::parse(bad)),
                         doctest::Contains("the confusion matrix"), Error);
  }
}
